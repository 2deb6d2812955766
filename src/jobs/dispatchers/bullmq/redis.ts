import type * as Ioredis from 'ioredis';
import type { Redis, RedisOptions } from 'ioredis';
import { SetupError } from '../../../errors/index.ts';
import { publicUrl } from '../../../store/public-url.ts';
import { createScriptClient } from './scripts.ts';
import {
  importBullmq,
  leaseSettings,
  loadPackages,
  type Producer,
  QUEUE_LIMITS,
  type QueueService,
  queueSettings,
  type ServiceOptions,
} from './service.ts';
import { atMost, setupError } from './trouble.ts';

const OLDEST_VERSION = [6, 2] as const;

/**
 * Queues on Redis, or on what speaks like it.
 *
 * @throws SetupError when it cannot be had, is too old, or would lose jobs that were pushed
 */
export async function openRedisService(options: ServiceOptions): Promise<QueueService> {
  const { serverId, complain } = options;
  const where = publicUrl(options.url);
  const [bullmq, ioredis] = await loadPackages(
    'a queue on Redis needs the packages bullmq and ioredis',
    'bullmq@6.7 ioredis@6',
    async () => [await importBullmq(), await import('ioredis')] as const,
  );
  const { connect, disconnectAll } = createConnections(ioredis, options);
  /** Settings to write again when the service comes back: it may have come back empty. */
  const producers: Producer[] = [];

  let pushing: Redis;
  try {
    // Says no at once while the connection is lost: whoever pushes has a caller that waits.
    pushing = connect({ enableOfflineQueue: false, maxRetriesPerRequest: 0 });
    await untilReady(pushing);
    await refuseUnfit(pushing, where, options);
  } catch (error) {
    disconnectAll();
    throw setupError(where, error);
  }
  pushing.on('ready', () => {
    for (const producer of producers) producer.writeSettings().catch(complain);
  });
  const pushingClient = createScriptClient(bullmq, ioredis, pushing);
  // Braces: all keys of a server are in one slot of a cluster.
  const common = { prefix: `{waybill.${serverId}}`, skipVersionCheck: true };
  let working: ReturnType<typeof createScriptClient> | null = null;

  function workingClient() {
    if (working !== null) return working;
    // BullMQ's own terms for workers: what they ask for waits until the service is back.
    working = createScriptClient(bullmq, ioredis, connect({ maxRetriesPerRequest: null }));
    // One more connection for each queue, on which its worker waits for jobs.
    working.duplicate = () => bullmq.createIORedisClient(connect({ maxRetriesPerRequest: null }));
    return working;
  }

  return {
    async producer(queue, limit) {
      const backend = bullmq.createRedisBackend(queue, { ...common, connection: pushingClient });
      backend.on('error', complain);
      const producer: Producer = {
        add: (jobs) => Promise.all(jobs.map(({ job, jobId }) => backend.addJob(job, jobId))),
        remove: (id, removeChildren) => backend.remove(id, removeChildren),
        writeSettings: () => backend.setQueueMeta(queueSettings(limit)),
      };
      await producer.writeSettings();
      producers.push(producer);
      return producer;
    },
    consumer(queue, leaseMs) {
      const own = { ...common, connection: workingClient(), ...leaseSettings(leaseMs) };
      const backend = bullmq.createRedisBackend(queue, own, { withBlockingConnection: true });
      backend.on('error', complain);
      return { backend, release: () => atMost(QUEUE_LIMITS.closeMs, backend.close(true)) };
    },
    async close() {
      disconnectAll();
    },
  };
}

const CONNECTION = {
  connectTimeout: QUEUE_LIMITS.callMs,
  socketTimeout: QUEUE_LIMITS.silenceMs,
  retryStrategy: (times: number) => Math.min(50 * 2 ** times, QUEUE_LIMITS.reconnectMs),
  // A primary that has become a replica: behind its name there may be another by now.
  reconnectOnError: ({ message }: Error) => message.startsWith('READONLY'),
  disableClientInfo: true,
} satisfies RedisOptions;

function createConnections(ioredis: Pick<typeof Ioredis, 'Redis'>, { url, complain }: ServiceOptions) {
  const clients: Redis[] = [];
  return {
    connect(own: Pick<RedisOptions, 'enableOfflineQueue' | 'maxRetriesPerRequest'>): Redis {
      const client = new ioredis.Redis(url, { ...CONNECTION, ...own });
      client.on('error', complain);
      clients.push(client);
      return client;
    },
    disconnectAll(): void {
      for (const client of clients) client.disconnect();
    },
  };
}

/** @throws whatever kept it from becoming ready */
async function untilReady(redis: Redis): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  let trouble: unknown = new Error('it does not answer');
  try {
    await new Promise<void>((resolve, reject) => {
      timer = setTimeout(() => reject(trouble), QUEUE_LIMITS.startMs);
      redis.on('error', (error) => {
        trouble = error;
        // It is there and says no: a wrong password does not become right.
        if (error.name === 'ReplyError') reject(error);
      });
      redis.once('ready', resolve);
    });
  } finally {
    clearTimeout(timer);
  }
}

/** Reads INFO: managed services forbid CONFIG. */
async function refuseUnfit(
  redis: Redis,
  where: string,
  { allowVolatileQueue, log }: ServiceOptions,
): Promise<void> {
  const info = await redis.info();
  const fact = (name: string) => new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1];
  const version = fact('redis_version') ?? 'unknown';
  if (isOlder(version)) throw new SetupError(`${where} runs Redis ${version}: 6.2 or later is needed`);
  const faults = [
    ...(fact('aof_enabled') === '1' ? [] : ['would lose jobs when it ends: set "appendonly yes"']),
    ...(fact('maxmemory_policy') === 'noeviction'
      ? []
      : ['would drop jobs when its memory is full: set "maxmemory-policy noeviction"']),
  ];
  if (faults.length === 0) return;
  const fault = `${where} ${faults.join('; it ')}`;
  if (!allowVolatileQueue) throw new SetupError(`${fault}, or take that risk with --allow-volatile-queue`);
  log.warn({ queue: where }, fault);
}

function isOlder(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const [oldestMajor, oldestMinor] = OLDEST_VERSION;
  return major < oldestMajor || (major === oldestMajor && minor < oldestMinor);
}
