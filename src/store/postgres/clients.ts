import type { ClientRecord, ClientRecords } from '../record-store.ts';
import type { Database, Row } from './database.ts';

const INSERT = {
  name: 'waybill-client-insert',
  text: `
    WITH added AS (
      INSERT INTO waybill.clients (id, request_keys, response_keys, created_ms, token_hashes)
      VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING RETURNING id
    ), counted AS (
      UPDATE waybill.meta SET value = (value::bigint + 1)::text
      WHERE name = 'clients_version' AND EXISTS (SELECT FROM added)
    )
    SELECT id FROM added`,
};
const SET_TOKENS = {
  name: 'waybill-client-tokens',
  text: `
    WITH changed AS (
      UPDATE waybill.clients SET token_hashes = $1
      WHERE id = $2 AND token_hashes = coalesce($3, token_hashes) RETURNING id
    ), counted AS (
      UPDATE waybill.meta SET value = (value::bigint + 1)::text
      WHERE name = 'clients_version' AND EXISTS (SELECT FROM changed)
    )
    SELECT id FROM changed`,
};
// Not `*`: a server that runs while a later one adds a column could not use its plan any more.
const SELECT = {
  name: 'waybill-clients',
  text: 'SELECT id, request_keys, response_keys, created_ms, token_hashes FROM waybill.clients ORDER BY id',
};
const VERSION = {
  name: 'waybill-clients-version',
  text: `SELECT value::bigint AS version FROM waybill.meta WHERE name = 'clients_version'`,
};

export function createClientRecords(db: Database): ClientRecords {
  return {
    async add({ id, requestKeys, responseKeys, createdMs, tokenHashes }) {
      const keys = [JSON.stringify(requestKeys), JSON.stringify(responseKeys)] as const;
      return (await db.query(INSERT, [id, ...keys, createdMs, JSON.stringify(tokenHashes)])).length === 1;
    },
    async setTokens(id, hashes, seen) {
      const before = seen === undefined ? null : JSON.stringify(seen);
      return (await db.query(SET_TOKENS, [JSON.stringify(hashes), id, before])).length === 1;
    },
    list: async () => (await db.query(SELECT, [])).map(toClient),
    version: async () => Number((await db.query(VERSION, []))[0]?.['version']),
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
