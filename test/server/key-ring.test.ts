import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, onTestFinished, test } from 'vitest';
import { addClient, addToken, changeClient, revokeTokens } from '../../src/server/clients.ts';
import { type KeyRing, openKeyRing } from '../../src/server/key-ring.ts';
import { openClientStore } from '../../src/store/index.ts';
import { generateToken } from '../../src/wire/secret.ts';
import { openStore } from '../store/open.ts';
import { TEST_SEALER } from '../support/clients.ts';
import { createTestLog } from '../support/log.ts';

const url = 'http://127.0.0.1:9/call';

/** A key ring on a real file with these clients, stopped when the test ends. */
async function openRing(...ids: string[]) {
  const store = openStore();
  for (const id of ids) await addClient({ store, sealer: TEST_SEALER }, { id, url });
  const ring = await openKeyRing(store, TEST_SEALER, createTestLog());
  onTestFinished(() => ring.stop());
  return { store, ring };
}

const ownerOf = (ring: KeyRing, token: string) => ring.findByToken(token)?.client.id ?? null;
const owners = (ring: KeyRing, tokens: readonly string[]) => tokens.map((token) => ownerOf(ring, token));

describe('bearer tokens', () => {
  test('each is that of its client, once the clients were read again', async () => {
    const { store, ring } = await openRing('a', 'b', 'c');
    const tokens = [await addToken(store, 'a'), await addToken(store, 'b'), await addToken(store, 'a')];
    expect(owners(ring, tokens)).toEqual([null, null, null]);
    await ring.refresh();
    expect(owners(ring, tokens)).toEqual(['a', 'b', 'a']);
  });

  test('follow what another process does to them', async () => {
    const { store, ring } = await openRing('a');
    const beside = openClientStore({ dir: store.dir });
    onTestFinished(() => beside.close());
    const token = await addToken(beside, 'a');
    await ring.refresh();
    expect(ownerOf(ring, token)).toBe('a');
    await revokeTokens(beside, 'a');
    await ring.refresh();
    expect(ring.findByToken(token)).toBeNull();
  });

  test('are known without a restart and without being asked to look', async () => {
    const { store, ring } = await openRing('a');
    const token = await addToken(store, 'a');
    await expect.poll(() => ownerOf(ring, token), { timeout: 5_000 }).toBe('a');
  });

  test('that are unknown, changed, cut, extended or hashed already belong to nobody', async () => {
    const { store, ring } = await openRing('a');
    const token = await addToken(store, 'a');
    await ring.refresh();
    const [record] = await store.clients.list();
    const changed = `${token.slice(0, -1)}${token.endsWith('0') ? '1' : '0'}`;
    const others = [
      generateToken(),
      changed,
      token.slice(0, -1),
      `${token}0`,
      ` ${token}`,
      `Bearer ${token}`,
    ];
    for (const other of [
      ...others,
      ...(record?.tokenHashes ?? []),
      ...(record?.keys ?? []).map(({ request }) => request),
      '',
    ])
      expect(ring.findByToken(other)).toBeNull();
    expect(ownerOf(ring, token)).toBe('a');
  });

  test('any text may be asked for, before there is a token and after', async () => {
    const { store, ring } = await openRing('a');
    const assertNobody = () =>
      fc.assert(
        fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.constant('\ud800')), (text) => {
          expect(ring.findByToken(text)).toBeNull();
          expect(ring.findByToken(`wbt_${text}`)).toBeNull();
        }),
      );
    assertNobody();
    await addToken(store, 'a');
    await ring.refresh();
    assertNobody();
    expect(ring.findByToken('x'.repeat(1 << 20))).toBeNull();
  });

  test('a hash in the records that is damaged hurts no other', async () => {
    const { store, ring } = await openRing('a', 'b');
    const token = await addToken(store, 'a');
    const digest = createHash('sha256').update('other').digest();
    const tokenHashes = ['', digest.toString('hex')];
    await changeClient(store, 'b', (client) => ({ ...client, tokenHashes }));
    await ring.refresh();
    expect(owners(ring, [token, 'other', ''])).toEqual(['a', null, null]);
  });
});

test('the clients that there are can be asked for, and follow the records', async () => {
  const { store, ring } = await openRing('a');
  await addClient({ store, sealer: TEST_SEALER }, { id: 'b', url });
  expect(['a', 'b', 'constructor'].map((id) => ring.find(id)?.id)).toEqual(['a', undefined, undefined]);
  await ring.refresh();
  expect(['a', 'b', 'constructor'].map((id) => ring.find(id)?.id)).toEqual(['a', 'b', undefined]);
});
