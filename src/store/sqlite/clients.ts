import { type ClientRecords, fromColumns, listFrom, toColumns } from '../client-records.ts';
import { StoreError } from '../../errors/index.ts';
import type { Database } from './driver.ts';
import type { Turn } from './turn.ts';

export function createClientRecords(db: Database, turn: Turn): ClientRecords {
  const insert = db.prepare(`
    INSERT INTO clients (id, algorithm, request_keys, response_keys, token_hashes, terms, revoked_ms, created_ms, revision)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`);
  const update = db.prepare(`
    UPDATE clients SET algorithm = ?, request_keys = ?, response_keys = ?, token_hashes = ?, terms = ?, revoked_ms = ?,
      revision = revision + 1
    WHERE id = ? AND revision = ?`);
  const select = db.prepare('SELECT * FROM clients WHERE id = ?');
  const selectAll = db.prepare('SELECT * FROM clients ORDER BY id');
  const selectMark = db.prepare(`SELECT value FROM meta WHERE name = 'seal_mark'`);
  const insertMark = db.prepare(`INSERT INTO meta VALUES ('seal_mark', ?) ON CONFLICT DO NOTHING`);
  const selectScrub = db.prepare(`SELECT value FROM meta WHERE name = 'scrub'`);
  const deleteScrub = db.prepare(`DELETE FROM meta WHERE name = 'scrub'`);
  const checkpoint = db.prepare('PRAGMA wal_checkpoint(TRUNCATE)');
  const dataVersion = db.prepare('PRAGMA data_version');
  let changes = 0;

  function counted(changed: boolean): boolean {
    if (changed) changes++;
    return changed;
  }

  const mark = () => {
    const value = selectMark.get()?.['value'];
    return value === undefined ? null : String(value);
  };

  return {
    add: (client) =>
      turn.write(() => {
        const c = toColumns(client);
        const keys = [c.algorithm, c.request_keys, c.response_keys, c.token_hashes] as const;
        return counted(
          insert.run(c.id, ...keys, c.terms, c.revoked_ms, c.created_ms, c.revision).changes === 1,
        );
      }),
    update: (client) =>
      turn.write(() => {
        const c = toColumns(client);
        const keys = [c.algorithm, c.request_keys, c.response_keys, c.token_hashes] as const;
        return counted(update.run(...keys, c.terms, c.revoked_ms, c.id, c.revision).changes === 1);
      }),
    async get(id) {
      const row = await turn.read(() => select.get(id));
      return row === undefined ? null : fromColumns(row);
    },
    list: async (onDamaged) => listFrom(await turn.read(() => selectAll.all()), onDamaged),
    // Changes with every commit of another process; our own are counted beside it.
    version: async () => changes + Number(dataVersion.get()?.['data_version']),
    sealMark: () => turn.read(mark),
    setSealMark: (text) =>
      turn.write(() => {
        insertMark.run(text);
        return mark() ?? text;
      }),
    async scrub() {
      if (selectScrub.get() === undefined || selectMark.get() === undefined) return;
      try {
        // SQLite leaves what was overwritten or deleted in its pages, and old pages in the log.
        db.exec('VACUUM');
      } catch (error) {
        throw new StoreError('the store cannot be written anew', { cause: error });
      }
      if (checkpoint.get()?.['busy'] !== 0) throw new StoreError('another program reads the store');
      await turn.write(() => deleteScrub.run());
    },
  };
}
