import { JOB_LIMITS } from '../limits.ts';
import { type DueJob, isTerminal, type RecordStore } from '../store/index.ts';
import type { Logger } from '../tools/index.ts';
import type { Dispatcher } from './dispatcher.ts';

export interface Sweeper {
  /** Resolves when the sweep under way, if any, has ended. */
  stop(): Promise<void>;
}

/**
 * Looks after records that nobody else looks after: ends jobs past their deadline and forgets what is
 * past its retention.
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
      .catch((error: unknown) => log.error({ err: error }, 'sweep failed'))
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

  function look({ id, state }: DueJob): Promise<unknown> {
    if (isTerminal(state)) return store.jobs.remove(id);
    const error = 'deadline_exceeded: the job did not end in time';
    const ended = store.jobs.end(id, { state: 'expired', result: null, error }, now());
    return Promise.all([ended, dispatcher.remove(id)]);
  }

  return {
    stop() {
      stopped = true;
      clearTimeout(timer);
      return sweeping;
    },
  };
}
