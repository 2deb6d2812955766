import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '../support/random.ts';
import { GaveUp } from './client.ts';
import type { Replica } from './member.ts';
import { type Job, observeCancel, observePoll } from './job.ts';
import type { Journal } from './journal.ts';

/** Polls every job until it has ended, on any replica, and now and then after that. */
export interface Polls {
  add(job: Job): void;
  /** Not ended yet, as far as anybody was told. */
  readonly open: ReadonlySet<Job>;
  /** Cancels some of those; how many there were. */
  cancelSome(count: number): number;
  /** No further polls; resolves when the last one has its answer. */
  stop(): Promise<void>;
}

/** Polls under way at once: each holds a reply while its job runs. */
const POLLERS = 48;
const WAITS_MS = [0, 300, 1_000] as const;
/** How many of the open jobs may be cancelled. */
const MAX_NEWEST = 100;
/** Jobs that have ended are looked at again: they must not change. */
const AGAIN_CHANCE = 0.3;
const AGAIN_MS = [500, 15_000] as const;

export function startPolls(random: Random, journal: Journal): Polls {
  const open = new Set<Job>();
  const queue: Job[] = [];
  const timers = new Set<NodeJS.Timeout>();
  const cancels = new Set<Promise<void>>();
  let stopped = false;

  async function poll(): Promise<void> {
    while (!stopped) {
      const job = queue.shift();
      if (job === undefined) {
        await sleep(20);
        continue;
      }
      const isOver = await pollOnce(job, random, journal, { waitMs: random.pick(WAITS_MS) ?? 0 });
      if (!isOver) queue.push(job);
      else if (open.delete(job) && random.chance(AGAIN_CHANCE)) lookAgain(job);
    }
  }

  function lookAgain(job: Job): void {
    const timer = setTimeout(
      () => {
        timers.delete(timer);
        queue.push(job);
      },
      random.integer(...AGAIN_MS),
    );
    timers.add(timer);
  }

  async function cancel(job: Job): Promise<void> {
    job.cancelAsked = true;
    const args = { job_id: job.jobId };
    const { answer, replica, sentMs } = await job.client.ask({ tool: 'cancel_job', args, random });
    observeCancel(job, { answer, from: replica.name, sentMs }, journal);
  }

  const over = Promise.all(Array.from({ length: POLLERS }, poll));
  // Whoever stops them sees it.
  over.catch(() => {});
  return {
    open,
    add(job) {
      open.add(job);
      queue.push(job);
    },
    cancelSome(count) {
      // Else most would be long ones: they are open for longest.
      const newest = [...open].slice(-MAX_NEWEST);
      const victims = Array.from({ length: count }, () => random.pick(newest));
      for (const victim of new Set(victims)) {
        if (victim === undefined) continue;
        const cancelling = cancel(victim).catch(unlessGaveUp);
        cancels.add(cancelling);
        void cancelling.finally(() => cancels.delete(cancelling));
      }
      return open.size > 0 ? count : 0;
    },
    async stop() {
      stopped = true;
      for (const timer of timers) clearTimeout(timer);
      await over.catch(unlessGaveUp);
      await Promise.all(cancels);
    },
  };
}

function unlessGaveUp(error: unknown): void {
  if (!(error instanceof GaveUp)) throw error;
}

/** @returns is there nothing left to wait for? */
export async function pollOnce(
  job: Job,
  random: Random,
  journal: Journal,
  { replica: only, waitMs = 0 }: { readonly replica?: Replica; readonly waitMs?: number } = {},
): Promise<boolean> {
  journal.count('polls');
  const args = { job_id: job.jobId, ...(waitMs > 0 && { wait_ms: waitMs }) };
  const where = only === undefined ? {} : { replica: only };
  const { answer, replica, sentMs } = await job.client.ask({
    tool: 'poll_job',
    args,
    random,
    waitMs,
    ...where,
  });
  return observePoll(job, { answer, from: replica.name, sentMs }, journal);
}
