/**
 * The engine's bare table: jobs as rows, one commit per event-loop turn, synchronous=FULL, and nothing
 * else: no idempotency, no leases, no fences, no retries, no deadlines, no lists, no schemas.
 */
import { join } from 'node:path';
import { openDatabase } from '../../src/store/sqlite/driver.ts';

export interface BareEngine {
  /** Resolves with the result when the job is done and on disk. */
  run(id: string, args: object): Promise<string>;
  close(): void;
}

export function openBareTable(dir: string, work: (args: string) => string): BareEngine {
  const db = openDatabase(join(dir, 'bare.db'));
  db.exec('PRAGMA journal_mode = WAL');
  db.exec('PRAGMA synchronous = FULL');
  db.exec(
    'CREATE TABLE jobs (id TEXT PRIMARY KEY, state TEXT NOT NULL, args TEXT NOT NULL, result TEXT) WITHOUT ROWID',
  );
  const begin = db.prepare('BEGIN');
  const commit = db.prepare('COMMIT');
  const insert = db.prepare("INSERT INTO jobs (id, state, args) VALUES (?, 'queued', ?)");
  const finish = db.prepare("UPDATE jobs SET state = 'done', result = ? WHERE id = ?");
  const select = db.prepare('SELECT state, result FROM jobs WHERE id = ?');
  let committed: Promise<void> | null = null;

  function write(change: () => void): Promise<void> {
    if (committed === null) {
      begin.run();
      committed = new Promise((resolve) => {
        setImmediate(() => {
          committed = null;
          commit.run();
          resolve();
        });
      });
    }
    change();
    return committed;
  }

  return {
    async run(id, args) {
      const text = JSON.stringify(args);
      await write(() => insert.run(id, text));
      const result = work(text);
      await write(() => finish.run(result, id));
      return String(select.get(id)?.['result']);
    },
    close: () => db.close(),
  };
}
