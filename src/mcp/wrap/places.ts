import { busy } from '../../errors/index.ts';
import { SERVER_LIMITS } from '../../limits.ts';
import { WRAP_LIMITS } from './limits.ts';
import { createWaiters, type Patience } from './wait.ts';

/** Places for calls in the foreign server; who finds none waits in order. */
export interface Places {
  /**
   * Runs with a place of its own.
   *
   * @throws ProtocolError `busy` when too many wait or patience ends; the reason of the signal
   */
  within<T>(patience: Patience, run: () => Promise<T>): Promise<T>;
}

export function createPlaces(max: number): Places {
  const waiters = createWaiters();
  let free = max;
  // Jobs are as many as the worker runs at once.
  let impatient = 0;

  const full = () =>
    busy('the wrapped server has all the calls that it may have at once', SERVER_LIMITS.fullRetryMs);

  async function enter(patience: Patience): Promise<void> {
    if (free > 0) {
      free--;
      return;
    }
    if (patience.untilMs === null) return waiters.wait(patience, full);
    if (impatient >= WRAP_LIMITS.maxWaiting) throw full();
    impatient++;
    await waiters.wait(patience, full).finally(() => impatient--);
  }

  return {
    async within(patience, run) {
      await enter(patience);
      try {
        return await run();
      } finally {
        // A place goes from hand to hand while somebody waits.
        if (!waiters.releaseOne()) free++;
      }
    },
  };
}
