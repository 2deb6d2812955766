import { createHash } from 'node:crypto';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, onTestFinished, test } from 'vitest';
import {
  addClient,
  addToken,
  changeClient,
  revokeClient,
  revokeTokens,
} from '../../../src/server/clients/clients.ts';
import { type KeyRing, openKeyRing } from '../../../src/server/clients/key-ring.ts';
import { openClientStore } from '../../../src/store/index.ts';
import { openDatabase } from '../../../src/store/sqlite/driver.ts';
import { generateToken } from '../../../src/wire/secret.ts';
import { openStore } from '../../store/open.ts';
import { TEST_SEALER } from '../../support/clients.ts';
import { createTestLog } from '../../support/log.ts';

const url = 'http://127.0.0.1:9/call';

/** A key ring on a real file with these clients, stopped when the test ends. */
async function openRing(...ids: string[]) {
  const store = openStore();
  for (const id of ids) await addClient({ store, sealer: TEST_SEALER }, { id, url });
  const log = createTestLog();
  const ring = await openKeyRing(store, TEST_SEALER, log);
  onTestFinished(() => ring.stop());
  return { store, ring, log };
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
    await expect.poll(() => ownerOf(ring, token)).toBe('a');
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

const DAMAGES: Readonly<Record<string, string>> = {
  'request_keys that are cut': `request_keys = '["q'`,
  'response_keys that are cut': `response_keys = '["p'`,
  'no response key': `response_keys = '[]'`,
  'token_hashes that are cut': `token_hashes = '["'`,
  'terms that are cut': `terms = '{"scopes":["a"'`,
  'terms that are nothing': `terms = 'null'`,
  'an unknown algorithm': `algorithm = 'none'`,
};
test.each(Object.entries(DAMAGES))(
  'a record with %s is not believed, the log says so once, and every other change is seen',
  async (_what, damage) => {
    const { store, ring, log } = await openRing('a', 'b', 'c');
    const token = await addToken(store, 'a');
    await ring.refresh();
    expect(ownerOf(ring, token)).toBe('a');
    const db = openDatabase(join(store.dir, 'waybill.db'));
    db.exec(`UPDATE clients SET ${damage} WHERE id = 'a'`);
    db.close();
    await ring.refresh();
    await revokeClient(store, 'b');
    await addClient({ store, sealer: TEST_SEALER }, { id: 'd', url });
    await ring.refresh();
    expect(ring.find('a')).toBeNull();
    expect(ring.findByToken(token)).toBeNull();
    expect(ring.find('b')?.revokedMs).toEqual(expect.any(Number));
    expect(['c', 'd'].map((id) => ring.find(id)?.id)).toEqual(['c', 'd']);
    expect(log.complaints.map(({ level, fields }) => [level, fields['client_id']])).toEqual([['error', 'a']]);
    const other = await openKeyRing(store, TEST_SEALER, createTestLog());
    other.stop();
    expect(['a', 'c', 'd'].map((id) => other.find(id)?.id)).toEqual([undefined, 'c', 'd']);
  },
);

test('a record that was mended is believed again, and told of when it is damaged once more', async () => {
  const { store, ring, log } = await openRing('a');
  const db = openDatabase(join(store.dir, 'waybill.db'));
  onTestFinished(() => void db.close());
  for (const times of [1, 2]) {
    db.exec(`UPDATE clients SET terms = 'x' || terms`);
    await ring.refresh();
    expect(ring.find('a')).toBeNull();
    expect(log.complaints).toHaveLength(times);
    db.exec('UPDATE clients SET terms = substr(terms, 2)');
    await ring.refresh();
    expect(ring.find('a')?.id).toBe('a');
  }
});

test('a client whose record stayed as it is stays the same, whatever becomes of the others', async () => {
  const { store, ring } = await openRing('a', 'b');
  const [a, b] = [ring.find('a'), ring.find('b')];
  await addToken(store, 'b');
  await ring.refresh();
  expect(ring.find('a')).toBe(a);
  expect(ring.find('b')).not.toBe(b);
});
