import { busy } from '../../errors/index.ts';
import { WRAP_LIMITS } from './limits.ts';
import type { Logger } from '../../tools/index.ts';
import type { Session } from './session.ts';
import { createWaiters, type Patience } from './wait.ts';

/** Keeps one session of the foreign server alive: when it ends, the next one is opened. */
export interface Supervisor {
  /**
   * The session that stands, as soon as one does.
   *
   * @throws ProtocolError `busy` with the time of the next try, when patience ends; the reason of the signal
   */
  session(patience: Patience): Promise<Session>;
  isUp(): boolean;
  /** Ends the foreign server too. */
  close(): Promise<void>;
}

/**
 * @param first a session that is open
 * @param reopen opens the next one; what it throws is logged, and it is asked again later
 */
export function supervise(
  first: Session,
  reopen: (signal: AbortSignal) => Promise<Session>,
  log: Logger,
): Supervisor {
  const closing = new AbortController();
  const waiters = createWaiters();
  let current: Session | null = first;
  let nextTryMs = 0;
  const done = run(first);

  async function run(opened: Session): Promise<void> {
    let failures = 0;
    for (let session = opened; ; ) {
      const sinceMs = performance.now();
      const why = await session.ended;
      current = null;
      if (closing.signal.aborted) return;
      if (performance.now() - sinceMs >= WRAP_LIMITS.stableMs) failures = 0;
      log.warn(
        { why, restart_in_ms: delayMs(failures) },
        'the wrapped server has ended: it will be started again',
      );
      const next = await openNext(failures);
      if (next === null) return;
      ({ session, failures } = next);
      current = session;
      log.info({}, 'the wrapped server is there again');
      waiters.releaseAll();
    }
  }

  /** `null` when it was closed meanwhile. */
  async function openNext(before: number): Promise<{ session: Session; failures: number } | null> {
    for (let failures = before; ; failures++) {
      nextTryMs = performance.now() + delayMs(failures);
      await pause(delayMs(failures), closing.signal);
      if (closing.signal.aborted) return null;
      try {
        const session = await reopen(closing.signal);
        if (!closing.signal.aborted) return { session, failures: failures + 1 };
        await session.close();
        return null;
      } catch (error) {
        if (closing.signal.aborted) return null;
        log.warn(
          { err: error, restart_in_ms: delayMs(failures + 1) },
          'the wrapped server cannot be started',
        );
      }
    }
  }

  const away = () => {
    const retryMs = Math.max(WRAP_LIMITS.restartMs, Math.ceil(nextTryMs - performance.now()));
    return busy('the wrapped server is being started', retryMs);
  };

  return {
    isUp: () => current?.isOver() === false,
    async session(patience) {
      while (current === null || current.isOver()) await waiters.wait(patience, away);
      return current;
    },
    async close() {
      closing.abort(new Error('waybill wrap ends'));
      await current?.close();
      await done;
    },
  };
}

function delayMs(failures: number): number {
  return Math.min(WRAP_LIMITS.restartMs * 2 ** failures, WRAP_LIMITS.maxRestartMs);
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end);
  });
}
