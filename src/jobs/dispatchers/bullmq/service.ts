import type * as Bullmq from 'bullmq';
import type { IQueueBackend } from 'bullmq';
import { SetupError, systemCodeOf } from '../../../errors/index.ts';
import type { Logger } from '../../../tools/index.ts';
import { reasonOf } from './trouble.ts';

/**
 * Queues on Redis or in PostgreSQL. BullMQ calls what works on one queue a backend: its scripts on the one and
 * its SQL functions in the other are what keeps jobs, leases and limits.
 */
export interface QueueService {
  /**
   * For pushes: rejects soon while the service is gone. Resolves when the settings of the queue are written.
   *
   * @param limit how many jobs of the queue run at once, in all workers together
   */
  producer(queue: string, limit: number | null): Promise<Producer>;
  /** For workers: waits for the service. */
  consumer(queue: string, leaseMs: number): ConsumerQueue;
  /** Lets go of all connections, in bounded time. */
  close(): Promise<void>;
}

export type NewQueueJob = Parameters<IQueueBackend['addJobs']>[0][number];

export interface Producer extends Pick<IQueueBackend, 'remove'> {
  /** Adds those that the queue does not carry; all in one message to the service. */
  add(jobs: NewQueueJob[]): Promise<unknown>;
  /** Writes them again, which also proves that jobs can be pushed. */
  writeSettings(): Promise<unknown>;
}

export interface ConsumerQueue {
  readonly backend: Pick<
    IQueueBackend,
    | 'moveToActive'
    | 'moveToCompleted'
    | 'moveToDelayed'
    | 'moveJobFromActiveToWait'
    | 'extendLocks'
    | 'moveStalledJobsToWait'
    | 'waitForJob'
    | 'disconnectBlocking'
  >;
  /** Lets go of what this consumer alone has. */
  release(): Promise<void>;
}

export interface ServiceOptions {
  readonly url: string;
  readonly serverId: string;
  readonly allowVolatileQueue: boolean;
  readonly log: Logger;
  /** Told of every trouble with a connection. */
  readonly complain: (error: unknown) => void;
}

export const QUEUE_LIMITS = {
  // To find a service at the start that starts at the same time.
  startMs: 5_000,
  // A push, or another call of a server, that has no answer by then is refused.
  callMs: 2_000,
  // A connection on which an answer is this late is made anew: the other end may have vanished without a word.
  silenceMs: 5_000,
  // Pause before the next try to connect, at most.
  reconnectMs: 1_000,
  // What asked for a free slot or a new job in vain looks again after this, whatever wakes it before.
  idleMs: 3_000,
  // The same where a limit may be why there was none: nobody tells when another worker gives its slot back.
  limitedIdleMs: 1_000,
  // Longest pause of a worker that is told of jobs again and again that a limit keeps from it.
  limitedPauseMs: 250,
  // A job whose run was rejected, and a step of the queue that failed, are tried again after this.
  retryMs: 1_000,
  // Pushes that go out together.
  maxBatch: 500,
  // Past events that BullMQ keeps for listeners that we do not have.
  maxEvents: 100,
  // Time for the last words to a service that may be gone.
  closeMs: 3_000,
} as const;

/** How often each consumer looks for jobs whose worker is dead. */
export function stalledLookMs(leaseMs: number): number {
  return leaseMs / 5;
}

/** What BullMQ's scripts go by when jobs are taken, settled, and found to be without a worker. */
export function leaseSettings(leaseMs: number) {
  return {
    lockDuration: leaseMs,
    // Of many consumers that look, one does the work. Shorter than the pause of each: with the same time the
    // next look of a single one would fall before or after its end by chance, and be lost.
    stalledInterval: Math.ceil(0.8 * stalledLookMs(leaseMs)),
    // A job is not given up for having lost its workers: its record counts the attempts.
    maxStalledCount: 1_000_000_000,
  };
}

export function queueSettings(limit: number | null) {
  return { 'opts.maxLenEvents': QUEUE_LIMITS.maxEvents, ...(limit !== null && { concurrency: limit }) };
}

/** @throws SetupError that says what to install */
export async function loadPackages<T>(needed: string, install: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (error) {
    const isMissing = systemCodeOf(error) === 'ERR_MODULE_NOT_FOUND';
    const reason = isMissing ? '' : `, and they cannot be loaded: ${reasonOf(error)}`;
    throw new SetupError(`${needed}${reason}: run "npm install ${install}"`);
  }
}

/** @throws when it is an older one, without the parts that are used here */
export async function importBullmq(): Promise<typeof Bullmq> {
  const bullmq = await import('bullmq');
  if (!('createRedisBackend' in bullmq)) throw new Error('this is an older bullmq');
  return bullmq;
}
