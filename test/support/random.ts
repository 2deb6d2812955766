/** Pseudo-random choices that a seed repeats. */
export interface Random {
  /** From `min` to `max`, both included. */
  integer(min: number, max: number): number;
  chance(probability: number): boolean;
  /** One of them, or `undefined` if there is none. */
  pick<T>(items: readonly T[]): T | undefined;
}

/** The generator “mulberry32”: small, and good enough to choose what a test does next. */
export function createRandom(seed: number): Random {
  let state = seed >>> 0;

  function next(): number {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  return {
    integer: (min, max) => min + Math.floor(next() * (max - min + 1)),
    chance: (probability) => next() < probability,
    pick: (items) => items[Math.floor(next() * items.length)],
  };
}

/** The seed of this run: given to repeat one that failed, else new. */
export function seedOfRun(): number {
  return Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000_000);
}
