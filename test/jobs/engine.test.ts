import { describe, expect, onTestFinished, test } from 'vitest';
import { ToolError } from '../../src/errors/index.ts';
import { startSweeper } from '../../src/jobs/index.ts';
import { JOB_LIMITS } from '../../src/limits.ts';
import { createTestClock, START_MS } from '../support/clock.ts';
import { aborted, gate } from '../support/gate.ts';
import { createTestLog } from '../support/log.ts';
import { startPostgres } from '../support/services/index.ts';
import { postgresUrl, redisUrl } from '../support/services/shared.ts';
import { tempFolder } from '../support/temp.ts';
import { newJob } from '../store/new-records.ts';
import { openEngineAt, startWorkshop, tool } from './workshop.ts';

/** Every way to deploy: what a client sees is the same. `shared`: other processes may open it beside us. */
const DEPLOYMENTS = [
  { name: 'sqlite:', tags: [], shared: false, urls: async () => ({ store: `sqlite:${tempFolder()}` }) },
  {
    name: 'postgres:// alone',
    tags: ['postgres'],
    shared: true,
    urls: async () => ({ store: await postgresUrl() }),
  },
  {
    name: 'postgres:// + redis://',
    tags: ['postgres', 'redis'],
    shared: true,
    urls: async () => ({ store: await postgresUrl(), queue: await redisUrl() }),
  },
] as const;

describe.each(DEPLOYMENTS)('on $name', ({ tags, shared, urls }) => {
  const options = { tags: [...tags] };

  test('a job runs once and ends with its result', options, async () => {
    const runs: unknown[] = [];
    const work = tool('work', ({ n = null }) => {
      runs.push(n);
      return { n };
    });
    const workshop = startWorkshop(await openEngineAt(await urls()), [work]);
    const ids = await Promise.all([1, 2, 3].map((n) => workshop.submit('work', { args: { n } })));
    for (const [i, id] of ids.entries())
      expect(await workshop.ended(id)).toMatchObject({ state: 'succeeded', result: { n: i + 1 } });
    expect(runs).toHaveLength(3);
    expect(new Set(runs)).toEqual(new Set([1, 2, 3]));
  });

  test('a retryable failure is tried again, as often as its tool says', options, async () => {
    let runs = 0;
    const work = tool('work', () => {
      runs++;
      throw new ToolError('not now', { retryable: true });
    });
    const workshop = startWorkshop(await openEngineAt(await urls()), [work]);
    const id = await workshop.submit('work', { attempts: 3, backoffMs: 1 });
    expect(await workshop.ended(id)).toMatchObject({ state: 'failed', error: 'job_failed: not now' });
    expect(runs).toBe(3);
  });

  test('a cancel stops the tool, and its result is dropped', options, async () => {
    const reason = gate<unknown>();
    const work = tool('work', async (_args, { signal }) => {
      reason.open(await aborted(signal));
      return { too: 'late' };
    });
    const where = await urls();
    const workshop = startWorkshop(await openEngineAt(where), [work]);
    const elsewhere = shared ? (await openEngineAt(where)).store : workshop.store;
    const id = await workshop.submit('work');
    await workshop.until(id, ({ state }) => state === 'running');
    const end = { state: 'cancelled', result: null, error: 'cancelled: by the client' } as const;
    expect(await elsewhere.jobs.end(id, end, Date.now())).toBe('cancelled');
    expect(await reason.opened).toMatchObject({ code: 'cancelled' });
    await workshop.stop();
    expect((await (await openEngineAt(where)).store.jobs.get(id))?.state).toBe('cancelled');
  });

  test('progress is seen while it runs, and a job past its deadline expires', options, async () => {
    const work = tool('work', async (_args, { progress, signal }) => {
      progress({ completed: 1, total: 2 });
      throw await aborted(signal);
    });
    // A clock that stands still: however long it takes until the tool runs, the deadline is still to come.
    const clock = createTestClock(Date.now());
    const engine = await openEngineAt(await urls(), clock);
    const workshop = startWorkshop(engine, [work], { now: clock.now });
    const id = await workshop.submit('work', { deadlineMs: clock.nowMs + 500 });
    await workshop.until(id, (job) => job.progress?.['completed'] === 1);
    expect((await workshop.ended(id)).state).toBe('expired');
  });

  test(
    'a worker that shuts down gives its job back, and the next one has all its attempts',
    options,
    async () => {
      const attempts: string[] = [];
      // Not only recorded as running: a worker that stops in between gives it back without having begun.
      const begun = gate();
      const where = await urls();
      const first = startWorkshop(await openEngineAt(where), [
        tool('work', async (_args, { signal }) => {
          attempts.push('first');
          begun.open();
          throw await aborted(signal);
        }),
      ]);
      const id = await first.submit('work', { attempts: 1 });
      await begun.opened;
      await first.stop();
      const second = startWorkshop(await openEngineAt(where), [tool('work', () => ({ by: 'second' }))]);
      expect(await second.ended(id)).toMatchObject({ state: 'succeeded', result: { by: 'second' } });
      expect(attempts).toEqual(['first']);
    },
  );
});

describe.each(DEPLOYMENTS.filter(({ shared }) => shared))('on $name', ({ tags, urls }) => {
  const options = { tags: [...tags] };

  test(
    'a job that was recorded and never pushed is pushed by the sweeper of any process',
    options,
    async () => {
      const where = await urls();
      const clock = createTestClock();
      const engine = await openEngineAt(where, clock);
      const job = newJob({ tool: 'work' });
      expect((await engine.store.jobs.create(job)).outcome).toBe('created');
      const workshop = startWorkshop(engine, [tool('work', () => ({ ran: true }))], { now: clock.now });
      const other = await openEngineAt(where, clock);
      const sweeper = startSweeper(other.store, other.dispatcher, createTestLog(), clock.now, 5);
      onTestFinished(() => sweeper.stop());
      clock.nowMs = START_MS + JOB_LIMITS.firstLookMs;
      expect(await workshop.ended(job.id)).toMatchObject({ result: { ran: true } });
    },
  );

  test('what waits is shared by all workers, and each job runs once', options, async () => {
    const where = await urls();
    const runs: string[] = [];
    const bothWork = gate();
    const workshops = await Promise.all(
      ['a', 'b'].map(async (name) => {
        const work = tool('work', async ({ n = null }) => {
          runs.push(name);
          if (new Set(runs).size === 2) bothWork.open();
          await bothWork.opened;
          return { n };
        });
        return startWorkshop(await openEngineAt(where), [work], { concurrency: 2 });
      }),
    );
    const [a, b] = workshops;
    if (a === undefined || b === undefined) throw new Error('two were started');
    const ids = await Promise.all(Array.from({ length: 12 }, (_, n) => a.submit('work', { args: { n } })));
    for (const [n, id] of ids.entries())
      expect(await b.ended(id)).toMatchObject({ state: 'succeeded', result: { n } });
    expect(runs).toHaveLength(12);
  });
});

test('a job that ends while the database is away keeps its outcome, and does not run again', {
  tags: ['own-postgres', 'redis'],
}, async () => {
  const service = await startPostgres();
  onTestFinished(() => service.stop());
  const [started, ends] = [gate(), gate()];
  let runs = 0;
  const work = tool('work', async () => {
    runs++;
    started.open();
    await ends.opened;
    return { done: true };
  });
  const engine = await openEngineAt({ store: service.url, queue: await redisUrl() });
  const workshop = startWorkshop(engine, [work]);
  const id = await workshop.submit('work', { attempts: 1 });
  await started.opened;
  await service.kill();
  ends.open();
  await expect
    .poll(() => workshop.log.complaints.map(({ message }) => message))
    .toContain('the outcome of a job waits for the store');
  await service.restart();
  expect(await workshop.ended(id)).toMatchObject({ state: 'succeeded', result: { done: true } });
  expect(runs).toBe(1);
});
