import { afterAll } from 'vitest';

const undo: (() => unknown)[] = [];

/** Runs when the tests of this file have ended, however they ended; last in, first out. */
export function atEnd(step: () => unknown): void {
  undo.push(step);
}

afterAll(async () => {
  for (const step of undo.splice(0).toReversed()) await step();
});
