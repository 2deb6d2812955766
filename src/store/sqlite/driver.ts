import { createRequire } from 'node:module';
import { SetupError } from '../../errors/index.ts';

/** What SQLite can bind and return, in our schema. */
export type SqlValue = string | number | null;
export type Row = Readonly<Record<string, SqlValue>>;

/** A prepared statement: the part that better-sqlite3 and node:sqlite have in common. */
export interface Statement {
  run(...values: SqlValue[]): { readonly changes: number | bigint };
  get(...values: SqlValue[]): Row | undefined;
  all(...values: SqlValue[]): Row[];
}

export interface Database {
  prepare(sql: string): Statement;
  exec(sql: string): unknown;
  close(): unknown;
}

type OpenDatabase = (path: string) => Database;

const require = createRequire(import.meta.url);

/**
 * better-sqlite3 where it is installed for this Node, else the `node:sqlite` of Node ≥ 22.13.
 * Both were measured equally fast; the first carries a SQLite version of our choice.
 *
 * @throws SetupError when there is neither
 */
export function openDatabase(path: string): Database {
  driver ??= findDriver();
  return driver(path);
}

/** Does another connection hold what was asked for? The words of SQLITE_BUSY are the same in every driver. */
export function isLocked(error: unknown): boolean {
  return error instanceof Error && error.message.includes('database is locked');
}

let driver: OpenDatabase | undefined;

function findDriver(): OpenDatabase {
  const better = load('better-sqlite3');
  // The package's one export is its class; loading a database proves that its binary fits this Node.
  if (better !== null) {
    const BetterSqlite = better as new (path: string) => Database;
    try {
      new BetterSqlite(':memory:').close();
      return (path) => new BetterSqlite(path);
    } catch {
      // Installed for another Node; the built-in module may still do.
    }
  }
  const builtIn = load('node:sqlite');
  if (builtIn !== null) {
    const { DatabaseSync } = builtIn as { DatabaseSync: new (path: string) => Database };
    return (path) => new DatabaseSync(path);
  }
  throw new SetupError(
    'no SQLite for this Node: run "npm install better-sqlite3@12", or use Node 22.13 or later',
  );
}

function load(name: string): unknown {
  const { emitWarning } = process;
  try {
    // node:sqlite announces itself as experimental on stderr at its first load; users cannot act on it.
    process.emitWarning = () => {};
    return require(name);
  } catch {
    return null;
  } finally {
    process.emitWarning = emitWarning;
  }
}
