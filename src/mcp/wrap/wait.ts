/** How long somebody waits: until then, or without end (a job, which has its deadline). */
export interface Patience {
  readonly signal: AbortSignal;
  /** By `performance.now()`; `null`: without end. */
  readonly untilMs: number | null;
}

/** Those who wait for one thing, in the order in which they came. */
export interface Waiters {
  /** @throws the reason of the signal, or what `late` gives when patience ends */
  wait(patience: Patience, late: () => Error): Promise<void>;
  /** Lets the first go on. @returns whether there was one */
  releaseOne(): boolean;
  releaseAll(): void;
}

export function createWaiters(): Waiters {
  const waiting = new Set<() => void>();

  function releaseOne(): boolean {
    const [first] = waiting;
    first?.();
    return first !== undefined;
  }

  return {
    releaseOne,
    releaseAll() {
      while (releaseOne());
    },
    wait({ signal, untilMs }, late) {
      return new Promise((resolve, reject) => {
        if (signal.aborted) return reject(signal.reason);
        // At once: whoever has left must not be let go on.
        const leave = () => {
          waiting.delete(goOn);
          clearTimeout(timer);
          signal.removeEventListener('abort', onAbort);
        };
        const goOn = () => {
          leave();
          resolve();
        };
        const onAbort = () => {
          leave();
          reject(signal.reason);
        };
        const onLate = () => {
          leave();
          reject(late());
        };
        const timer =
          untilMs === null ? undefined : setTimeout(onLate, Math.max(0, untilMs - performance.now()));
        waiting.add(goOn);
        signal.addEventListener('abort', onAbort);
      });
    },
  };
}
