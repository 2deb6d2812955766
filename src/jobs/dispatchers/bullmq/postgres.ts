import { EventEmitter } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type * as Bullmq from 'bullmq';
import type { Client, ClientConfig } from 'pg';
import { SetupError } from '../../../errors/index.ts';
import { publicUrl } from '../../../store/public-url.ts';
import {
  importBullmq,
  leaseSettings,
  loadPackages,
  QUEUE_LIMITS,
  type QueueService,
  queueSettings,
  type ServiceOptions,
} from './service.ts';
import { atMost, codeOf, setupError } from './trouble.ts';

const SCHEMA = 'waybill_queue';

const OLDEST_VERSION = 130_000;

/** Connections for pushes, and for workers; one more listens. A database has 100 unless told otherwise. */
const PUSHING = { max: 2 };
const WORKING = { max: 4 };

/**
 * Queues in PostgreSQL, in a schema of their own.
 *
 * @throws SetupError when the database cannot be had or used
 */
export async function openPostgresService(options: ServiceOptions): Promise<QueueService> {
  const { url, serverId, complain } = options;
  const where = publicUrl(url);
  const [bullmq, { default: pg }] = await loadPackages(
    'a queue in PostgreSQL needs the packages bullmq and pg',
    'bullmq@6.7 pg@8',
    async () => [await importBullmq(), await import('pg')] as const,
  );
  const connections: Bullmq.PostgresConnection[] = [];

  async function connect(own: { max: number }, answerMs: number): Promise<Bullmq.PostgresConnection> {
    const connection = new bullmq.PostgresConnection({
      ...config(url),
      ...own,
      schema: SCHEMA,
      connectionTimeoutMillis: answerMs,
      query_timeout: answerMs,
      statement_timeout: answerMs,
    });
    connection.on('error', complain);
    // While BullMQ has a client from the pool nobody would hear that it broke, and that ends a process. Whoever uses
    // it finds out.
    connection.pool.on('connect', (client) => client.on('error', () => {}));
    // One for each queue.
    connection.setMaxListeners(0);
    letManyListen(connection);
    connections.push(connection);
    await connection.waitUntilReady();
    return connection;
  }

  try {
    await prepare(bullmq, () => new pg.Client(config(url)), where, options);
    const pushing = await connect(PUSHING, QUEUE_LIMITS.callMs);
    // Now, while it can be had: BullMQ does not try again.
    const working = await connect(WORKING, QUEUE_LIMITS.silenceMs);
    return {
      async producer(queue, limit) {
        const backend = new bullmq.PostgresQueueBackend(pushing, queueName(serverId, queue), {
          connection: url,
        });
        backend.on('error', complain);
        const writeSettings = () => backend.setQueueMeta(queueSettings(limit));
        await writeSettings();
        return {
          add(jobs) {
            const [first, ...others] = jobs;
            // For several BullMQ makes temporary tables, which take 3 ms; one alone takes 0.8 ms.
            return first !== undefined && others.length === 0
              ? backend.addJob(first.job, first.jobId)
              : backend.addJobs(jobs);
          },
          remove: (id, removeChildren) => backend.remove(id, removeChildren),
          writeSettings,
        };
      },
      consumer(queue, leaseMs) {
        const own = { connection: url, ...leaseSettings(leaseMs) };
        const backend = new bullmq.PostgresQueueBackend(working, queueName(serverId, queue), own);
        backend.on('error', complain);
        return { backend, release: () => backend.disconnectBlocking() };
      },
      close: () => closeAll(connections),
    };
  } catch (error) {
    await closeAll(connections);
    throw setupError(where, error);
  }
}

/** Servers may share a database for their queues: BullMQ takes any name without a colon. */
function queueName(serverId: string, queue: string): string {
  return `${encodeURIComponent(serverId)}.${queue}`;
}

function config(url: string) {
  return {
    connectionString: url,
    application_name: 'waybill queue',
    connectionTimeoutMillis: QUEUE_LIMITS.startMs,
    keepAlive: true,
    // What was answered must survive a crash, whatever the database or the role has been set to.
    options: '-c synchronous_commit=on -c jit=off',
  } satisfies ClientConfig;
}

async function closeAll(connections: readonly Bullmq.PostgresConnection[]): Promise<void> {
  await atMost(QUEUE_LIMITS.closeMs, Promise.all(connections.map((connection) => connection.close())));
}

/**
 * Every queue waits on the one connection that listens. Node takes more than ten of them for a leak, and the
 * driver asks for one statement at a time.
 */
function letManyListen(connection: Bullmq.PostgresConnection): void {
  const getListenClient = connection.getListenClient.bind(connection);
  const ready = new WeakSet();
  connection.getListenClient = async () => {
    const client = await getListenClient();
    if (ready.has(client)) return client;
    ready.add(client);
    if (client instanceof EventEmitter) client.setMaxListeners(0);
    const query: typeof client.query = client.query.bind(client);
    let last: Promise<unknown> = Promise.resolve();
    client.query = <R>(text: string, values?: readonly unknown[]) => {
      const result = last.then(() => query<R>(text, values));
      last = result.catch(() => {});
      return result;
    };
    return client;
  };
}

/** Refuses what is unfit, and makes BullMQ's tables. */
async function prepare(
  bullmq: typeof Bullmq,
  newClient: () => Client,
  where: string,
  options: ServiceOptions,
): Promise<void> {
  const client = await connected(newClient);
  try {
    await refuseUnfit(client, where, options);
    await migrate(bullmq, client, where);
  } finally {
    await atMost(QUEUE_LIMITS.closeMs, client.end());
  }
}

/** A database that does not listen yet, or that is just starting. */
const STARTING: ReadonlySet<string> = new Set(['ECONNREFUSED', 'ECONNRESET', '57P03']);
const RETRY_MS = 250;

async function connected(newClient: () => Client): Promise<Client> {
  const giveUpMs = performance.now() + QUEUE_LIMITS.startMs;
  for (;;) {
    const client = newClient();
    client.on('error', () => {});
    try {
      await client.connect();
      return client;
    } catch (error) {
      if (!STARTING.has(codeOf(error)) || performance.now() > giveUpMs) throw error;
      await sleep(RETRY_MS);
    }
  }
}

async function refuseUnfit(
  client: Client,
  where: string,
  { allowVolatileQueue, log }: ServiceOptions,
): Promise<void> {
  const { rows } = await client.query<Record<string, unknown>>(`
    SELECT current_setting('server_version_num') AS number, current_setting('server_version') AS version,
      current_setting('fsync') AS fsync, pg_is_in_recovery() AS standby`);
  const { number, version, fsync, standby } = rows[0] ?? {};
  if (Number(number) < OLDEST_VERSION)
    throw new SetupError(`${where} runs PostgreSQL ${String(version)}: 13 or later is needed`);
  if (standby === true)
    throw new SetupError(`${where} is a standby, which cannot be written: name the primary`);
  if (fsync === 'on') return;
  const fault = `${where} would lose jobs at a crash: set "fsync = on"`;
  if (!allowVolatileQueue) throw new SetupError(`${fault}, or take that risk with --allow-volatile-queue`);
  log.warn({ queue: where }, fault);
}

async function migrate(bullmq: typeof Bullmq, client: Client, where: string): Promise<void> {
  try {
    const version = await bullmq.assertSchemaCompatibility(client, SCHEMA).catch((error: unknown) => {
      if (error instanceof bullmq.SchemaMigrationRequiredError) return 0;
      throw error;
    });
    // Of several processes that start at once, one does it and the others wait.
    if (version < bullmq.LATEST_SCHEMA_VERSION) await bullmq.runMigrations(client, SCHEMA);
  } catch (error) {
    if (!(error instanceof bullmq.SchemaVersionMismatchError)) throw error;
    const { minimumClientVersion: wanted, clientVersion: ours } = error;
    throw new SetupError(
      `the queue in ${where} is one of BullMQ ${wanted}, and this is BullMQ ${ours}: run "npm install bullmq@${wanted}"`,
    );
  }
}
