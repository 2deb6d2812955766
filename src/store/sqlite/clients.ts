import type { ClientRecord, ClientRecords } from '../record-store.ts';
import type { Database, Row } from './driver.ts';
import type { Turn } from './turn.ts';

export function createClientRecords(db: Database, turn: Turn): ClientRecords {
  const insert = db.prepare(`
    INSERT INTO clients (id, request_keys, response_keys, created_ms, token_hashes)
    VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`);
  const updateTokens = db.prepare(`
    UPDATE clients SET token_hashes = ? WHERE id = ? AND token_hashes = coalesce(?, token_hashes)`);
  const selectAll = db.prepare('SELECT * FROM clients ORDER BY id');

  const dataVersion = db.prepare('PRAGMA data_version');
  let changes = 0;

  return {
    add: (client) =>
      turn.write(() => {
        const { id, requestKeys, responseKeys, createdMs, tokenHashes } = client;
        const keys = [JSON.stringify(requestKeys), JSON.stringify(responseKeys)] as const;
        const isNew = insert.run(id, ...keys, createdMs, JSON.stringify(tokenHashes)).changes === 1;
        if (isNew) changes++;
        return isNew;
      }),
    setTokens: (id, hashes, seen) =>
      turn.write(() => {
        const before = seen === undefined ? null : JSON.stringify(seen);
        const isSet = updateTokens.run(JSON.stringify(hashes), id, before).changes === 1;
        if (isSet) changes++;
        return isSet;
      }),
    list: () => turn.read(() => selectAll.all().map(toClient)),
    // Changes with every commit of another process; our own are counted beside it.
    version: async () => changes + Number(dataVersion.get()?.['data_version']),
  };
}

function toClient(row: Row): ClientRecord {
  return {
    id: String(row['id']),
    // All three were written above, from arrays of strings.
    requestKeys: JSON.parse(String(row['request_keys'])) as string[],
    responseKeys: JSON.parse(String(row['response_keys'])) as string[],
    createdMs: Number(row['created_ms']),
    tokenHashes: JSON.parse(String(row['token_hashes'])) as string[],
  };
}
