import { onAbort } from './abort.ts';

/** Where a client gets the time from, and how it pauses. For tests and for hosts with clocks of their own. */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
  /** Resolves after `ms`; rejects with `signal.reason` when the signal aborts before. */
  sleep(ms: number, signal: AbortSignal | undefined): Promise<void>;
}

export const SYSTEM_CLOCK: Clock = {
  now: () => Date.now(),
  sleep: (ms, signal) =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const timer = setTimeout(() => {
        stop?.();
        resolve();
      }, ms);
      const stop =
        signal &&
        onAbort(signal, () => {
          clearTimeout(timer);
          reject(signal.reason);
        });
    }),
};

/** The time of the server as far as this client knows it: its own until a `stale` reply teaches otherwise (§5). */
export interface ServerTime {
  /** Milliseconds since 1970, a non-negative integer as `ts_ms` wants it. */
  now(): number;
  /**
   * @param serverMs the server's clock when it replied; the way back makes ours late by that much,
   * which the window's long past side absorbs
   */
  correct(serverMs: number): void;
}

export function createServerTime(clock: Clock): ServerTime {
  let offsetMs = 0;
  return {
    now: () => Math.max(0, Math.round(clock.now() + offsetMs)),
    correct(serverMs) {
      offsetMs = serverMs - clock.now();
    },
  };
}
