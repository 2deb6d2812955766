import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { addClient, addToken, revokeTokens } from '../../../src/server/clients/clients.ts';
import type { RecordStore } from '../../../src/store/index.ts';
import { mistakeIn } from '../../../src/wire/secret.ts';
import { openStore } from '../../store/open.ts';
import { TEST_SEALER } from '../../support/clients.ts';

const url = 'http://127.0.0.1:9/call';
const hashOf = (token: string) => createHash('sha256').update(token).digest('base64url');

async function openWith(...ids: string[]) {
  const store = openStore();
  for (const id of ids) await addClient({ store, sealer: TEST_SEALER }, { id, url });
  return store;
}

async function hashesOf({ clients }: Pick<RecordStore, 'clients'>, id: string) {
  return (await clients.list()).find((client) => client.id === id)?.tokenHashes;
}

describe('giving a client a bearer token', () => {
  test('returns it, and keeps its hash only', async () => {
    const store = await openWith('a');
    const token = await addToken(store, 'a');
    expect(mistakeIn(token, 'token')).toBeNull();
    expect(await hashesOf(store, 'a')).toEqual([hashOf(token)]);
    expect(JSON.stringify(await store.clients.list())).not.toContain(token);
  });

  test('keeps the newest one before it, and no older one', async () => {
    const store = await openWith('a', 'b');
    const tokens = [await addToken(store, 'a'), await addToken(store, 'a'), await addToken(store, 'a')];
    expect(await hashesOf(store, 'a')).toEqual(tokens.slice(1).toReversed().map(hashOf));
    expect(await hashesOf(store, 'b')).toEqual([]);
  });

  test('two at the same time are both good', async () => {
    const store = await openWith('a');
    const tokens = await Promise.all([addToken(store, 'a'), addToken(store, 'a')]);
    expect((await hashesOf(store, 'a'))?.toSorted()).toEqual(tokens.map(hashOf).toSorted());
  });

  test('brings none back that is revoked at the same time', async () => {
    const store = await openWith('a');
    await addToken(store, 'a');
    let revoked = false;
    const clients: RecordStore['clients'] = {
      ...store.clients,
      async get(id) {
        const seen = await store.clients.get(id);
        if (!revoked) await revokeTokens(store, 'a');
        revoked = true;
        return seen;
      },
    };
    const token = await addToken({ clients }, 'a');
    expect(await hashesOf(store, 'a')).toEqual([hashOf(token)]);
  });

  test('that is not there is a RangeError, and makes none', async () => {
    const store = await openWith('a');
    for (const refused of [addToken(store, 'b'), revokeTokens(store, 'b')])
      await expect(refused).rejects.toThrow(new RangeError('there is no client b: add it first'));
    expect((await store.clients.list()).map(({ id }) => id)).toEqual(['a']);
  });
});

test('revoking takes all tokens of one client and leaves its keys', async () => {
  const store = await openWith('a', 'b');
  const [before] = await store.clients.list();
  await addToken(store, 'a');
  const kept = await addToken(store, 'b');
  await revokeTokens(store, 'a');
  expect((await store.clients.list())[0]).toEqual({ ...before, revision: 2 });
  expect(await hashesOf(store, 'b')).toEqual([hashOf(kept)]);
});
