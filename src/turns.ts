import { setImmediate as nextTurn } from 'node:timers/promises';
import { SERVER_LIMITS } from './limits.ts';

/**
 * The event loop is shared by all who call. Work on a small message takes less than its other costs; on a large one
 * each step takes milliseconds, and others have their turn in between.
 *
 * @param size of what the steps work on, in bytes or characters
 */
export function turnFor(size: number): Promise<void> | null {
  return size > SERVER_LIMITS.turnBytes ? nextTurn() : null;
}

let last: Promise<unknown> = Promise.resolve();

/**
 * Runs work on a message: at once if it is small; large ones one after the other, each in a turn of its own. So a
 * thousand that come at once neither hold the loop for as long as all of them take, nor are in memory unfolded
 * together.
 */
export function inTurn<T>(size: number, work: () => T | Promise<T>): T | Promise<T> {
  if (size <= SERVER_LIMITS.turnBytes) return work();
  const done = last.then(nextTurn).then(work);
  last = done.catch(() => {});
  return done;
}
