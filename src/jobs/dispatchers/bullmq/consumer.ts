import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { MinimalJob } from 'bullmq';
import type { ConsumeOptions, Consumer, RunJob, Verdict } from '../../dispatcher.ts';
import { until } from '../../until.ts';
import { type HeldJob, keepLeases, type Leases } from './leases.ts';
import { type ConsumerQueue, QUEUE_LIMITS } from './service.ts';
import { atMost, isGone, storeError, throttled } from './trouble.ts';

export interface QueueConsumerOptions extends ConsumeOptions {
  /** May a limit keep waiting jobs from this consumer? */
  readonly isLimited: boolean;
}

/** The longest time that Node's timers take; they are set anew whenever the queue is looked at. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/**
 * Takes jobs from one queue and runs them. It stands where BullMQ has its Worker, which cannot be stopped while
 * the service is gone, fails a job when a step of the queue fails, and asks a database without a pause while a
 * limit is reached.
 */
export class QueueConsumer implements Consumer {
  readonly #queue: ConsumerQueue;
  readonly #run: RunJob;
  readonly #options: QueueConsumerOptions;
  readonly #leases: Leases;
  readonly #complain: (error: unknown) => void;
  readonly #owner = randomUUID();
  #takes = 0;
  /** Slots in use: a job keeps its slot until the queue knows what became of it. */
  #busy = 0;
  #running = 0;
  #isFilling = false;
  #isWaiting = false;
  #stopping = false;
  #closed = false;
  #stopped: Promise<void> | null = null;
  /** Before the queue is asked again that told of a job which was not to be had. */
  #pauseMs = 0;
  #nextFill: NodeJS.Timeout | undefined;

  constructor(queue: ConsumerQueue, run: RunJob, options: QueueConsumerOptions) {
    this.#queue = queue;
    this.#run = run;
    this.#options = options;
    this.#complain = throttled(options.onError);
    this.#leases = keepLeases(queue.backend, options.leaseMs, this.#onTrouble);
    void this.#fill();
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#end();
    return this.#stopped;
  }

  async #end(): Promise<void> {
    const { backend } = this.#queue;
    this.#stopping = true;
    clearTimeout(this.#nextFill);
    // Never settles if its connection was never made.
    backend.disconnectBlocking(false).catch(() => {});
    await until(() => this.#running === 0, Number.POSITIVE_INFINITY);
    await until(() => this.#busy === 0 && !this.#isFilling, QUEUE_LIMITS.closeMs);
    this.#closed = true;
    this.#leases.stop();
    await atMost(QUEUE_LIMITS.closeMs, this.#queue.release());
  }

  readonly #onTrouble = (error: unknown): void => {
    if (!this.#closed) this.#complain(storeError(error));
  };

  /** Takes jobs for free slots: one, another, and then as many at once as there were so far. */
  async #fill(): Promise<void> {
    if (this.#isFilling) return;
    this.#isFilling = true;
    for (let sum = 0; !this.#stopping; ) {
      const count = Math.min(Math.max(sum, 1), this.#options.concurrency - this.#busy);
      const taken = await Promise.all(Array.from({ length: count }, () => this.#take()));
      if (taken.includes('job')) this.#pauseMs = 0;
      if (taken.includes('failed')) await sleep(QUEUE_LIMITS.retryMs);
      else if (count === 0 || taken.includes('none')) break;
      sum += count;
    }
    this.#isFilling = false;
    void this.#wait();
  }

  async #take(): Promise<'job' | 'none' | 'failed'> {
    const token = `${this.#owner}:${this.#takes++}`;
    try {
      const id = this.#readNext(await this.#queue.backend.moveToActive(token));
      if (id !== null) this.#start(id, token);
      return id === null ? 'none' : 'job';
    } catch (error) {
      this.#onTrouble(error);
      return 'failed';
    }
  }

  /** Reads BullMQ's answer: data of a job, its id, time left of a rate limit, when the next delayed job is due. */
  #readNext([data, id, , dueMs]: readonly unknown[]): string | null {
    if (typeof data === 'object' && data !== null) return String(id);
    if (typeof dueMs === 'number' && dueMs > 0) this.#fillAt(dueMs);
    return null;
  }

  #fillAt(timeMs: number): void {
    clearTimeout(this.#nextFill);
    if (this.#stopping) return;
    const ms = Math.min(Math.max(timeMs - Date.now(), 0), MAX_TIMER_MS);
    this.#nextFill = setTimeout(() => void this.#fill(), ms);
  }

  /** Until the queue tells of a job, or it is time to look without being told. */
  async #wait(): Promise<void> {
    if (this.#isWaiting || this.#stopping || this.#busy >= this.#options.concurrency) return;
    const { isLimited } = this.#options;
    this.#isWaiting = true;
    try {
      if (this.#pauseMs > 0) await sleep(this.#pauseMs);
      const ms = isLimited ? QUEUE_LIMITS.limitedIdleMs : QUEUE_LIMITS.idleMs;
      const news = this.#stopping ? null : await this.#queue.backend.waitForJob(ms / 1000);
      this.#pauseMs =
        isLimited && news !== null ? Math.min(this.#pauseMs * 2 || 10, QUEUE_LIMITS.limitedPauseMs) : 0;
    } catch (error) {
      if (!this.#stopping) {
        this.#onTrouble(error);
        await sleep(QUEUE_LIMITS.retryMs);
      }
    }
    this.#isWaiting = false;
    if (!this.#stopping) void this.#fill();
  }

  #start(id: string, token: string): void {
    const { held } = this.#leases;
    const mine = held.get(id);
    // Its lease ran out, and nobody else has taken it: it goes on.
    if (mine !== undefined) mine.token = token;
    else if (this.#stopping) void this.#giveBack(id, token);
    else {
      const job: HeldJob = { id, token, lease: { onLost: null, freeSlot() {} }, isOver: false };
      held.set(id, job);
      this.#busy++;
      this.#running++;
      void this.#work(job);
    }
  }

  async #giveBack(id: string, token: string): Promise<void> {
    this.#busy++;
    await this.#queue.backend.moveJobFromActiveToWait(id, token).catch(this.#onTrouble);
    this.#busy--;
  }

  async #work(job: HeldJob): Promise<void> {
    const { held } = this.#leases;
    let verdict: Verdict;
    try {
      verdict = await this.#run(job.id, job.lease);
    } catch (error) {
      this.#complain(error);
      verdict = { retryAfterMs: QUEUE_LIMITS.retryMs };
    }
    job.isOver = true;
    this.#running--;
    const next = await this.#settle(job, verdict);
    if (held.get(job.id) === job) held.delete(job.id);
    this.#busy--;
    if (next !== null) this.#start(next, job.token);
    // What waits is told of what comes.
    if (!this.#isWaiting && this.#busy < this.#options.concurrency) void this.#fill();
  }

  /** Tells the queue what became of the job, whatever that takes. @returns the next one */
  async #settle(job: HeldJob, verdict: Verdict): Promise<string | null> {
    // If its lease was lost, whoever has it now will tell.
    while (!this.#closed && this.#leases.held.get(job.id) === job) {
      try {
        return await this.#move(job, verdict);
      } catch (error) {
        if (isGone(error)) return null;
        this.#onTrouble(error);
        await sleep(QUEUE_LIMITS.retryMs);
      }
    }
    return null;
  }

  async #move({ id, token }: HeldJob, verdict: Verdict): Promise<string | null> {
    const { backend } = this.#queue;
    if (verdict === 'done') {
      const { result } = await backend.moveToCompleted(endOf(id), null, true, token, !this.#stopping);
      return Array.isArray(result) ? this.#readNext(result) : null;
    }
    const delayMs = Math.ceil(verdict.retryAfterMs);
    if (delayMs > 0) await backend.moveToDelayed(id, Date.now(), delayMs, token, { skipAttempt: true });
    else await backend.moveJobFromActiveToWait(id, token);
    return null;
  }
}

/** Of a job that ends BullMQ reads the id and what its options say of parents and attempts: nothing. */
function endOf(id: string): MinimalJob {
  // The many other members of its type are not read.
  return { id, opts: {} } as MinimalJob;
}
