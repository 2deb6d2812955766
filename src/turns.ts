import { setImmediate as nextTurn } from 'node:timers/promises';
import { SERVER_LIMITS } from './limits.ts';

// The event loop is shared by all who call. Work on a small message takes less than its other costs; on a large one
// each step takes milliseconds, and others have their turn in between.

export { nextTurn };

/** @param size of what is worked on, in bytes or characters */
export function isLarge(size: number): boolean {
  return size > SERVER_LIMITS.turnBytes;
}

let isWaiting = false;

/**
 * Two steps of work on a message, the second in a turn of its own if it is large. Only one message at a time waits
 * between the two: what strangers send must neither fill the memory, unfolded as it is, nor make others wait for it.
 *
 * @returns a promise only for one that waits
 */
export function inTurns<A, B>(size: number, first: () => A, second: (value: A) => B): B | Promise<B> {
  const value = first();
  if (isWaiting || !isLarge(size)) return second(value);
  isWaiting = true;
  return nextTurn().then(() => {
    isWaiting = false;
    return second(value);
  });
}
