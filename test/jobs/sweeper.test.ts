import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { startSweeper } from '../../src/jobs/index.ts';
import { JOB_LIMITS } from '../../src/limits.ts';
import type { RecordStore } from '../../src/store/index.ts';
import { newJob, newRequest } from '../store/new-records.ts';
import { createTestClock, START_MS, type TestClock } from '../support/clock.ts';
import { createTestLog } from '../support/log.ts';
import { aborted, gate } from '../support/gate.ts';
import { openWorkshop, tool, type Workshop } from './workshop.ts';

function sweep({ store, dispatcher }: Workshop, clock: TestClock, records: RecordStore = store) {
  const log = createTestLog();
  const sweeper = startSweeper(records, dispatcher, log, clock.now, 5);
  onTestFinished(() => sweeper.stop());
  return { sweeper, log };
}

describe('the sweeper', () => {
  test('ends a queued job at its deadline, and it never runs', async () => {
    const clock = createTestClock();
    const stay = gate();
    const ran: unknown[] = [];
    const slow = tool('slow', async ({ n = 0 }) => {
      ran.push(n);
      await stay.opened;
      return {};
    });
    const workshop = openWorkshop([slow], { now: clock.now, concurrency: 1 });
    sweep(workshop, clock);
    const first = await workshop.submit('slow', { args: { n: 1 } });
    await workshop.until(first, ({ state }) => state === 'running');
    const second = await workshop.submit('slow', { args: { n: 2 }, deadlineMs: START_MS + 1_000 });
    clock.nowMs += 1_000;
    expect(await workshop.ended(second)).toMatchObject({
      state: 'expired',
      error: 'deadline_exceeded: the job did not end in time',
    });
    const third = await workshop.submit('slow', { args: { n: 3 } });
    stay.open();
    await workshop.ended(third);
    expect(ran).toEqual([1, 3]);
  });

  test('ends a running job at its deadline and so aborts its tool, whose result is dropped', async () => {
    const clock = createTestClock();
    const reasons: unknown[] = [];
    const slow = tool('slow', async (_args, { signal }) => {
      reasons.push(await aborted(signal));
      return { too: 'late' };
    });
    const workshop = openWorkshop([slow], { now: clock.now });
    sweep(workshop, clock);
    const id = await workshop.submit('slow', { deadlineMs: START_MS + 3_600_000 });
    await workshop.until(id, ({ state }) => state === 'running');
    clock.nowMs += 3_600_000;
    expect((await workshop.ended(id)).state).toBe('expired');
    await expect.poll(() => reasons.length).toBe(1);
    await workshop.stop();
    expect(await openWorkshop([], { dir: workshop.dir, now: clock.now }).job(id)).toMatchObject({
      state: 'expired',
      result: null,
    });
  });

  test('forgets a job when its retention has passed, and not before', async () => {
    const clock = createTestClock();
    const workshop = openWorkshop([tool('quick', () => ({}))], { now: clock.now });
    const { sweeper } = sweep(workshop, clock);
    const id = await workshop.submit('quick', { retentionMs: 600_000 });
    const later = await workshop.submit('quick', { retentionMs: 600_001 });
    for (const each of [id, later]) await workshop.ended(each);
    clock.nowMs += 600_000;
    await expect.poll(() => workshop.store.jobs.get(id)).toBeNull();
    await sweeper.stop();
    expect((await workshop.job(later)).state).toBe('succeeded');
  });

  test('pushes a job again that its queue may have lost', async () => {
    const clock = createTestClock();
    const workshop = openWorkshop([tool('quick', () => ({}))], { now: clock.now });
    const job = { id: newJob().id, tool: 'quick', priority: 0 };
    await workshop.submit('quick', { id: job.id, createdMs: START_MS + 60_000 });
    await workshop.dispatcher.remove(job);
    // What a store says whose queue is elsewhere.
    let told = false;
    const jobs: RecordStore['jobs'] = {
      ...workshop.store.jobs,
      async due(...args) {
        if (told) return workshop.store.jobs.due(...args);
        told = true;
        return [{ ...job, why: 'unsure' }];
      },
    };
    const { log } = sweep(workshop, clock, { ...workshop.store, jobs });
    expect((await workshop.ended(job.id)).state).toBe('succeeded');
    expect(log.complaints).toEqual([]);
  });

  test('makes room for the client whose jobs it ends', async () => {
    const clock = createTestClock();
    const workshop = openWorkshop([], { now: clock.now });
    await workshop.worker.stop(0);
    sweep(workshop, clock);
    const create = async () =>
      (await workshop.store.jobs.create(newJob({ deadlineMs: START_MS + 1_000, maxOpenJobs: 2 }))).outcome;
    expect([await create(), await create(), await create()]).toEqual(['created', 'created', 'full']);
    clock.nowMs += 1_000;
    await expect.poll(create).toBe('created');
  });

  test('forgets requests that have expired', async () => {
    const clock = createTestClock();
    const workshop = openWorkshop([], { now: clock.now });
    sweep(workshop, clock);
    const request = newRequest({ expiresMs: START_MS + 1_000 });
    await workshop.store.requests.claim(request);
    clock.nowMs += 1_000;
    await expect.poll(() => workshop.store.requests.find(request.clientId, request.requestId)).toBeNull();
  });

  test('does as much as there is, more than one batch too', async () => {
    const clock = createTestClock();
    const workshop = openWorkshop([], { now: clock.now, concurrency: 1 });
    await workshop.worker.stop(0);
    const count = JOB_LIMITS.sweepBatch + 500;
    const jobs = Array.from({ length: count }, () => newJob({ deadlineMs: START_MS + 1 }));
    await Promise.all(jobs.map((job) => workshop.store.jobs.create(job)));
    clock.nowMs += 1;
    const { sweeper } = sweep(workshop, clock);
    const last = jobs.at(-1)?.id ?? '';
    await expect.poll(async () => (await workshop.job(last)).state).toBe('expired');
    await sweeper.stop();
    expect(await workshop.store.jobs.due(clock.nowMs, count)).toEqual([]);
  });

  test('says once that it fails, and goes on', async () => {
    const clock = createTestClock();
    const workshop = openWorkshop([], { now: clock.now });
    let failures = 2;
    const jobs: RecordStore['jobs'] = {
      ...workshop.store.jobs,
      async due(...args) {
        if (failures-- > 0) throw new Error('not now');
        return workshop.store.jobs.due(...args);
      },
    };
    const { log } = sweep(workshop, clock, { ...workshop.store, jobs });
    const job = newJob({ deadlineMs: START_MS + 1 });
    await workshop.store.jobs.create(job);
    clock.nowMs += 1;
    expect((await workshop.ended(job.id)).state).toBe('expired');
    await vi.waitFor(() => expect(failures).toBeLessThan(0), 20_000);
    expect(log.complaints.map(({ message }) => message)).toEqual(['sweep failed']);
  });

  test('has stopped when its last sweep has ended', async () => {
    const clock = createTestClock();
    const workshop = openWorkshop([], { now: clock.now });
    let sweeps = 0;
    const jobs: RecordStore['jobs'] = {
      ...workshop.store.jobs,
      async due(...args) {
        sweeps++;
        return workshop.store.jobs.due(...args);
      },
    };
    const { sweeper } = sweep(workshop, clock, { ...workshop.store, jobs });
    await expect.poll(() => sweeps).toBeGreaterThan(1);
    await sweeper.stop();
    const before = sweeps;
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(sweeps).toBe(before);
  });
});
