import { onTestFinished } from 'vitest';
import type { ConsumeOptions, Consumer, Dispatcher, RunJob } from '../../src/jobs/dispatcher.ts';
import { type BullmqOptions, openBullmqDispatcher } from '../../src/jobs/dispatchers/bullmq/dispatcher.ts';
import type { Dispatch } from '../../src/store/index.ts';
import { createTestLog, type TestLog } from '../support/log.ts';
import { startPostgres, startRedis } from '../support/services/index.ts';
import { postgresUrl, redisUrl } from '../support/services/shared.ts';

/** The two services of BullMQ: a database for the test, and a server of its own to kill. */
export const SERVICES = [
  { name: 'Redis', tags: ['redis'], ownTags: ['own-redis'], url: redisUrl, start: startRedis },
  {
    name: 'PostgreSQL',
    tags: ['postgres'],
    ownTags: ['own-postgres'],
    url: postgresUrl,
    start: startPostgres,
  },
] as const;

export interface Desk {
  readonly dispatcher: Dispatcher;
  readonly log: TestLog;
  /** A consumer that stops when the test ends. */
  consume(run: RunJob, options?: Partial<ConsumeOptions>): Consumer;
}

/** The dispatcher of one process; closed when the test ends. */
export async function openDesk(url: string, options: Partial<BullmqOptions> = {}): Promise<Desk> {
  const log = createTestLog();
  const defaults = { url, serverId: 'desk', limits: new Map(), allowVolatileQueue: true, log };
  const dispatcher = await openBullmqDispatcher({ ...defaults, ...options });
  onTestFinished(() => dispatcher.close());
  return {
    dispatcher,
    log,
    consume(run, own) {
      // A busy machine misses to renew a shorter lease.
      const consumer = dispatcher.consume(run, { concurrency: 4, leaseMs: 5_000, onError: () => {}, ...own });
      onTestFinished(() => consumer.stop());
      return consumer;
    },
  };
}

export function newJob(members: Partial<Dispatch> = {}): Dispatch {
  return { id: `job_${crypto.randomUUID()}`, tool: 'work', priority: 0, ...members };
}
