import type { Client } from 'pg';
import { SetupError } from '../../errors/index.ts';
import type { Row } from './database.ts';

/**
 * The schema, one entry a version; entries are never changed once released. Times are integers in
 * milliseconds and JSON is text, as on SQLite: text keeps every string as it is, which jsonb does not.
 */
const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE waybill.clients (
    id text COLLATE "C" PRIMARY KEY,
    request_keys text NOT NULL,
    response_keys text NOT NULL,
    created_ms bigint NOT NULL
  );
  INSERT INTO waybill.meta VALUES ('clients_version', '0');

  -- key: 128 bits of a digest of client and nonce.
  CREATE TABLE waybill.nonces (
    key uuid PRIMARY KEY,
    expires_ms bigint NOT NULL
  );
  CREATE INDEX nonces_by_expiry ON waybill.nonces (expires_ms);

  -- Requests that must not run twice: direct calls (id is null, outcome tells how they ended) and jobs.
  -- due_ms: when the sweeper must look at it. open: queued or running. spec: arguments and settings as JSON.
  CREATE TABLE waybill.requests (
    client_id text COLLATE "C" NOT NULL,
    request_id text COLLATE "C" NOT NULL,
    digest text NOT NULL,
    deadline_ms bigint NOT NULL,
    due_ms bigint NOT NULL,
    outcome text,
    id text COLLATE "C" UNIQUE,
    tool text,
    state text,
    open boolean NOT NULL,
    priority integer,
    fence integer,
    attempt integer,
    revision integer,
    created_ms bigint,
    updated_ms bigint,
    retention_ms bigint,
    spec text,
    progress text,
    partial text,
    result text,
    error text,
    PRIMARY KEY (client_id, request_id)
  ) WITH (fillfactor = 80);
  CREATE INDEX requests_open ON waybill.requests (client_id) WHERE open;
  CREATE INDEX jobs_by_due ON waybill.requests (due_ms) WHERE id IS NOT NULL;
  CREATE INDEX calls_by_due ON waybill.requests (due_ms) WHERE id IS NULL;

  -- Creates the jobs of a batch that are new and within the cap of their client. A function, because the locks
  -- must be held before the snapshot is taken that counts the open jobs. rank: how many jobs of the same client
  -- stand before this one in the batch.
  CREATE FUNCTION waybill.create_jobs(batch json, clients text[], caps integer[], priority_step integer)
  RETURNS TABLE (job_id text, job_priority integer) LANGUAGE plpgsql AS $body$
  BEGIN
    PERFORM pg_advisory_xact_lock(1463898732, hashed.client)
    FROM (SELECT DISTINCT hashtext(client_id) AS client FROM unnest(clients) AS c(client_id) ORDER BY client) AS hashed;
    RETURN QUERY
    WITH counted AS MATERIALIZED (
      SELECT c.client_id, (
        SELECT count(*)::integer FROM (
          SELECT FROM waybill.requests r WHERE r.client_id = c.client_id AND r.open LIMIT c.cap) AS jobs
      ) AS jobs
      FROM unnest(clients, caps) AS c(client_id, cap)
    )
    INSERT INTO waybill.requests AS made (client_id, request_id, digest, deadline_ms, due_ms, id, tool, state, open,
      priority, fence, attempt, revision, created_ms, updated_ms, retention_ms, spec)
    SELECT b.client_id, b.request_id, b.digest, b.deadline_ms, b.due_ms, b.id, b.tool, 'queued', true,
      (c.jobs + b.rank) / priority_step, 0, 0, 1, b.created_ms, b.created_ms, b.retention_ms, b.spec
    FROM json_to_recordset(batch) AS b(
      rank integer, client_id text, request_id text, digest text, deadline_ms bigint, due_ms bigint, id text,
      tool text, created_ms bigint, retention_ms bigint, spec text, max_open integer)
    JOIN counted c USING (client_id)
    WHERE c.jobs + b.rank < b.max_open
    ON CONFLICT DO NOTHING
    RETURNING made.id, made.priority;
  END $body$;
  `,
  `
  -- Bearer tokens of a client, as their SHA-256: a JSON array of base64url texts, the newest first.
  ALTER TABLE waybill.clients ADD COLUMN token_hashes text NOT NULL DEFAULT '[]';
  `,
  `
  -- What a job waits to be answered, and all answers it has had, as JSON by the keys of the questions; null: none.
  ALTER TABLE waybill.requests ADD COLUMN questions text;
  ALTER TABLE waybill.requests ADD COLUMN answers text;

  -- As before, with the answers that were given before the call was taken.
  CREATE OR REPLACE FUNCTION waybill.create_jobs(batch json, clients text[], caps integer[], priority_step integer)
  RETURNS TABLE (job_id text, job_priority integer) LANGUAGE plpgsql AS $body$
  BEGIN
    PERFORM pg_advisory_xact_lock(1463898732, hashed.client)
    FROM (SELECT DISTINCT hashtext(client_id) AS client FROM unnest(clients) AS c(client_id) ORDER BY client) AS hashed;
    RETURN QUERY
    WITH counted AS MATERIALIZED (
      SELECT c.client_id, (
        SELECT count(*)::integer FROM (
          SELECT FROM waybill.requests r WHERE r.client_id = c.client_id AND r.open LIMIT c.cap) AS jobs
      ) AS jobs
      FROM unnest(clients, caps) AS c(client_id, cap)
    )
    INSERT INTO waybill.requests AS made (client_id, request_id, digest, deadline_ms, due_ms, id, tool, state, open,
      priority, fence, attempt, revision, created_ms, updated_ms, retention_ms, spec, answers)
    SELECT b.client_id, b.request_id, b.digest, b.deadline_ms, b.due_ms, b.id, b.tool, 'queued', true,
      (c.jobs + b.rank) / priority_step, 0, 0, 1, b.created_ms, b.created_ms, b.retention_ms, b.spec, b.answers
    FROM json_to_recordset(batch) AS b(
      rank integer, client_id text, request_id text, digest text, deadline_ms bigint, due_ms bigint, id text,
      tool text, created_ms bigint, retention_ms bigint, spec text, answers text, max_open integer)
    JOIN counted c USING (client_id)
    WHERE c.jobs + b.rank < b.max_open
    ON CONFLICT DO NOTHING
    RETURNING made.id, made.priority;
  END $body$;
  `,
  `
  -- What a client may do, as JSON; what it does not name is as for everybody.
  ALTER TABLE waybill.clients ADD COLUMN algorithm text NOT NULL DEFAULT 'hmac-sha256';
  ALTER TABLE waybill.clients ADD COLUMN terms text NOT NULL DEFAULT '{}';
  ALTER TABLE waybill.clients ADD COLUMN revoked_ms bigint;
  ALTER TABLE waybill.clients ADD COLUMN revision integer NOT NULL DEFAULT 0;
  -- Their secrets lie open: once they are sealed, no copy may be left in the table's file.
  INSERT INTO waybill.meta SELECT 'scrub', 'clients' WHERE EXISTS (SELECT FROM waybill.clients);

  -- How much of a quota is used in the window that began last.
  CREATE TABLE waybill.counters (
    name text COLLATE "C" PRIMARY KEY,
    window_ms bigint NOT NULL,
    used bigint NOT NULL
  ) WITH (fillfactor = 50);

  -- Lines of the audit, one row for those that were written together. seq: of its first line.
  CREATE TABLE waybill.audit (
    chain text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    lines text NOT NULL,
    PRIMARY KEY (chain, seq)
  );
  `,
];

/** Any number will do, as long as all processes of waybill take the same. */
const LOCK = 1_463_898_731;

export interface MigrateOptions {
  readonly serverId?: string | undefined;
  readonly defaultServerId?: string | undefined;
  /** Names the database in messages. */
  readonly where: string;
}

/**
 * Brings the schema to the version of this program, and gives the id of the server that the store belongs to.
 * All in one transaction, and one process at a time.
 *
 * @throws SetupError for a newer schema, another server, or none that is named; then nothing was changed
 */
export async function migrate(client: Client, options: MigrateOptions): Promise<string> {
  await client.query('BEGIN');
  try {
    await client.query(`SELECT pg_advisory_xact_lock(${LOCK})`);
    // Not with IF NOT EXISTS alone: that asks for the right to create even where there is nothing to do.
    const { rows } = await client.query<Row>(`SELECT to_regclass('waybill.meta') IS NOT NULL AS present`);
    if (rows[0]?.['present'] !== true) {
      await client.query('CREATE SCHEMA IF NOT EXISTS waybill');
      await client.query('CREATE TABLE waybill.meta (name text PRIMARY KEY, value text NOT NULL)');
    }
    const version = Number((await getMeta(client, 'schema')) ?? 0);
    if (version > MIGRATIONS.length) {
      throw new SetupError(
        `${options.where} has schema ${version}, this waybill knows ${MIGRATIONS.length}: use the newer waybill that wrote it`,
      );
    }
    for (const sql of MIGRATIONS.slice(version)) await client.query(sql);
    if (version < MIGRATIONS.length) await setMeta(client, 'schema', String(MIGRATIONS.length));
    const serverId = await resolveServerId(client, options);
    await client.query('COMMIT');
    return serverId;
  } catch (error) {
    await client.query('ROLLBACK').catch(() => {});
    throw error;
  }
}

async function resolveServerId(
  client: Client,
  { serverId, defaultServerId, where }: MigrateOptions,
): Promise<string> {
  const known = await getMeta(client, 'server_id');
  const wanted = serverId ?? known ?? defaultServerId;
  if (wanted === undefined)
    throw new SetupError(`${where} has no server id yet: start its server, or add a client with --server-id`);
  if (known !== null && known !== wanted) {
    throw new SetupError(
      `${where} belongs to server "${known}", not "${wanted}": use that --server-id or another --store`,
    );
  }
  if (known === null) await setMeta(client, 'server_id', wanted);
  return wanted;
}

async function getMeta(client: Client, name: string): Promise<string | null> {
  const { rows } = await client.query<Row>('SELECT value FROM waybill.meta WHERE name = $1', [name]);
  const value = rows[0]?.['value'];
  return value === undefined ? null : String(value);
}

async function setMeta(client: Client, name: string, value: string): Promise<void> {
  await client.query(
    `INSERT INTO waybill.meta VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value`,
    [name, value],
  );
}
