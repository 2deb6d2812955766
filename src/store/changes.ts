import type { JobListener, JobState } from './record-store.ts';

/** Who waits for which job, in this process. */
export interface Changes {
  emit(id: string, state: JobState, revision: number): void;
  listen(listener: JobListener): () => void;
  /** Resolves at the first change of the job to a revision above this one, or when the signal aborts. */
  next(id: string, afterRevision: number, signal: AbortSignal): Promise<void>;
  /** Lets go of all who wait for the job: it is not there any more. */
  release(id: string): void;
  /** Jobs that somebody waits for. */
  awaited(): Iterable<string>;
}

interface Waiter {
  readonly afterRevision: number;
  readonly done: () => void;
}

export function createChanges(): Changes {
  const listeners = new Set<JobListener>();
  const waiting = new Map<string, Set<Waiter>>();

  function next(id: string, afterRevision: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const waiters = waiting.get(id) ?? new Set();
      waiting.set(id, waiters);
      const done = () => {
        signal.removeEventListener('abort', done);
        waiters.delete(waiter);
        if (waiters.size === 0 && waiting.get(id) === waiters) waiting.delete(id);
        resolve();
      };
      const waiter = { afterRevision, done };
      waiters.add(waiter);
      signal.addEventListener('abort', done);
    });
  }

  function wake(id: string, revision: number): void {
    const waiters = waiting.get(id);
    if (waiters === undefined) return;
    for (const { afterRevision, done } of [...waiters]) if (revision > afterRevision) done();
  }

  return {
    next,
    listen(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    emit(id, state, revision) {
      for (const listener of listeners) listener(id, state);
      wake(id, revision);
    },
    release: (id) => wake(id, Number.POSITIVE_INFINITY),
    awaited: () => waiting.keys(),
  };
}
