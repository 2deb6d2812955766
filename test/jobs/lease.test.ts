import { describe, expect, test } from 'vitest';
import { startWorker } from '../../src/jobs/index.ts';
import { MESSAGE_LIMITS } from '../../src/limits.ts';
import { betweenTurns, lookAt } from '../support/second-connection.ts';
import { createTestClock } from '../support/clock.ts';
import { aborted, gate } from '../support/gate.ts';
import { openWorkshop, tool } from './workshop.ts';

describe('a lease', () => {
  test('is renewed while the tool runs, however long that is', async () => {
    let runs = 0;
    const long = tool('long', async () => {
      runs++;
      // Several leases, in which another attempt would begin if one ran out.
      await new Promise((resolve) => setTimeout(resolve, 700));
      return {};
    });
    const workshop = openWorkshop([long], { leaseMs: 150 });
    expect((await workshop.ended(await workshop.submit('long'))).state).toBe('succeeded');
    expect(runs).toBe(1);
    expect(workshop.log.complaints).toEqual([]);
  });

  test('that is lost aborts the tool', async () => {
    const saw = gate<unknown>();
    const slow = tool('slow', async (_args, { signal }) => {
      saw.open(await aborted(signal));
      throw signal.reason;
    });
    const workshop = openWorkshop([slow], { leaseMs: 150 });
    const id = await workshop.submit('slow');
    await workshop.until(id, ({ state }) => state === 'running');
    // What another worker does to the queue when it takes the job.
    await workshop.store.turn.write(() => workshop.store.queue.remove(id));
    expect(await saw.opened).toMatchObject({ message: 'another worker took the job over' });
  });

  test('that ran out while the machine slept is still held: the job goes on, and nobody is told anything', async () => {
    const clock = createTestClock();
    const stay = gate();
    let runs = 0;
    const reasons: unknown[] = [];
    const slow = tool('slow', async (_args, { signal }) => {
      runs++;
      signal.addEventListener('abort', () => reasons.push(signal.reason));
      await stay.opened;
      return { runs };
    });
    const workshop = openWorkshop([slow, tool('quick', () => ({}))], { now: clock.now });
    const id = await workshop.submit('slow', { attempts: 1 });
    await workshop.until(id, ({ state }) => state === 'running');
    for (let i = 0; i < 3; i++) {
      clock.nowMs += 20_000;
      // A look at the queue: this job is found there by the next one only.
      const later = await workshop.submit('quick', { createdMs: clock.nowMs + 1 });
      clock.nowMs += 1;
      await workshop.ended(later);
    }
    stay.open();
    expect(await workshop.ended(id)).toMatchObject({ state: 'succeeded', result: { runs: 1 } });
    expect(reasons).toEqual([]);
  });

  test('that another worker got when it had run out: the first attempt is told and writes nothing', async () => {
    const clock = createTestClock();
    const saw = gate<unknown>();
    const slow = tool('slow', async (_args, { signal, progress }) => {
      saw.open(await aborted(signal));
      progress({ completed: 77 });
      return { from: 'the first worker' };
    });
    const leaseMs = 30_000;
    // One slot, which the job takes: this worker cannot look at the queue.
    const workshop = openWorkshop([slow], { now: clock.now, leaseMs, concurrency: 1 });
    const { store, dispatcher, log } = workshop;
    const id = await workshop.submit('slow');
    await workshop.until(id, ({ state }) => state === 'running');
    clock.nowMs += leaseMs + 1;
    const second = startWorker({
      ...{
        store,
        dispatcher,
        log,
        now: clock.now,
        concurrency: 1,
        leaseMs: 10_000,
        messageLimits: MESSAGE_LIMITS,
      },
      tools: new Map([['slow', tool('slow', () => ({ from: 'the second worker' }))]]),
    });
    const job = await workshop.ended(id);
    expect(job).toMatchObject({ state: 'succeeded', result: { from: 'the second worker' }, progress: null });
    expect(await saw.opened).toMatchObject({ message: 'the job has ended' });
    await second.stop(0);
    await workshop.stop();
    expect(await openWorkshop([], { dir: workshop.dir, now: clock.now }).job(id)).toEqual(job);
  });

  test('a newer attempt elsewhere: the next progress is refused and aborts the tool', async () => {
    const saw = gate<unknown>();
    const report = gate();
    const slow = tool('slow', async (_args, { signal, progress }) => {
      await report.opened;
      progress({ completed: 1 });
      saw.open(await aborted(signal));
      return { from: 'the stale attempt' };
    });
    const workshop = openWorkshop([slow]);
    const id = await workshop.submit('slow');
    await workshop.until(id, ({ state }) => state === 'running');
    const newer = await workshop.store.jobs.begin(id, Date.now());
    report.open();
    expect(await saw.opened).toMatchObject({ message: 'another worker took the job over' });
    if (newer === null) throw new Error('did not begin');
    const end = { state: 'succeeded', result: { from: 'the newer one' }, error: null } as const;
    expect(await workshop.store.jobs.finish(newer.fence, end, Date.now())).toBe(true);
    await workshop.stop();
    expect((await openWorkshop([], { dir: workshop.dir }).job(id)).result).toEqual({ from: 'the newer one' });
  });

  test('a store that fails for a while costs no running job', async () => {
    const stay = gate();
    const reasons: unknown[] = [];
    const slow = tool('slow', async (_args, { signal }) => {
      signal.addEventListener('abort', () => reasons.push(signal.reason));
      await stay.opened;
      return { done: true };
    });
    const workshop = openWorkshop([slow], { leaseMs: 600 });
    const id = await workshop.submit('slow');
    await workshop.until(id, ({ state }) => state === 'running');
    const file = lookAt(workshop.dir);
    const refuse = "CREATE TRIGGER refuse BEFORE UPDATE ON jobs BEGIN SELECT RAISE(ROLLBACK, 'refused'); END";
    await betweenTurns(() => file.exec(refuse));
    // A heartbeat or two fail meanwhile.
    await expect.poll(() => workshop.log.complaints.length).toBeGreaterThan(0);
    await betweenTurns(() => file.exec('DROP TRIGGER refuse'));
    // And a few succeed.
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(reasons).toEqual([]);
    stay.open();
    expect(await workshop.ended(id)).toMatchObject({ state: 'succeeded', result: { done: true } });
  });
});

describe('the queue', () => {
  test('does nothing for a job that is carried already, unknown, or ended', async () => {
    let runs = 0;
    const count = tool('count', () => ({ n: ++runs }));
    const workshop = openWorkshop([count]);
    const id = await workshop.submit('count');
    await workshop.ended(id);
    for (const each of [id, 'job_unknown']) {
      const job = { id: each, tool: 'count', priority: 0 };
      await workshop.dispatcher.push(job, 0);
      await workshop.dispatcher.remove(job);
    }
    await workshop.ended(await workshop.submit('count'));
    expect(runs).toBe(2);
  });

  test('takes a job again that had been taken off', async () => {
    const workshop = openWorkshop([tool('work', () => ({}))]);
    const clockless = { createdMs: Date.now() + 3_600_000, deadlineMs: Date.now() + 7_200_000 };
    const id = await workshop.submit('work', clockless);
    const job = { id, tool: 'work', priority: 0 };
    await workshop.dispatcher.remove(job);
    expect((await workshop.job(id)).state).toBe('queued');
    await workshop.dispatcher.push(job, Date.now());
    expect((await workshop.ended(id)).state).toBe('succeeded');
  });

  test('hands out jobs that were pushed for later when their time has come, not before', async () => {
    const clock = createTestClock();
    const workshop = openWorkshop([tool('work', () => ({}))], { now: clock.now });
    const later = await workshop.submit('work', {
      createdMs: clock.nowMs + 5_000,
      deadlineMs: clock.nowMs + 90_000,
    });
    await workshop.ended(await workshop.submit('work'));
    expect((await workshop.job(later)).state).toBe('queued');
    clock.nowMs += 5_000;
    expect((await workshop.ended(later)).state).toBe('succeeded');
  });
});
