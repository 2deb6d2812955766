import { SetupError } from '../../../errors/index.ts';
import type { Dispatch } from '../../../store/index.ts';
import { publicUrl } from '../../../store/public-url.ts';
import type { Logger } from '../../../tools/index.ts';
import type { Dispatcher, ToolLimits } from '../../dispatcher.ts';
import { QueueConsumer } from './consumer.ts';
import { openPostgresService } from './postgres.ts';
import { createPusher } from './pusher.ts';
import { openRedisService } from './redis.ts';
import { type Producer, QUEUE_LIMITS, type QueueService } from './service.ts';
import { setupError, storeError, throttled, within } from './trouble.ts';

export interface BullmqOptions {
  /** redis://, rediss:// or postgres:// */
  readonly url: string;
  readonly serverId: string;
  readonly limits: ToolLimits;
  /** Take a service that would lose acknowledged jobs. */
  readonly allowVolatileQueue: boolean;
  readonly log: Logger;
}

/** One queue and what brings jobs to it. */
interface Queue {
  readonly name: string;
  readonly limit: number | null;
  readonly producer: Producer;
  readonly push: (job: Dispatch, runAtMs: number) => Promise<void>;
}

/**
 * The dispatcher of any number of processes: BullMQ's queues, on Redis or in PostgreSQL. Tools without a limit
 * share a queue; each of the others has one of its own, which hands out no more jobs at once than the limit, to
 * all workers together. Beside `concurrency` a consumer has slots for those.
 *
 * @throws SetupError in one line without the password
 */
export async function openBullmqDispatcher(options: BullmqOptions): Promise<Dispatcher> {
  const { url, limits, log } = options;
  if (!URL.canParse(url) || !URLS.test(url)) {
    throw new SetupError('the URL of the queue must be redis://…, rediss://… or postgres://…');
  }
  /** Before that, troubles are told as the reason why it cannot be opened. */
  let isOpen = false;
  const tell = throttled((error) => log.error({ err: storeError(error) }, 'queue connection failed'));
  const complain = (error: unknown) => {
    if (isOpen) tell(error);
  };
  const open = /^redis/i.test(url) ? openRedisService : openPostgresService;
  const service = await open({ ...options, complain });
  try {
    const shared = await openQueue(service, 'jobs', null);
    const limited = await Promise.all(
      [...limits].map(
        async ([tool, limit]) => [tool, await openQueue(service, `tool.${tool}`, limit)] as const,
      ),
    );
    isOpen = true;
    return createDispatcher(service, shared, new Map(limited));
  } catch (error) {
    await service.close();
    throw setupError(publicUrl(url), error);
  }
}

const URLS = /^(rediss?|postgres(ql)?):\/\/./i;

async function openQueue(service: QueueService, name: string, limit: number | null): Promise<Queue> {
  const producer = await within(QUEUE_LIMITS.startMs, service.producer(name, limit));
  return { name, limit, producer, push: createPusher(producer) };
}

function createDispatcher(
  service: QueueService,
  shared: Queue,
  limited: ReadonlyMap<string, Queue>,
): Dispatcher {
  const queueOf = (tool: string) => limited.get(tool) ?? shared;
  return {
    push: (job, runAtMs) => queueOf(job.tool).push(job, runAtMs),
    // One that runs has a lease: it stays.
    remove: ({ id, tool }) => called(queueOf(tool).producer.remove(id, false)),
    // A service that only answers is not enough: a replica does, and so does one whose memory is full.
    ping: () => called(shared.producer.writeSettings()),
    close: () => service.close(),
    consume(run, options) {
      const consumers = [shared, ...limited.values()].map(({ name, limit }) => {
        const { concurrency, leaseMs } = options;
        return new QueueConsumer(service.consumer(name, leaseMs), run, {
          ...options,
          concurrency: Math.min(limit ?? concurrency, concurrency),
          isLimited: limit !== null,
        });
      });
      return {
        async stop() {
          await Promise.all(consumers.map((consumer) => consumer.stop()));
        },
      };
    },
  };
}

/** @throws StoreError */
async function called(answer: Promise<unknown>): Promise<void> {
  try {
    await within(QUEUE_LIMITS.callMs, answer);
  } catch (error) {
    throw storeError(error);
  }
}
