import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createBatcher } from '../../src/store/postgres/batch.ts';
import { gate } from '../support/gate.ts';

/** A batcher whose batches end when the test says so, and what it was given. */
function openBatcher(options: Partial<Parameters<typeof createBatcher<string, string>>[1]> = {}) {
  const batches: (readonly string[])[] = [];
  const ends: (() => void)[] = [];
  const started: (() => void)[] = [];
  const batcher = createBatcher<string, string>(
    async (items) => {
      batches.push(items);
      const { opened, open } = gate();
      ends.push(() => open());
      started.shift()?.();
      await opened;
      if (items.includes('poison')) throw new Error('refused');
      return items.map((item) => item.toUpperCase());
    },
    { maxItems: 100, ...options },
  );
  return {
    ...batcher,
    batches,
    /** Resolves when the next batch has started. */
    next: () => new Promise<void>((resolve) => started.push(resolve)),
    end: () => ends.shift()?.(),
  };
}

test('what is asked for in one turn is one batch, and each gets its own value', async () => {
  const { run, batches, next, end } = openBatcher();
  const started = next();
  const values = Promise.all(['a', 'b', 'c'].map(run));
  await started;
  end();
  expect(await values).toEqual(['A', 'B', 'C']);
  expect(batches).toEqual([['a', 'b', 'c']]);
});

test('what comes while a batch is under way waits for the next one', async () => {
  const { run, batches, next, end } = openBatcher();
  const first = next();
  const a = run('a');
  await first;
  const others = [run('b'), run('c')];
  const second = next();
  end();
  await second;
  end();
  expect(await Promise.all([a, ...others])).toEqual(['A', 'B', 'C']);
  expect(batches).toEqual([['a'], ['b', 'c']]);
});

test('a batch that fails fails those in it, and no others', async () => {
  const { run, next, end } = openBatcher({ maxItems: 2 });
  const first = next();
  const refused = [run('a'), run('poison')].map((each) => expect(each).rejects.toThrow('refused'));
  const c = run('c');
  await first;
  const second = next();
  end();
  await second;
  end();
  await Promise.all(refused);
  expect(await c).toBe('C');
});

test('a batch ends before its text is too long, but a long item goes alone', async () => {
  const { run, batches, end } = openBatcher({ charsOf: (item) => (item.startsWith('long') ? 3e6 : 5e6) });
  const values = Promise.all(['long-1', 'long-2', 'larger'].map(run));
  void values.then(() => clearInterval(ending));
  const ending = setInterval(end, 1);
  await values;
  expect(batches).toEqual([['long-1'], ['long-2'], ['larger']]);
});

test('idle resolves when nothing waits and nothing is under way', async () => {
  const { run, idle, next, end } = openBatcher();
  await idle();
  const started = next();
  const value = run('a');
  let isIdle = false;
  const ended = idle().then(() => {
    isIdle = true;
  });
  await started;
  expect(isIdle).toBe(false);
  end();
  await Promise.all([value, ended]);
  expect(isIdle).toBe(true);
});

test('whatever comes when: every item once, those of one key in their order and never at the same time', async () => {
  const item = fc.record({ key: fc.constantFrom('a', 'b', 'c', 'd', 'e'), turns: fc.nat(3) });
  const number = fc.integer({ min: 1, max: 5 });
  await fc.assert(
    fc.asyncProperty(fc.array(item, { maxLength: 40 }), number, number, async (items, maxItems, atOnce) => {
      const done: { readonly key: string; readonly n: number }[] = [];
      let underWay: string[] = [];
      const { run } = createBatcher<{ readonly key: string; readonly n: number }, number>(
        async (batch) => {
          const keys = batch.map(({ key }) => key);
          expect(keys).toHaveLength(new Set([...keys, ...underWay]).size - underWay.length);
          expect(keys.length).toBeLessThanOrEqual(maxItems);
          underWay.push(...keys);
          expect(underWay.length).toBeLessThanOrEqual(atOnce * maxItems);
          await new Promise((resolve) => setImmediate(resolve));
          underWay = underWay.filter((key) => !keys.includes(key));
          done.push(...batch);
          return batch.map(({ n }) => n);
        },
        { maxItems, atOnce, keyOf: ({ key }) => key },
      );
      const values: Promise<number>[] = [];
      for (const [n, { key, turns }] of items.entries()) {
        for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve));
        values.push(run({ key, n }));
      }
      expect(await Promise.all(values)).toEqual(items.map((_, n) => n));
      for (const key of ['a', 'b', 'c', 'd', 'e']) {
        const order = done.filter((each) => each.key === key).map(({ n }) => n);
        expect(order).toEqual(order.toSorted((a, b) => a - b));
      }
    }),
  );
});
