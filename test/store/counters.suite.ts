import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { CounterRecords, RecordStore } from '../../src/store/record-store.ts';
import { START_MS } from '../support/clock.ts';

export const MINUTE_MS = 60_000;
export const DAY_MS = 86_400_000;

const LENGTHS = { minutes: MINUTE_MS, days: DAY_MS };

interface Takes {
  readonly times: number;
  readonly limit: number;
  readonly windowMs: number;
  readonly nowMs?: number;
}

/** How many of so many calls at once are let in, when the counters take turns. */
export async function takeMany(
  counters: readonly CounterRecords[],
  { times, limit, windowMs, nowMs = START_MS }: Takes,
): Promise<number> {
  const rounds = Array.from({ length: Math.ceil(times / counters.length) }, () => counters).flat();
  const takes = rounds.slice(0, times).map((each) => each.take('name', limit, windowMs, nowMs));
  return (await Promise.all(takes)).filter(Boolean).length;
}

/** What the counters of every RecordStore do. `open` gives an empty store that is closed when the test ends. */
export function describeCounters(store: string, open: () => Promise<RecordStore>): void {
  describe.each(Object.entries(LENGTHS))(`${store}: counters of %s`, (_name, windowMs) => {
    const firstMs = Math.floor(START_MS / windowMs) * windowMs;
    const lastMs = firstMs + windowMs - 1;

    test('let in as many as the limit, each name for itself', async () => {
      const { counters } = await open();
      const take = (who: string) => counters.take(who, 2, windowMs, START_MS);
      expect([await take('a'), await take('a'), await take('a'), await take('b')]).toEqual([
        true,
        true,
        false,
        true,
      ]);
      expect(await counters.used('a', windowMs, START_MS)).toBe(2);
      expect(await counters.used('b', windowMs, START_MS)).toBe(1);
      expect(await counters.used('c', windowMs, START_MS)).toBe(0);
    });

    test('of 300 at once, exactly as many as the limit; and what was refused is not counted', async () => {
      const { counters } = await open();
      expect(await takeMany([counters], { times: 300, limit: 7, windowMs })).toBe(7);
      expect(await takeMany([counters], { times: 300, limit: 10, windowMs })).toBe(3);
      expect(await counters.used('name', windowMs, START_MS)).toBe(10);
    });

    test('a limit that was lowered lets nothing in, and takes nothing back', async () => {
      const { counters } = await open();
      await takeMany([counters], { times: 5, limit: 5, windowMs });
      expect(await takeMany([counters], { times: 5, limit: 3, windowMs })).toBe(0);
      expect(await counters.used('name', windowMs, START_MS)).toBe(5);
    });

    test('begin anew with each window, at multiples of its length since 1970', async () => {
      const { counters } = await open();
      for (const nowMs of [firstMs, lastMs]) expect(await counters.take('a', 2, windowMs, nowMs)).toBe(true);
      expect(await counters.take('a', 2, windowMs, lastMs)).toBe(false);
      expect(await counters.used('a', windowMs, lastMs + 1)).toBe(0);
      expect(await counters.take('a', 2, windowMs, lastMs + 1)).toBe(true);
      expect(await counters.used('a', windowMs, lastMs + 1)).toBe(1);
    });

    test('what is given back can be taken again, unless its window is over, and never more than was taken', async () => {
      const { counters } = await open();
      await counters.giveBack('a', windowMs, START_MS);
      expect(await counters.used('a', windowMs, START_MS)).toBe(0);
      await counters.take('a', 1, windowMs, lastMs);
      for (let n = 0; n < 2; n++) await counters.giveBack('a', windowMs, lastMs);
      expect(await counters.take('a', 1, windowMs, lastMs)).toBe(true);
      expect(await counters.take('a', 1, windowMs, lastMs)).toBe(false);
      await counters.take('a', 1, windowMs, lastMs + 1);
      await counters.giveBack('a', windowMs, lastMs);
      expect(await counters.used('a', windowMs, lastMs + 1)).toBe(1);
    });

    test('a clock that is a little behind counts in the window that has begun; it does not begin the old one anew', async () => {
      const { counters } = await open();
      await counters.take('a', 2, windowMs, lastMs + 1);
      expect(await counters.take('a', 2, windowMs, lastMs)).toBe(true);
      expect(await counters.take('a', 2, windowMs, lastMs)).toBe(false);
      expect(await counters.used('a', windowMs, lastMs + 1)).toBe(2);
    });

    test('a clock that was wrong by far shuts nobody out', async () => {
      const { counters } = await open();
      await counters.take('a', 1, windowMs, START_MS + 1_000 * windowMs);
      expect(await counters.take('a', 1, windowMs, START_MS)).toBe(true);
      expect(await counters.take('a', 1, windowMs, START_MS)).toBe(false);
    });

    test('any sequence of verbs counts as one after the other would', async () => {
      const { counters } = await open();
      let run = 0;
      const verb = fc.record({
        verb: fc.constantFrom('take', 'take', 'take', 'giveBack', 'used'),
        who: fc.constantFrom('a', 'b'),
        limit: fc.integer({ min: 1, max: 4 }),
        window: fc.integer({ min: 0, max: 3 }),
      });
      await fc.assert(
        fc.asyncProperty(fc.array(verb, { maxLength: 20 }), async (verbs) => {
          const prefix = `${run++}:`;
          const model = new Map<string, { window: number; used: number }>();
          for (const { verb: which, who, limit, window } of verbs) {
            const nowMs = firstMs + window * windowMs;
            const known = model.get(who) ?? { window, used: 0 };
            const isNear = known.window === window || known.window === window + 1;
            const count = isNear ? known : { window, used: 0 };
            const name = prefix + who;
            if (which === 'used') {
              expect(await counters.used(name, windowMs, nowMs)).toBe(count.used);
            } else if (which === 'giveBack') {
              await counters.giveBack(name, windowMs, nowMs);
              if (known.window === window) known.used = Math.max(0, known.used - 1);
            } else {
              expect(await counters.take(name, limit, windowMs, nowMs)).toBe(count.used < limit);
              if (count.used >= limit) continue;
              count.used++;
              model.set(who, count);
            }
          }
        }),
        { numRuns: 60 },
      );
    });
  });
}
