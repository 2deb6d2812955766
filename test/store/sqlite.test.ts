import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { START_MS } from '../support/clock.ts';
import { newJob } from './new-records.ts';
import { openStore } from './open.ts';
import { anyVerbs, type Run, runVerbs } from './record-store.model.ts';
import { describeRecordStore } from './record-store.suite.ts';

describeRecordStore('SQLite', async () => openStore());

describe('SQLite: more jobs than memory keeps', () => {
  test('every verb on every one of them is written, however the verbs and lists are mixed in a turn', async () => {
    const store = openStore();
    const all = Array.from({ length: 1_500 }, (_, n) => newJob({ createdMs: START_MS + n }));
    await Promise.all(all.map((job) => store.jobs.create(job)));
    const attempts = await Promise.all(all.map(({ id }) => store.jobs.begin(id, START_MS)));
    const writes = attempts.map((attempt, n) => {
      if (attempt === null) throw new Error('did not begin');
      const { fence } = attempt;
      const progress = store.jobs.progress(fence, { completed: n }, START_MS);
      // A list needs SQL, and so the rows in the file in the middle of the turn.
      if (n % 100 === 0) void store.jobs.list({ clientId: 'agent-a', limit: 100 });
      const end = { state: 'succeeded', result: { n }, error: null } as const;
      const last = [
        () => store.jobs.finish(fence, end, START_MS),
        () => store.jobs.release(fence, false, START_MS),
        () => Promise.resolve(true),
      ][n % 3];
      return last === undefined ? progress : Promise.all([progress, last()]);
    });
    expect(new Set((await Promise.all(writes)).flat())).toEqual(new Set([true]));
    const expected = all.map(({ id }, n) => ({
      id,
      state: ['succeeded', 'queued', 'running'][n % 3],
      progress: { completed: n },
      result: n % 3 === 0 ? { n } : null,
    }));
    const found = await Promise.all(all.map(({ id }) => store.jobs.get(id)));
    expect(found).toMatchObject(expected);
    await store.close();
    const reopened = openStore({ dir: store.dir });
    expect(await Promise.all(all.map(({ id }) => reopened.jobs.get(id)))).toEqual(found);
  });
});

describe('SQLite: calls take effect in the order in which they are made', () => {
  test('any sequence of verbs in one turn or many, and all of it is there after a reopen', async () => {
    const store = openStore();
    const runs: Run[] = [];
    let number = 0;
    await fc.assert(
      fc.asyncProperty(anyVerbs, async (verbs) => {
        const run = await runVerbs(store, verbs, false, `run-${number++}`);
        await run.compare(store);
        runs.push(run);
      }),
      { numRuns: 200 },
    );
    await store.close();
    const reopened = openStore({ dir: store.dir });
    for (const { compare } of runs) await compare(reopened);
    expect(runs.length).toBeGreaterThan(0);
  });
});
