import { SetupError } from '../../errors/index.ts';
import type { Database } from './driver.ts';

/**
 * The schema, one entry a version; entries are never changed once released. Times are integers in
 * milliseconds, JSON is text, so that the SQL stays nearly the same on PostgreSQL.
 */
const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
  ) WITHOUT ROWID;

  CREATE TABLE clients (
    id TEXT PRIMARY KEY,
    request_keys TEXT NOT NULL,
    response_keys TEXT NOT NULL,
    created_ms INTEGER NOT NULL
  ) WITHOUT ROWID;

  -- Direct calls that must not run twice; those that became jobs are rows of jobs.
  CREATE TABLE requests (
    client_id TEXT NOT NULL,
    request_id TEXT NOT NULL,
    digest TEXT NOT NULL,
    outcome TEXT,
    deadline_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    PRIMARY KEY (client_id, request_id)
  ) WITHOUT ROWID;
  CREATE INDEX requests_by_expiry ON requests (expires_ms);
  CREATE INDEX requests_unfinished ON requests (client_id) WHERE outcome IS NULL;

  -- One row is a job's record and its place in the queue.
  -- visible_ms: from when a worker may take it; a claim moves it ahead by one lease; NULL: not queued.
  -- due_ms: when the sweeper must look at it: its deadline, later the end of its retention.
  -- spec: what else never changes, as JSON; it holds the arguments and may be large.
  -- With a rowid, rows are appended: half the pages a commit of WITHOUT ROWID, measured.
  CREATE TABLE jobs (
    id TEXT NOT NULL UNIQUE,
    client_id TEXT NOT NULL,
    request_id TEXT NOT NULL,
    tool TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    state TEXT NOT NULL,
    visible_ms INTEGER,
    due_ms INTEGER NOT NULL,
    fence INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    progress TEXT,
    result TEXT,
    error TEXT,
    spec TEXT NOT NULL
  );
  CREATE UNIQUE INDEX jobs_by_request ON jobs (client_id, request_id);
  CREATE INDEX jobs_by_visible ON jobs (visible_ms) WHERE visible_ms IS NOT NULL;
  CREATE INDEX jobs_by_due ON jobs (due_ms);
  `,
  `
  -- Lower ones first: jobs of clients that had few others open.
  ALTER TABLE jobs ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
  DROP INDEX jobs_by_visible;
  -- By tool, so that the many jobs of one that has no room are not looked at to find those of others.
  CREATE INDEX jobs_by_turn ON jobs (tool, priority, visible_ms) WHERE visible_ms IS NOT NULL;
  `,
  `
  -- Bearer tokens of a client, as their SHA-256: a JSON array of base64url texts, the newest first.
  ALTER TABLE clients ADD COLUMN token_hashes TEXT NOT NULL DEFAULT '[]';
  `,
  `
  -- What a job waits to be answered, and all answers it has had, as JSON by the keys of the questions; NULL: none.
  ALTER TABLE jobs ADD COLUMN questions TEXT;
  ALTER TABLE jobs ADD COLUMN answers TEXT;
  `,
  `
  -- What a client may do, as JSON; what it does not name is as for everybody.
  ALTER TABLE clients ADD COLUMN algorithm TEXT NOT NULL DEFAULT 'hmac-sha256';
  ALTER TABLE clients ADD COLUMN terms TEXT NOT NULL DEFAULT '{}';
  ALTER TABLE clients ADD COLUMN revoked_ms INTEGER;
  ALTER TABLE clients ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
  -- Their secrets lie open: once they are sealed, no copy may be left in the file.
  INSERT INTO meta (name, value) SELECT 'scrub', 'clients' WHERE EXISTS (SELECT 1 FROM clients);

  -- How much of a quota is used in the window that began last.
  CREATE TABLE counters (
    name TEXT PRIMARY KEY,
    window_ms INTEGER NOT NULL,
    used INTEGER NOT NULL
  ) WITHOUT ROWID;
  `,
];

/**
 * Brings the schema to the version of this program, in one transaction.
 *
 * @throws SetupError when the file was written by a newer program
 */
export function migrate(db: Database): void {
  if (versionOf(db) === MIGRATIONS.length) return;
  db.exec('BEGIN IMMEDIATE');
  try {
    // Read again under the lock: another process may have been faster.
    const version = versionOf(db);
    if (version > MIGRATIONS.length) {
      throw new SetupError(
        `the database has schema ${version}, this waybill knows ${MIGRATIONS.length}: use the newer waybill that wrote it`,
      );
    }
    for (const sql of MIGRATIONS.slice(version)) db.exec(sql);
    db.exec(`PRAGMA user_version = ${MIGRATIONS.length}`);
    db.exec('COMMIT');
  } catch (error) {
    db.exec('ROLLBACK');
    throw error;
  }
}

function versionOf(db: Database): number {
  return Number(db.prepare('PRAGMA user_version').get()?.['user_version'] ?? 0);
}
