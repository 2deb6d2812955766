import { setImmediate as nextTurn } from 'node:timers/promises';
import { SERVER_LIMITS } from './limits.ts';

// The event loop is shared by all who call. Work on a small message takes less than its other costs; on a large one
// each step takes milliseconds, and others have their turn in between.

export { nextTurn };

/** @param size of what is worked on, in bytes or characters */
export function isLarge(size: number): boolean {
  return size > SERVER_LIMITS.turnBytes;
}

let last: Promise<unknown> = Promise.resolve();

/**
 * Two steps of work on a message: at once if it is small. Large ones go one after the other, each step in a turn of
 * its own: a thousand that come at once neither hold the loop for as long as all of them take, nor are in memory
 * unfolded together.
 *
 * @returns a promise only for a large one
 */
export function inTurns<A, B>(size: number, first: () => A, second: (value: A) => B): B | Promise<B> {
  if (!isLarge(size)) return second(first());
  const done = last.then(nextTurn).then(async () => {
    const value = first();
    await nextTurn();
    return second(value);
  });
  last = done.catch(() => {});
  return done;
}
