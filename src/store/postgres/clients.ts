import type { ClientRecord, ClientRecords } from '../record-store.ts';
import type { Database, Row } from './database.ts';

const INSERT = {
  name: 'waybill-client-insert',
  text: `
    WITH added AS (
      INSERT INTO waybill.clients VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING RETURNING id
    ), counted AS (
      UPDATE waybill.meta SET value = (value::bigint + 1)::text
      WHERE name = 'clients_version' AND EXISTS (SELECT FROM added)
    )
    SELECT id FROM added`,
};
const SELECT = { name: 'waybill-clients', text: 'SELECT * FROM waybill.clients ORDER BY id' };
const VERSION = {
  name: 'waybill-clients-version',
  text: `SELECT value::bigint AS version FROM waybill.meta WHERE name = 'clients_version'`,
};

export function createClientRecords(db: Database): ClientRecords {
  return {
    async add({ id, requestKeys, responseKeys, createdMs }) {
      const keys = [JSON.stringify(requestKeys), JSON.stringify(responseKeys)] as const;
      return (await db.query(INSERT, [id, ...keys, createdMs])).length === 1;
    },
    list: async () => (await db.query(SELECT, [])).map(toClient),
    version: async () => Number((await db.query(VERSION, []))[0]?.['version']),
  };
}

function toClient(row: Row): ClientRecord {
  return {
    id: String(row['id']),
    // Both were written by `add` above, from arrays of strings.
    requestKeys: JSON.parse(String(row['request_keys'])) as string[],
    responseKeys: JSON.parse(String(row['response_keys'])) as string[],
    createdMs: Number(row['created_ms']),
  };
}
