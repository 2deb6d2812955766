import type { JobListener, JobState } from './record-store.ts';

/** Who waits for which job, in this process. */
export interface Changes {
  emit(id: string, state: JobState): void;
  listen(listener: JobListener): () => void;
  /** Resolves at the next change of the job or when the signal aborts. */
  next(id: string, signal: AbortSignal): Promise<void>;
}

export function createChanges(): Changes {
  const listeners = new Set<JobListener>();
  const waiting = new Map<string, Set<() => void>>();

  function next(id: string, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const waiters = waiting.get(id) ?? new Set();
      waiting.set(id, waiters);
      const done = () => {
        signal.removeEventListener('abort', done);
        waiters.delete(done);
        if (waiters.size === 0) waiting.delete(id);
        resolve();
      };
      waiters.add(done);
      signal.addEventListener('abort', done);
    });
  }

  return {
    next,
    listen(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    emit(id, state) {
      for (const listener of listeners) listener(id, state);
      for (const done of [...(waiting.get(id) ?? [])]) done();
    },
  };
}
