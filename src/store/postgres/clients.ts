import { type ClientRecords, fromColumns, listFrom, toColumns } from '../client-records.ts';
import type { Database } from './database.ts';

// Not `*`: a server that runs while a later one adds a column could not use its plan any more.
const COLUMNS =
  'id, algorithm, request_keys, response_keys, token_hashes, terms, revoked_ms, created_ms, revision';

/** A change of the clients and of their version in one statement. */
function counted(change: string): string {
  return `
    WITH changed AS (${change} RETURNING id), counted AS (
      UPDATE waybill.meta SET value = (value::bigint + 1)::text
      WHERE name = 'clients_version' AND EXISTS (SELECT FROM changed)
    )
    SELECT id FROM changed`;
}

const INSERT = {
  name: 'waybill-client-insert',
  text: counted(`
    INSERT INTO waybill.clients (${COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING`),
};
const UPDATE = {
  name: 'waybill-client-update',
  text: counted(`
    UPDATE waybill.clients SET algorithm = $2, request_keys = $3, response_keys = $4, token_hashes = $5, terms = $6,
      revoked_ms = $7, revision = revision + 1
    WHERE id = $1 AND revision = $8`),
};
const SELECT = { name: 'waybill-client', text: `SELECT ${COLUMNS} FROM waybill.clients WHERE id = $1` };
const SELECT_ALL = { name: 'waybill-clients', text: `SELECT ${COLUMNS} FROM waybill.clients ORDER BY id` };
const VERSION = {
  name: 'waybill-clients-version',
  text: `SELECT value::bigint AS version FROM waybill.meta WHERE name = 'clients_version'`,
};
const MARK = { name: 'waybill-seal-mark', text: `SELECT value FROM waybill.meta WHERE name = 'seal_mark'` };
const SET_MARK = {
  name: 'waybill-seal-mark-set',
  text: `INSERT INTO waybill.meta VALUES ('seal_mark', $1) ON CONFLICT DO NOTHING`,
};

const SCRUB = { name: 'waybill-scrub', text: `SELECT value FROM waybill.meta WHERE name = 'scrub'` };
const REWRITE = { name: 'waybill-scrub-rewrite', text: 'VACUUM (FULL) waybill.clients' };
const SCRUBBED = { name: 'waybill-scrubbed', text: `DELETE FROM waybill.meta WHERE name = 'scrub'` };

export function createClientRecords(db: Database): ClientRecords {
  async function mark(): Promise<string | null> {
    const value = (await db.query(MARK, []))[0]?.['value'];
    return value === undefined ? null : String(value);
  }

  return {
    async add(client) {
      const c = toColumns(client);
      const keys = [c.algorithm, c.request_keys, c.response_keys, c.token_hashes] as const;
      const values = [c.id, ...keys, c.terms, c.revoked_ms, c.created_ms, c.revision];
      return (await db.query(INSERT, values)).length === 1;
    },
    async update(client) {
      const c = toColumns(client);
      const keys = [c.algorithm, c.request_keys, c.response_keys, c.token_hashes] as const;
      return (await db.query(UPDATE, [c.id, ...keys, c.terms, c.revoked_ms, c.revision])).length === 1;
    },
    async get(id) {
      const row = (await db.query(SELECT, [id]))[0];
      return row === undefined ? null : fromColumns(row);
    },
    list: async (onDamaged) => listFrom(await db.query(SELECT_ALL, []), onDamaged),
    version: async () => Number((await db.query(VERSION, []))[0]?.['version']),
    sealMark: mark,
    async setSealMark(text) {
      await db.query(SET_MARK, [text]);
      return (await mark()) ?? text;
    },
    async scrub() {
      if ((await db.query(SCRUB, []))[0] === undefined || (await mark()) === null) return;
      // Writes the table anew and removes its file; the server's own log and backups are beyond us.
      await db.query(REWRITE, []);
      await db.query(SCRUBBED, []);
    },
  };
}
