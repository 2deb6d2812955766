import { copyFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { StoreError } from '../../src/errors/index.ts';
import { START_MS } from '../support/clock.ts';
import { tempFolder } from '../support/temp.ts';
import { DAY_MS, describeCounters, MINUTE_MS, takeMany } from './counters.suite.ts';
import { describeAuditRecords } from './audit.suite.ts';
import { newJob } from './new-records.ts';
import { openStore } from './open.ts';
import { anyVerbs, type Run, runVerbs } from './record-store.model.ts';
import { describeRecordStore } from './record-store.suite.ts';

describeRecordStore('SQLite', async () => openStore());
describeCounters('SQLite', async () => openStore());

describe('SQLite: counters and the disk', () => {
  /** The folder as a process that is killed at this moment leaves it. */
  const killed = (dir: string): string => {
    const copy = tempFolder();
    for (const file of ['waybill.db', 'waybill.db-wal']) copyFileSync(join(dir, file), join(copy, file));
    return copy;
  };

  test('what a job has used of its day is there after kill -9, once the job is acknowledged', async () => {
    const { counters, jobs, dir } = openStore();
    for (let n = 0; n < 3; n++) await counters.take('jobs:a', 5, DAY_MS, START_MS);
    await counters.giveBack('jobs:a', DAY_MS, START_MS);
    await jobs.create(newJob());
    const { counters: after } = openStore({ dir: killed(dir) });
    expect(await after.used('jobs:a', DAY_MS, START_MS)).toBe(2);
    expect(await takeMany([after], { times: 9, limit: 5, windowMs: DAY_MS })).toBe(5);
  });

  test('what is counted for a minute takes no commit, and is forgotten with its process', async () => {
    const { counters, jobs, dir } = openStore();
    await jobs.create(newJob());
    const sizeOf = () => statSync(join(dir, 'waybill.db-wal')).size;
    const before = sizeOf();
    expect(await takeMany([counters], { times: 300, limit: 200, windowMs: MINUTE_MS })).toBe(200);
    await jobs.list({ clientId: 'agent-a', limit: 1 });
    expect(sizeOf()).toBe(before);
    const { counters: after } = openStore({ dir: killed(dir) });
    expect(await after.used('name', MINUTE_MS, START_MS)).toBe(0);
  });

  test('a store that is closed counts no job', async () => {
    const { counters, close } = openStore();
    await close();
    await expect(counters.take('jobs:a', 5, DAY_MS, START_MS)).rejects.toBeInstanceOf(StoreError);
  });
});
describeAuditRecords('SQLite', async () => openStore());

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
