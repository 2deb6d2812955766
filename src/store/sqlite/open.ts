import { chmodSync, mkdirSync, statSync } from 'node:fs';
import { uptime } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { SetupError } from '../../errors/index.ts';
import { SERVER_LIMITS, TIME_WINDOW, type TimeWindow } from '../../limits.ts';
import type { ClientStore, RecordStore } from '../record-store.ts';
import { createAuditFiles } from './audit.ts';
import { createClientRecords } from './clients.ts';
import { createCounterRecords } from './counters.ts';
import { type Database, isLocked, openDatabase } from './driver.ts';
import { createJobRows } from './job-rows.ts';
import { createJobRecords } from './jobs.ts';
import { lockDirectory } from './lock.ts';
import { migrate } from './migrations.ts';
import { openNonceGuard } from './nonces.ts';
import { createOpenJobs } from './open-jobs.ts';
import { createJobQueue, type JobQueue } from './queue.ts';
import { createRequestRecords, prepareRequests } from './requests.ts';
import { createTurn, type Turn } from './turn.ts';

export interface SqliteOptions {
  /** The folder that holds the database file and the nonce journals; made if it is missing. */
  readonly dir: string;
  /** Refuses a folder of another server; `undefined` takes the folder's own id. */
  readonly serverId?: string | undefined;
  /** The id of a folder that has none yet and is opened without `serverId`. */
  readonly defaultServerId?: string;
  readonly window?: TimeWindow;
  readonly maxNonces?: number;
  readonly now?: () => number;
  /** When this machine was started; later than the last start of the server means a power cut. */
  readonly bootMs?: number;
}

/** The store, and what the SQLite dispatcher needs to share its transactions. */
export interface SqliteStore extends RecordStore {
  readonly turn: Turn;
  readonly queue: JobQueue;
  /** Nonces held, and the memory they take. */
  readonly nonceGuard: { readonly size: number; readonly bytes: number };
}

/**
 * Opens a folder for one server process.
 *
 * @throws SetupError when it cannot be used: not writable, in use, of another server, of a newer schema
 */
export function openSqliteStore(options: SqliteOptions): SqliteStore {
  const { dir, now = Date.now, window = TIME_WINDOW, maxNonces = SERVER_LIMITS.maxNonces } = options;
  const { bootMs = now() - uptime() * 1_000 } = options;
  makeFolder(dir);
  const unlock = lockDirectory(dir);
  let file: OpenFile | null = null;
  try {
    file = openFile(options);
    const { db, meta, serverId } = file;
    const distrustUntilMs = distrustUntil(meta, window, now(), bootMs);
    const nonces = openNonceGuard({ dir, window, maxNonces, distrustUntilMs, now });
    meta.setAll({
      nonces_window: JSON.stringify(window),
      nonces_open_ms: String(now()),
      // Kept beyond this process: another start within the minute knows no more than this one.
      nonces_distrust_until_ms: String(distrustUntilMs),
    });
    // While it serves, the event loop must not wait for a program beside it: callers are told `busy`.
    db.exec('PRAGMA busy_timeout = 50');
    const rows = createJobRows(db);
    const openJobs = createOpenJobs(db, rows);
    const turn = createTurn(db, {
      flush: rows.flush,
      reset() {
        rows.reset();
        openJobs.reset();
      },
    });
    const requests = prepareRequests(db, rows);
    const queue = createJobQueue(db, rows);
    const audit = createAuditFiles(dir);
    return {
      serverId,
      turn,
      nonces,
      nonceGuard: nonces,
      queue,
      clients: createClientRecords(db, turn),
      requests: createRequestRecords(db, turn, requests),
      jobs: createJobRecords(db, turn, rows, openJobs, queue, requests),
      counters: createCounterRecords(db, turn),
      audit,
      ping: () => turn.write(() => {}),
      async close() {
        turn.close();
        audit.close();
        nonces.close();
        meta.delete('nonces_open_ms');
        db.close();
        unlock();
      },
    };
  } catch (error) {
    file?.db.close();
    unlock();
    throw error instanceof SetupError ? error : new SetupError(`cannot use ${dir}: ${reasonOf(error)}`);
  }
}

/** Up to which `ts_ms` a message may be a replay of one that was accepted here and is not known any more. */
function distrustUntil(meta: Meta, window: TimeWindow, nowMs: number, bootMs: number): number {
  const knownMs = Number(meta.get('nonces_distrust_until_ms') ?? 0);
  // Present only if the last server in this folder did not close it.
  const openedMs = Number(meta.get('nonces_open_ms') ?? Number.POSITIVE_INFINITY);
  // Written below from a TimeWindow; nonces were kept for as long as that window asked for.
  const before = JSON.parse(meta.get('nonces_window') ?? JSON.stringify(window)) as TimeWindow;
  const isSame = before.maxPastMs === window.maxPastMs && before.maxFutureMs === window.maxFutureMs;
  if (isSame && openedMs >= bootMs) return knownMs;
  // Whatever was accepted before was signed for a time before now + maxFuture.
  return Math.max(knownMs, nowMs + Math.max(before.maxFutureMs, window.maxFutureMs));
}

/** Opens a folder beside a server that may be running in it. @throws SetupError */
export function openClientStore(options: SqliteOptions): ClientStore {
  makeFolder(options.dir);
  const file = openFile(options);
  const turn = createTurn(file.db, { flush() {}, reset() {} });
  const audit = createAuditFiles(options.dir);
  return {
    serverId: file.serverId,
    clients: createClientRecords(file.db, turn),
    audit,
    async close() {
      turn.close();
      audit.close();
      file.db.close();
    },
  };
}

function makeFolder(dir: string): void {
  try {
    if (isFile(dir)) throw new SetupError(`${dir} is a file, not a folder; choose another --data`);
    makeMissing(resolve(dir));
  } catch (error) {
    if (error instanceof SetupError) throw error;
    throw new SetupError(`cannot make the data directory ${dir}: ${reasonOf(error)}; choose another --data`);
  }
}

/** Not with `recursive`: Node 20 tries for ever where a parent exists and yet can hold no folder, as /proc. */
function makeMissing(dir: string): void {
  if (isFolder(dir)) return;
  makeMissing(dirname(dir));
  try {
    mkdirSync(dir, { mode: 0o700 });
  } catch (error) {
    // Another process may have been faster.
    if (!isFolder(dir)) throw error;
  }
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

interface OpenFile {
  readonly db: Database;
  readonly meta: Meta;
  readonly serverId: string;
}

function openFile(options: SqliteOptions): OpenFile {
  const path = join(options.dir, 'waybill.db');
  let db: Database | undefined;
  try {
    db = openDatabase(path);
    // It holds the clients' secrets.
    chmodSync(path, 0o600);
    // First of all: what follows may meet another process that holds the file for a moment.
    db.exec(`PRAGMA busy_timeout = ${OPEN_MS}`);
    useWal(db);
    // What was committed survives a power cut.
    db.exec('PRAGMA synchronous = FULL');
    // 64 MiB of pages in memory: an index over millions of jobs still answers from there.
    db.exec('PRAGMA cache_size = -65536');
    migrate(db);
  } catch (error) {
    db?.close();
    if (error instanceof SetupError) throw error;
    throw new SetupError(
      `cannot use ${path}: ${reasonOf(error)}; choose another --data or correct its permissions`,
    );
  }
  try {
    const meta = createMeta(db);
    return { db, meta, serverId: resolveServerId(meta, options) };
  } catch (error) {
    db.close();
    throw error;
  }
}

/** How long to wait for other processes that open the same folder. */
const OPEN_MS = 5_000;
const RETRY_MS = 5;

/** While several processes make the file, SQLite refuses this at once in all but one, whatever its time-out. */
function useWal(db: Database): void {
  const startMs = performance.now();
  for (;;) {
    try {
      db.exec('PRAGMA journal_mode = WAL');
      return;
    } catch (error) {
      if (!isLocked(error) || performance.now() - startMs > OPEN_MS) throw error;
      // A pause without a promise: folders are opened before anything else runs.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, RETRY_MS);
    }
  }
}

function resolveServerId(meta: Meta, { dir, serverId, defaultServerId }: SqliteOptions): string {
  const known = meta.get('server_id');
  const wanted = serverId ?? known ?? defaultServerId;
  if (wanted === undefined) {
    throw new SetupError(`${dir} has no server id yet: start its server, or add a client with --server-id`);
  }
  if (known !== null && known !== wanted) {
    throw new SetupError(
      `${dir} belongs to server "${known}", not "${wanted}": use that --server-id or another --data`,
    );
  }
  if (known === null) meta.set('server_id', wanted);
  return wanted;
}

/** Facts about the file itself, committed at once. */
interface Meta {
  get(name: string): string | null;
  set(name: string, value: string): void;
  /** Together or not at all. */
  setAll(values: Readonly<Record<string, string>>): void;
  delete(name: string): void;
}

function createMeta(db: Database): Meta {
  const select = db.prepare('SELECT value FROM meta WHERE name = ?');
  const upsert = db.prepare(`
    INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value`);
  const remove = db.prepare('DELETE FROM meta WHERE name = ?');
  return {
    get: (name) => {
      const value = select.get(name)?.['value'];
      return value === undefined || value === null ? null : String(value);
    },
    set: (name, value) => {
      upsert.run(name, value);
    },
    setAll: (values) => {
      db.exec('BEGIN IMMEDIATE');
      for (const [name, value] of Object.entries(values)) upsert.run(name, value);
      db.exec('COMMIT');
    },
    delete: (name) => {
      remove.run(name);
    },
  };
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
