import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { openStore } from './open.ts';
import { anyVerbs, type Run, runVerbs } from './record-store.model.ts';
import { describeRecordStore } from './record-store.suite.ts';

describeRecordStore('SQLite', async () => openStore());

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
