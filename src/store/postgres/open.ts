import { SetupError } from '../../errors/index.ts';
import { POSTGRES_LIMITS, TIME_WINDOW, type TimeWindow } from '../../limits.ts';
import type { ClientStore, RecordStore } from '../record-store.ts';
import { createAuditRecords } from './audit.ts';
import { createClientRecords } from './clients.ts';
import { createCounterRecords } from './counters.ts';
import { type Database, describeUrl, openDatabase, setupError } from './database.ts';
import { createJobRecords } from './jobs.ts';
import { migrate } from './migrations.ts';
import { createNonceRecords } from './nonces.ts';
import { createRequestRecords } from './requests.ts';

export interface PostgresOptions {
  /** `postgres://user:password@host:port/database` */
  readonly url: string;
  /** Refuses a database of another server; `undefined` takes the database's own id. */
  readonly serverId?: string | undefined;
  /** The id of a database that has none yet and is opened without `serverId`. */
  readonly defaultServerId?: string;
  readonly window?: TimeWindow;
  readonly now?: () => number;
  /** Told of failures that nobody waits for, such as a connection that broke. */
  readonly log: { warn(fields: object, message: string): void };
}

/**
 * Opens a database for any number of server and worker processes at once.
 *
 * @throws SetupError when it cannot be used: unreachable, too old, of another server, of a newer schema
 */
export async function openPostgresStore(options: PostgresOptions): Promise<RecordStore> {
  const { window = TIME_WINDOW, now = Date.now, log } = options;
  const onError = createErrorLog(log);
  const { db, serverId } = await open(options, onError);
  const nonces = createNonceRecords(db, window, now, onError);
  const requests = createRequestRecords(db);
  const jobs = createJobRecords(db, requests, onError);
  const counters = createCounterRecords(db);
  return {
    serverId,
    clients: createClientRecords(db),
    nonces,
    requests,
    jobs,
    counters,
    audit: createAuditRecords(db),
    async ping() {
      await db.query(PING, []);
    },
    async close() {
      nonces.stop();
      const ended = Promise.all([nonces.idle(), requests.idle(), jobs.idle(), counters.idle()])
        .then(() => jobs.stop())
        .then(() => db.close());
      // A database that hangs is not waited for.
      await Promise.race([ended, after(POSTGRES_LIMITS.closeMs)]);
    },
  };
}

/** Only what people look after, for a program beside running servers. @throws SetupError */
export async function openPostgresClients(options: PostgresOptions): Promise<ClientStore> {
  const { db, serverId } = await open(options, createErrorLog(options.log));
  const clients = createClientRecords(db);
  return { serverId, clients, audit: createAuditRecords(db), close: () => db.close() };
}

const PING = { name: 'waybill-ping', text: 'SELECT 1' };

async function open(options: PostgresOptions, onError: OnError): Promise<{ db: Database; serverId: string }> {
  const { url } = options;
  const where = describeUrl(url);
  const db = await openDatabase({ url, onError });
  const client = db.newClient();
  client.on('error', onError);
  try {
    await client.connect();
    return { db, serverId: await migrate(client, { ...options, where }) };
  } catch (error) {
    await db.close();
    throw error instanceof SetupError ? error : setupError(error, where);
  } finally {
    await client.end().catch(() => {});
  }
}

type OnError = (error: unknown) => void;

/** An outage is told every now and then, not with every attempt to end it. */
function createErrorLog(log: PostgresOptions['log']): OnError {
  let toldMs = Number.NEGATIVE_INFINITY;
  return (error) => {
    if (performance.now() - toldMs < POSTGRES_LIMITS.logMs) return;
    toldMs = performance.now();
    log.warn({ err: error }, 'the database cannot be used');
  };
}

function after(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref();
  });
}
