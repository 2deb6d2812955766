import { JOB_LIMITS } from '../limits.ts';
import { type DueJob, isTerminal, type RecordStore } from '../store/index.ts';
import type { Logger } from '../tools/index.ts';
import type { Dispatcher } from './dispatcher.ts';

export interface Sweeper {
  /** Resolves when the sweep under way, if any, has ended. */
  stop(): Promise<void>;
}

/**
 * Looks after records that nobody else looks after: ends jobs past their deadline, forgets what is
 * past its retention, and pushes again what a crash between record and queue left behind.
 */
export function startSweeper(
  store: RecordStore,
  dispatcher: Dispatcher,
  log: Logger,
  now: () => number,
  sweepMs: number = JOB_LIMITS.sweepMs,
): Sweeper {
  let sweeping = Promise.resolve();
  let stopped = false;
  const timer = setTimeout(next, sweepMs);

  function next(): void {
    sweeping = sweep()
      .catch((error) => log.error({ err: error }, 'sweep failed'))
      .then(() => {
        if (!stopped) timer.refresh();
      });
  }

  async function sweep(): Promise<void> {
    const due = await store.jobs.due(now(), JOB_LIMITS.sweepBatch);
    await Promise.all(due.map(look));
    await store.requests.sweep(now(), JOB_LIMITS.sweepBatch);
  }

  function look(job: DueJob): Promise<unknown> {
    const nowMs = now();
    if (isTerminal(job.state)) return store.jobs.remove(job.id);
    if (job.deadlineMs <= nowMs) {
      const error = 'deadline_exceeded: the job did not end in time';
      const ended = store.jobs.end(job.id, { state: 'expired', result: null, error }, nowMs);
      return Promise.all([ended, dispatcher.remove(job.id)]);
    }
    const dueMs = Math.min(job.deadlineMs, nowMs + JOB_LIMITS.carriedCheckMs);
    return Promise.all([dispatcher.push(job.id, nowMs), store.jobs.postpone(job.id, dueMs)]);
  }

  return {
    stop() {
      stopped = true;
      clearTimeout(timer);
      return sweeping;
    },
  };
}
