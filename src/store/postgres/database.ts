import type * as Pg from 'pg';
import type { Client, ClientConfig, Pool, QueryResult } from 'pg';
import { SetupError, StoreError, systemCodeOf } from '../../errors/index.ts';
import { POSTGRES_LIMITS } from '../../limits.ts';
import { publicUrl } from '../public-url.ts';

/** A row as the driver gives it; 64-bit integers are text. */
export type Row = Readonly<Record<string, string | number | boolean | null>>;

/** A prepared statement: planned once for each connection. */
export interface Statement {
  readonly name: string;
  readonly text: string;
}

/** Connections to one database. */
export interface Database {
  /** @throws StoreError when the database cannot be asked now */
  query(statement: Statement, values: readonly unknown[]): Promise<readonly Row[]>;
  /** A connection of its own, as for LISTEN; to be connected and ended by the caller. */
  newClient(): Client;
  /** Lets statements under way end. */
  close(): Promise<void>;
}

export interface DatabaseOptions {
  readonly url: string;
  /** Told of connections that broke while nobody used them. */
  readonly onError: (error: Error) => void;
}

/**
 * Opens a pool and proves that the database can be used.
 *
 * @throws SetupError in one line without the password
 */
export async function openDatabase({ url, onError }: DatabaseOptions): Promise<Database> {
  const where = describeUrl(url);
  const pg = await loadDriver();
  const config: ClientConfig = {
    connectionString: url,
    application_name: 'waybill',
    connectionTimeoutMillis: POSTGRES_LIMITS.connectTimeoutMs,
    statement_timeout: POSTGRES_LIMITS.statementTimeoutMs,
    // A database that hangs does not keep its own time.
    query_timeout: POSTGRES_LIMITS.statementTimeoutMs,
    keepAlive: true,
    options: SETTINGS.map((setting) => `-c ${setting}`).join(' '),
  };
  let pool: Pool;
  try {
    pool = new pg.Pool({ ...config, max: POSTGRES_LIMITS.poolSize });
  } catch {
    throw new SetupError(`${where}: the URL of the store cannot be read`);
  }
  pool.on('error', onError);
  try {
    await refuseUnfit(pool, where);
  } catch (error) {
    await pool.end();
    throw error instanceof SetupError ? error : setupError(error, where);
  }
  return {
    async query({ name, text }, values) {
      // Rows of an unknown shape: each caller knows the columns that it selects.
      const { rows } = await retrying(() => pool.query<Row>({ name, text, values: [...values] }));
      return rows;
    },
    newClient: () => new pg.Client(config),
    close: () => pool.end(),
  };
}

const SETTINGS = [
  // What was answered must survive a crash, whatever the database or the role has been set to.
  'synchronous_commit=on',
  'default_transaction_isolation=read\\ committed',
  // Each of our statements looks up a few rows by an index. Plans are made once, perhaps while tables are still
  // empty: whatever is right for an empty table would be kept.
  'plan_cache_mode=force_generic_plan',
  'enable_seqscan=off',
  'enable_hashjoin=off',
  'enable_mergejoin=off',
  'jit=off',
];

/** The part of the package that is used here. */
type Driver = Pick<typeof Pg, 'Pool' | 'Client'>;

const OLDEST_VERSION = 130_000;

async function loadDriver(): Promise<Driver> {
  try {
    return (await import('pg')).default;
  } catch (error) {
    throw new SetupError('a store on PostgreSQL needs the package pg: run "npm install pg@8"', {
      cause: error,
    });
  }
}

async function refuseUnfit(pool: Pool, where: string): Promise<void> {
  const { rows } = await pool.query<Row>(`
    SELECT current_setting('server_version_num')::int AS number, current_setting('server_version') AS version,
      current_setting('fsync') AS fsync, current_setting('full_page_writes') AS full_page_writes,
      current_setting('plan_cache_mode') AS plan_cache_mode, pg_is_in_recovery() AS standby`);
  const [facts] = rows;
  if (Number(facts?.['number']) < OLDEST_VERSION)
    throw new SetupError(`${where} runs PostgreSQL ${facts?.['version']}: 13 or later is needed`);
  if (facts?.['standby'] === true)
    throw new SetupError(`${where} is a standby, which cannot be written: name the primary`);
  // One of SETTINGS that no database has by itself.
  if (facts?.['plan_cache_mode'] !== 'force_generic_plan') {
    throw new SetupError(
      `${where} does not take the settings of a connection, as behind a pooler of transactions: name the database itself`,
    );
  }
  for (const setting of ['fsync', 'full_page_writes']) {
    if (facts?.[setting] !== 'on')
      throw new SetupError(`${where} runs with ${setting} off and would lose jobs at a crash: turn it on`);
  }
}

/** Statements that lost to another one, and left nothing behind. */
const LOST_RACES: ReadonlySet<unknown> = new Set(['40P01', '40001']);
const TRIES = 5;

async function retrying(run: () => Promise<QueryResult<Row>>): Promise<QueryResult<Row>> {
  for (let tries = 1; ; tries++) {
    try {
      return await run();
    } catch (error) {
      const isRace = LOST_RACES.has(systemCodeOf(error)) && tries < TRIES;
      if (!isRace) throw new StoreError('the database cannot be used', { cause: error });
    }
  }
}

/** What the driver says, in words that help. */
const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there',
  ENOTFOUND: 'the host is not known',
  EAI_AGAIN: 'the host is not known',
  ETIMEDOUT: 'it does not answer',
  '28P01': 'the password is wrong',
  '28000': 'the role may not log in',
  '3D000': 'there is no such database',
  '42501': 'the role may not make or use the tables of waybill',
};

export function setupError(error: unknown, where: string): SetupError {
  const message = error instanceof Error ? error.message : String(error);
  const reason =
    REASONS[String(systemCodeOf(error))] ??
    (/timeout expired|connection timeout|read timeout/i.test(message) ? 'it does not answer' : message);
  return new SetupError(`cannot use ${where}: ${reason}`, { cause: error });
}

/**
 * The URL as it may be shown.
 *
 * @throws SetupError when it is not one of PostgreSQL
 */
export function describeUrl(url: string): string {
  if (!URL.canParse(url) || !/^postgres(ql)?:/i.test(url))
    throw new SetupError('the URL of the store must be postgres://user:password@host:port/database');
  return publicUrl(url);
}
