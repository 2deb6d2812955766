import { describe, expect, test } from 'vitest';
import { createSqliteDispatcher } from '../../src/jobs/index.ts';
import { isTerminal, type RecordStore } from '../../src/store/index.ts';
import { openStore } from '../store/open.ts';
import { createTestClock } from '../support/clock.ts';
import { aborted, gate } from '../support/gate.ts';
import { openWorkshop, startWorkshop, tool } from './workshop.ts';

describe('at shutdown', () => {
  test('a job that ends in time has ended', async () => {
    const stay = gate();
    const slow = tool('slow', async () => {
      await stay.opened;
      return { done: true };
    });
    const workshop = openWorkshop([slow]);
    const id = await workshop.submit('slow');
    await workshop.until(id, ({ state }) => state === 'running');
    const stopped = workshop.stop(20_000);
    stay.open();
    await stopped;
    expect(await openWorkshop([], { dir: workshop.dir }).job(id)).toMatchObject({
      state: 'succeeded',
      result: { done: true },
    });
  });

  test('a job that does not end in time is told, goes back to the queue uncounted, and runs after a reopen', async () => {
    const reasons: unknown[] = [];
    const attempts: number[] = [];
    const run = async (signal: AbortSignal, stops: boolean) => {
      attempts.push(1);
      if (!stops) return { run: attempts.length };
      reasons.push(await aborted(signal));
      throw signal.reason;
    };
    const workshop = openWorkshop([tool('slow', (_args, { signal }) => run(signal, true))]);
    const { dir } = workshop;
    const id = await workshop.submit('slow', { attempts: 1 });
    await workshop.until(id, ({ state }) => state === 'running');
    await workshop.stop(0);
    expect(reasons).toMatchObject([{ code: 'busy', message: 'the server shuts down' }]);

    // The only attempt is still there to be made.
    const reopened = openWorkshop([tool('slow', (_args, { signal }) => run(signal, false))], { dir });
    expect(await reopened.ended(id)).toMatchObject({ state: 'succeeded', result: { run: 2 } });
  });

  test('a tool that heeds nothing is left behind, and what it does later is refused', async () => {
    const late = gate();
    const left = gate<unknown>();
    const deaf = tool('deaf', async (_args, { progress }) => {
      await late.opened;
      try {
        progress({ completed: 1 });
        left.open('reported');
      } catch (error) {
        left.open(error);
      }
      return { from: 'the one that was left behind' };
    });
    const workshop = openWorkshop([deaf]);
    const { dir } = workshop;
    const id = await workshop.submit('deaf');
    await workshop.until(id, ({ state }) => state === 'running');
    await workshop.stop(0);
    const reopened = openWorkshop([tool('deaf', () => ({ from: 'the next one' }))], { dir });
    late.open();
    expect(await left.opened).toBe('reported');
    expect((await reopened.ended(id)).result).toEqual({ from: 'the next one' });
  });

  test('a tool that was cancelled and heeds nothing does not bring its job back', async () => {
    const late = gate();
    const workshop = openWorkshop([tool('deaf', () => late.opened.then(() => ({})))]);
    const id = await workshop.submit('deaf');
    await workshop.until(id, ({ state }) => state === 'running');
    const end = { state: 'cancelled', result: null, error: 'cancelled: by the client' } as const;
    await workshop.store.jobs.end(id, end, Date.now());
    await workshop.stop(0);
    late.open();
    expect(workshop.log.complaints).toEqual([]);
    expect((await openWorkshop([], { dir: workshop.dir }).job(id)).state).toBe('cancelled');
  });

  test('a job that was taken but has not begun goes back too, and holds nothing up', async () => {
    const forever = gate();
    const first = openWorkshop([], { concurrency: 1 });
    const { dir } = first;
    const ids = await Promise.all(Array.from({ length: 20 }, () => first.submit('forever')));
    await first.stop();
    // Stopped in every event-loop turn from the very first on.
    for (let turns = 0; turns < 5; turns++) {
      const clock = createTestClock(Date.now() + (turns + 1) * 120_000);
      const workshop = openWorkshop([tool('forever', () => forever.opened.then(() => ({})))], {
        dir,
        now: clock.now,
        concurrency: 8,
      });
      for (let i = 0; i < turns; i++) await new Promise(setImmediate);
      await workshop.stop(0);
    }
    forever.open();
    const last = openWorkshop([tool('forever', () => ({}))], { dir, now: () => Date.now() + 10_000_000 });
    for (const id of ids) expect(isTerminal((await last.ended(id)).state)).toBe(true);
  });

  test('a job whose attempt was just being written goes back too, uncounted', async () => {
    const asked = gate();
    const stay = gate();
    const store = openStore();
    const jobs: RecordStore['jobs'] = {
      ...store.jobs,
      async begin(...args) {
        const attempt = await store.jobs.begin(...args);
        asked.open();
        await stay.opened;
        return attempt;
      },
    };
    let runs = 0;
    const engine = { store: { ...store, jobs }, dispatcher: createSqliteDispatcher(store) };
    const workshop = startWorkshop(engine, [tool('work', () => ({ runs: ++runs }))]);
    const id = await workshop.submit('work', { attempts: 1 });
    await asked.opened;
    const stopped = workshop.stop();
    stay.open();
    await stopped;
    expect(runs).toBe(0);
    const next = openWorkshop([tool('work', () => ({ done: true }))], { dir: store.dir });
    expect((await next.ended(id)).result).toEqual({ done: true });
  });

  test('jobs that wait are left in the queue and run after a reopen', async () => {
    const stay = gate();
    const workshop = openWorkshop([tool('slow', () => stay.opened.then(() => ({})))], { concurrency: 1 });
    const { dir } = workshop;
    const ids = await Promise.all(Array.from({ length: 10 }, () => workshop.submit('slow')));
    const stopped = workshop.stop(20_000);
    stay.open();
    await stopped;
    const reopened = openWorkshop([tool('slow', () => ({}))], { dir });
    const states = await Promise.all(ids.map(async (id) => (await reopened.ended(id)).state));
    expect(new Set(states)).toEqual(new Set(['succeeded']));
  });
});
