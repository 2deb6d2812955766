import { createPostgresBackend, Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';

/** BullMQ as its own documentation uses it: one add a job, a Worker with a function, state read by id. */
export interface BareBullmq {
  /** Adds a job and resolves when the worker has run it. */
  run(id: string, n: number): Promise<void>;
  /** Adds a job that nobody runs. */
  enqueue(id: string, n: number): Promise<void>;
  /** How such a job stands. */
  state(id: string): Promise<string>;
  close(): Promise<void>;
}

const KEEP_NOTHING = { removeOnComplete: true, removeOnFail: true } as const;

/** @param url of the service that carries the queue */
export async function openBareBullmq(url: string, concurrency: number): Promise<BareBullmq> {
  const waiting = new Map<string, () => void>();
  const { queue, worker, parked, close } = url.startsWith('redis') ? onRedis() : await onPostgres();

  function onRedis() {
    const connections = Array.from({ length: 3 }, () => new Redis(url, { maxRetriesPerRequest: null }));
    const [first, second, third] = connections;
    if (first === undefined || second === undefined || third === undefined)
      throw new Error('three were made');
    return {
      queue: new Queue('bare', { connection: first, prefix: '{bare}', defaultJobOptions: KEEP_NOTHING }),
      worker: new Worker('bare', work, { connection: second, prefix: '{bare}', concurrency, ...WORKER }),
      parked: new Queue('parked', { connection: third, prefix: '{bare}' }),
      async close() {
        for (const connection of connections) connection.disconnect();
      },
    };
  }

  async function onPostgres() {
    const connection = { connectionString: url, schema: 'bare', max: 8, migrate: true };
    const options = { connection, defaultJobOptions: KEEP_NOTHING };
    const made = new Queue('bare', options, createPostgresBackend);
    await made.waitUntilReady();
    return {
      queue: made,
      worker: new Worker('bare', work, { connection, concurrency, ...WORKER }, createPostgresBackend),
      parked: new Queue('parked', options, createPostgresBackend),
      async close() {},
    };
  }

  worker.on('completed', ({ id = '' }) => {
    waiting.get(id)?.();
    waiting.delete(id);
  });
  await Promise.all([queue.waitUntilReady(), worker.waitUntilReady(), parked.waitUntilReady()]);

  return {
    async run(id, n) {
      const done = new Promise<void>((resolve) => waiting.set(id, resolve));
      await queue.add('increment', { n }, { jobId: id });
      await done;
    },
    async enqueue(id, n) {
      await parked.add('increment', { n }, { jobId: id });
    },
    state: (id) => parked.getJobState(id),
    async close() {
      await Promise.all([worker.close(), queue.close(), parked.close()]);
      await close();
    },
  };
}

const WORKER = { lockDuration: 10_000, stalledInterval: 5_000 };

async function work({ data: { n } }: { readonly data: { readonly n: number } }) {
  return { n: n + 1 };
}
