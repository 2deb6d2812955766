import { JOB_LIMITS } from '../limits.ts';
import type { DueJob, RecordStore } from '../store/index.ts';
import type { Logger } from '../tools/index.ts';
import type { Dispatcher } from './dispatcher.ts';

/** A time that has passed, whatever the clock. */
const AT_ONCE = 0;

export interface Sweeper {
  /** Resolves when the sweep under way, if any, has ended. */
  stop(): Promise<void>;
}

/**
 * Looks after records that nobody else looks after: ends jobs past their deadline, forgets what is past its
 * retention, and pushes open jobs again that the queue may have lost.
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
  let failing = false;
  const timer = setTimeout(next, sweepMs);

  function next(): void {
    sweeping = sweep()
      .then(
        () => {
          failing = false;
        },
        (error: unknown) => {
          // Once for each outage.
          if (!failing) log.error({ err: error }, 'sweep failed');
          failing = true;
        },
      )
      .then(() => {
        if (!stopped) timer.refresh();
      });
  }

  async function sweep(): Promise<void> {
    let found: number;
    do {
      const due = await store.jobs.due(now(), JOB_LIMITS.sweepBatch);
      await Promise.all(due.map(look));
      found = due.length + (await store.requests.sweep(now(), JOB_LIMITS.sweepBatch));
    } while (found >= JOB_LIMITS.sweepBatch && !stopped);
  }

  function look(job: DueJob): Promise<unknown> {
    if (job.why === 'old') return store.jobs.remove(job.id);
    if (job.why === 'unsure') return dispatcher.push(job, AT_ONCE);
    const error = 'deadline_exceeded: the job did not end in time';
    const ended = store.jobs.end(job.id, { state: 'expired', result: null, error }, now());
    return ended.then(() => dispatcher.remove(job));
  }

  return {
    stop() {
      stopped = true;
      clearTimeout(timer);
      return sweeping;
    },
  };
}
