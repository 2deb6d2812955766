import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { z } from 'zod';
import { ProtocolError, ToolError } from '../../src/errors/index.ts';
import { JOB_LIMITS, MESSAGE_LIMITS } from '../../src/limits.ts';
import type { JobRecord } from '../../src/store/index.ts';
import { openDatabase } from '../../src/store/sqlite/driver.ts';
import { defineTool } from '../../src/tools/index.ts';
import { createTestClock } from '../support/clock.ts';
import { aborted, gate } from '../support/gate.ts';
import { openWorkshop, tool, type SqliteWorkshop } from './workshop.ts';

/** From when the queue lets the job be taken. */
function openQueue({ dir }: SqliteWorkshop): (id: string) => number | null {
  const db = openDatabase(join(dir, 'waybill.db'));
  onTestFinished(() => void db.close());
  const select = db.prepare('SELECT visible_ms FROM jobs WHERE id = ?');
  return (id) => {
    const visibleMs = select.get(id)?.['visible_ms'];
    return typeof visibleMs === 'number' ? visibleMs : null;
  };
}

describe('a job runs', () => {
  test('with its arguments as the tool’s schema reads them, and with who asked for it', async () => {
    const seen: unknown[] = [];
    const greet = defineTool({
      name: 'greet',
      description: 'For tests.',
      input: z.object({ name: z.string().default('you') }),
      output: z.object({ text: z.string(), mark: z.string().default('!') }),
      job: true,
      run(args, { clientId, requestId }) {
        seen.push(args, clientId, requestId);
        return { text: `hello ${args.name}` };
      },
    });
    const workshop = openWorkshop([greet]);
    const id = await workshop.submit('greet');
    const job = await workshop.ended(id);
    expect(job).toMatchObject({ state: 'succeeded', result: { text: 'hello you', mark: '!' }, error: null });
    expect(seen).toEqual([{ name: 'you' }, 'agent-a', job.requestId]);
  });

  test('no more at once than the worker may, and all of them in the end', async () => {
    let atOnce = 0;
    let most = 0;
    const count = tool('count', async () => {
      most = Math.max(most, ++atOnce);
      await new Promise(setImmediate);
      atOnce--;
      return {};
    });
    const workshop = openWorkshop([count], { concurrency: 3 });
    const ids = await Promise.all(Array.from({ length: 100 }, () => workshop.submit('count')));
    for (const id of ids) expect((await workshop.ended(id)).state).toBe('succeeded');
    expect(most).toBe(3);
  });

  test('one after the other in the order in which they came, when there is one slot', async () => {
    const clock = createTestClock();
    const order: unknown[] = [];
    const note = tool('note', ({ n = 0 }) => {
      order.push(n);
      return {};
    });
    const workshop = openWorkshop([note], { concurrency: 1, now: clock.now });
    const numbers = Array.from({ length: 30 }, (_, n) => n);
    const ids: string[] = [];
    for (const n of numbers) {
      clock.nowMs++;
      ids.push(await workshop.submit('note', { args: { n } }));
    }
    for (const id of ids) await workshop.ended(id);
    expect(order).toEqual(numbers);
  });

  test('only once when it succeeds', async () => {
    let runs = 0;
    const once = tool('once', () => ({ runs: ++runs }));
    const workshop = openWorkshop([once]);
    const ids = await Promise.all(Array.from({ length: 500 }, () => workshop.submit('once')));
    for (const id of ids) await workshop.ended(id);
    await workshop.stop();
    expect(runs).toBe(500);
    expect(workshop.log.complaints).toEqual([]);
  });
});

describe('an attempt that fails', () => {
  test('is repeated while attempts are left, then the job has failed with the last message', async () => {
    const attempts: number[] = [];
    const flaky = tool('flaky', () => {
      attempts.push(attempts.length + 1);
      throw new ToolError(`try ${attempts.length}`, { retryable: true });
    });
    const workshop = openWorkshop([flaky]);
    const job = await workshop.ended(await workshop.submit('flaky', { attempts: 3, backoffMs: 1 }));
    expect(job).toMatchObject({ state: 'failed', result: null, error: 'job_failed: try 3' });
    expect(attempts).toEqual([1, 2, 3]);
  });

  test('can be followed by one that succeeds', async () => {
    let runs = 0;
    const flaky = tool('flaky', () => {
      if (++runs < 3) throw new Error('a fault');
      return { runs };
    });
    const workshop = openWorkshop([flaky]);
    const job = await workshop.ended(await workshop.submit('flaky', { attempts: 3, backoffMs: 1 }));
    expect(job).toMatchObject({ state: 'succeeded', result: { runs: 3 } });
  });

  test('with a failure that the tool states is final', async () => {
    let runs = 0;
    const stubborn = tool('stubborn', () => {
      runs++;
      throw new ToolError('no such file');
    });
    const workshop = openWorkshop([stubborn]);
    const job = await workshop.ended(await workshop.submit('stubborn', { attempts: 5, backoffMs: 1 }));
    expect(job.error).toBe('job_failed: no such file');
    expect(runs).toBe(1);
  });

  test('with an unknown error tells its caller an id only, and the log the rest', async () => {
    const leaky = tool('leaky', () => {
      throw new Error('password is hunter2');
    });
    const workshop = openWorkshop([leaky]);
    const { error } = await workshop.ended(await workshop.submit('leaky', { attempts: 1 }));
    expect(error).toMatch(/^job_failed: internal: the tool failed; error id [0-9a-f-]{36}$/);
    const errorId = error?.slice(-36);
    const line = workshop.log.complaints.find(({ fields }) => fields['error_id'] === errorId);
    expect(String(line?.fields['err'])).toContain('hunter2');
  });

  test('waits longer each time, up to the ceiling, and no shorter than it says', async () => {
    const clock = createTestClock();
    const runs: number[] = [];
    const flaky = tool('flaky', () => {
      runs.push(clock.nowMs);
      throw new ToolError('again', { retryable: true });
    });
    const leaseMs = 7_000;
    const workshop = openWorkshop([flaky], { now: clock.now, leaseMs });
    const visibleMs = openQueue(workshop);
    const deadlineMs = clock.nowMs + 1_000_000;
    const id = await workshop.submit('flaky', { attempts: 6, backoffMs: 10_000, deadlineMs });
    const waits: number[] = [];
    while (waits.length < 5) {
      await workshop.until(id, ({ state }) => state === 'queued' && runs.length === waits.length + 1);
      // The queue is told after the record is written; until then the lease stands.
      while (visibleMs(id) === clock.nowMs + leaseMs) await workshop.store.ping();
      waits.push((visibleMs(id) ?? 0) - clock.nowMs);
      clock.nowMs = visibleMs(id) ?? 0;
    }
    expect((await workshop.ended(id)).state).toBe('failed');
    expect(waits).toEqual([10_000, 20_000, 40_000, JOB_LIMITS.maxBackoffMs, JOB_LIMITS.maxBackoffMs]);
    const gaps = runs.slice(1).map((ms, i) => ms - (runs[i] ?? 0));
    expect(gaps).toEqual(waits);
  });

  test('because the schema no longer takes its arguments is final', async () => {
    const strict = defineTool({
      name: 'strict',
      description: 'For tests.',
      input: z.strictObject({ n: z.number() }),
      output: z.object({}),
      job: true,
      run: () => ({}),
    });
    const workshop = openWorkshop([strict]);
    const job = await workshop.ended(await workshop.submit('strict', { args: { n: 'one' } }));
    expect(job.error).toMatch(/^job_failed: invalid_args: n: /);
  });

  test('because the schema itself throws is logged, and the job is not stuck', async () => {
    const clock = createTestClock();
    const broken = defineTool({
      name: 'broken',
      description: 'For tests.',
      input: z.object({ n: z.number() }).refine(() => {
        throw new Error('the schema is at fault');
      }),
      output: z.object({}),
      job: true,
      run: () => ({}),
    });
    const workshop = openWorkshop([broken], { now: clock.now });
    const id = await workshop.submit('broken', { args: { n: 1 }, attempts: 2 });
    const moveOn = setInterval(() => (clock.nowMs += 10_001), 20);
    onTestFinished(() => clearInterval(moveOn));
    const job = await workshop.until(id, ({ state }) => state === 'failed');
    expect(job.state).toBe('failed');
    expect(workshop.log.complaints.map(({ fields }) => String(fields['err']))).toContain(
      'Error: the schema is at fault',
    );
    // Nothing is left that still runs.
    await workshop.stop(120_000);
  });
});

describe('a result that no message can carry fails the job with the reason', () => {
  let deep: object = {};
  // By itself as deep as a message may be; inside one it is deeper.
  for (let i = 1; i < MESSAGE_LIMITS.maxDepth; i++) deep = { deep };
  test.each([
    ['a function', { f: () => {} }],
    ['NaN', { n: Number.NaN }],
    ['a lone surrogate', { text: '\ud800' }],
    ['one level too deep', deep],
    ['too many bytes', { text: 'x'.repeat(MESSAGE_LIMITS.maxMessageBytes) }],
    ['too many bytes of UTF-8', { text: '€'.repeat(MESSAGE_LIMITS.maxMessageBytes / 2) }],
    [
      'too many members',
      Object.fromEntries(Array.from({ length: MESSAGE_LIMITS.maxMembers }, (_, i) => [i, 1])),
    ],
  ])('%s', async (_what, result) => {
    const workshop = openWorkshop([tool('unsendable', () => result)]);
    const job = await workshop.ended(await workshop.submit('unsendable'));
    expect(job.state).toBe('failed');
    expect(job.error).toMatch(/^job_failed: the result cannot be sent: /);
  });
});

describe('progress', () => {
  test('is written at once, then seldom, and the last value is kept', async () => {
    const stay = gate();
    const busy = tool('busy', async (_args, { progress }) => {
      for (let completed = 1; completed <= 10_000; completed++) progress({ completed, total: 10_000 });
      await stay.opened;
      return {};
    });
    const workshop = openWorkshop([busy]);
    let changes = 0;
    const id = await workshop.submit('busy');
    workshop.store.jobs.onChange((changed) => {
      if (changed === id) changes++;
    });
    const job = await workshop.until(id, ({ progress }) => progress?.['completed'] === 10_000);
    expect(job.progress).toEqual({ completed: 10_000, total: 10_000 });
    expect(changes).toBeLessThanOrEqual(4);
    stay.open();
  });

  test('is written at most once in its interval over many turns', async () => {
    const busy = tool('busy', async (_args, { progress }) => {
      for (let completed = 1; completed <= 200; completed++) {
        progress({ completed });
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      return {};
    });
    const workshop = openWorkshop([busy]);
    let changes = 0;
    workshop.store.jobs.onChange((_id, state) => {
      if (state === 'running') changes++;
    });
    const start = performance.now();
    const { progress } = await workshop.ended(await workshop.submit('busy'));
    const intervals = (performance.now() - start) / JOB_LIMITS.progressIntervalMs;
    // Its begin, its first progress, one for each interval, and the last; a timer may fire a little early.
    expect(changes).toBeLessThanOrEqual(1.2 * intervals + 3);
    expect(changes).toBeGreaterThan(2);
    expect(progress).toEqual({ completed: 200 });
  });

  test.each([
    ['succeeds', () => ({})],
    [
      'fails',
      () => {
        throw new ToolError('no');
      },
    ],
  ])('that was reported right before the tool %s is kept', async (_what, end) => {
    const quick = tool('quick', (_args, { progress }) => {
      for (let completed = 1; completed <= 5; completed++) progress({ completed });
      return end();
    });
    const workshop = openWorkshop([quick]);
    expect((await workshop.ended(await workshop.submit('quick'))).progress).toEqual({ completed: 5 });
  });

  test('keeps what the tool said then, whatever it does with the object later', async () => {
    const stay = gate();
    const partial = { rows: [1] };
    const sly = tool('sly', async (_args, { progress }) => {
      progress({ completed: 1, partial });
      partial.rows.push(2);
      await stay.opened;
      return {};
    });
    const workshop = openWorkshop([sly]);
    const job = await workshop.until(await workshop.submit('sly'), ({ progress }) => progress !== null);
    expect(job.progress).toEqual({ completed: 1, partial: { rows: [1] } });
    stay.open();
  });

  test('after the tool has returned is ignored', async () => {
    const returned = gate();
    const reported = gate();
    const late = tool('late', (_args, { progress }) => {
      void returned.opened.then(() => {
        progress({ completed: 9 });
        reported.open();
      });
      return {};
    });
    const workshop = openWorkshop([late]);
    const job = await workshop.ended(await workshop.submit('late'));
    returned.open();
    await reported.opened;
    await workshop.store.ping();
    expect(await workshop.job(job.id)).toEqual(job);
  });

  test.each([
    [{ completed: -1 }, RangeError],
    [{ completed: Number.NaN }, RangeError],
    [{ completed: 1, total: -1 }, RangeError],
    [{ completed: 1, partial: { f: () => {} } }, TypeError],
    [{ completed: 1, partial: { text: 'x'.repeat(MESSAGE_LIMITS.maxMessageBytes) } }, RangeError],
  ])('that cannot be sent is refused where the tool can see it: case %#', async (bad, kind) => {
    const errors: unknown[] = [];
    const careless = tool('careless', (_args, { progress }) => {
      try {
        progress(bad);
      } catch (error) {
        errors.push(error);
      }
      return {};
    });
    const workshop = openWorkshop([careless]);
    expect((await workshop.ended(await workshop.submit('careless'))).progress).toBeNull();
    expect(errors).toEqual([expect.any(kind)]);
  });

  test('with a message of any length is shown with as much of it as a person reads', async () => {
    const chatty = tool('chatty', (_args, { progress }) => {
      progress({ completed: 1, message: '😀'.repeat(100_000) });
      return {};
    });
    const workshop = openWorkshop([chatty]);
    const { progress } = await workshop.ended(await workshop.submit('chatty'));
    const message = z.string().parse(progress?.['message']);
    expect(message.isWellFormed()).toBe(true);
    expect(message.startsWith('😀😀')).toBe(true);
    expect(message.length).toBeLessThan(10_000);
  });
});

describe('a cancelled job', () => {
  const CANCELLED = { state: 'cancelled', result: null, error: 'cancelled: by the client' } as const;

  test('does not start when it was still queued', async () => {
    const stay = gate();
    const started: unknown[] = [];
    const slow = tool('slow', async ({ n = 0 }) => {
      started.push(n);
      await stay.opened;
      return {};
    });
    const workshop = openWorkshop([slow], { concurrency: 1 });
    const first = await workshop.submit('slow', { args: { n: 1 } });
    await workshop.until(first, ({ state }) => state === 'running');
    const second = await workshop.submit('slow', { args: { n: 2 } });
    expect(await workshop.store.jobs.end(second, CANCELLED, Date.now())).toBe('cancelled');
    const third = await workshop.submit('slow', { args: { n: 3 } });
    stay.open();
    await workshop.ended(third);
    expect((await workshop.job(second)).state).toBe('cancelled');
    expect(started).toEqual([1, 3]);
  });

  test('aborts the signal of its tool when it runs, and drops what the tool still gives', async () => {
    const saw = gate<unknown>();
    const heedless = tool('heedless', async (_args, { signal }) => {
      saw.open(await aborted(signal));
      return { too: 'late' };
    });
    const workshop = openWorkshop([heedless]);
    const id = await workshop.submit('heedless');
    await workshop.until(id, ({ state }) => state === 'running');
    await workshop.store.jobs.end(id, CANCELLED, Date.now());
    expect(await saw.opened).toMatchObject({ code: 'cancelled' });
    await workshop.stop();
    expect(await reread(workshop, id)).toMatchObject(CANCELLED);
    expect(workshop.log.complaints).toEqual([]);
  });

  test('frees its slot when its tool heeds the signal', async () => {
    const wait = tool('wait', async (_args, { signal }) => {
      await aborted(signal);
      throw signal.reason;
    });
    const workshop = openWorkshop([wait, tool('next', () => ({}))], { concurrency: 1 });
    const id = await workshop.submit('wait');
    await workshop.until(id, ({ state }) => state === 'running');
    const next = await workshop.submit('next');
    await workshop.store.jobs.end(id, CANCELLED, Date.now());
    expect((await workshop.ended(next)).state).toBe('succeeded');
    expect(await workshop.job(id)).toMatchObject(CANCELLED);
  });
});

describe('a job past its deadline', () => {
  test('aborts the signal of its tool, and has expired', async () => {
    const reasons: unknown[] = [];
    const slow = tool('slow', async (_args, { signal }) => {
      reasons.push(await aborted(signal));
      throw signal.reason;
    });
    // A clock that stands still: however long it takes until the tool runs, the deadline is still to come.
    const clock = createTestClock();
    const workshop = openWorkshop([slow], { now: clock.now });
    const job = await workshop.ended(await workshop.submit('slow', { deadlineMs: clock.nowMs + 50 }));
    expect(job.state).toBe('expired');
    expect(job.error).toMatch(/^deadline_exceeded: /);
    expect(reasons).toEqual([expect.any(ProtocolError)]);
    expect(reasons).toMatchObject([{ code: 'deadline_exceeded' }]);
  });

  test('that is months away is not taken for past by a timer', async () => {
    const warnings: Error[] = [];
    const note = (warning: Error) => warnings.push(warning);
    process.on('warning', note);
    onTestFinished(() => void process.off('warning', note));
    const patient = tool('patient', async (_args, { signal }) => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      return { aborted: signal.aborted };
    });
    const workshop = openWorkshop([patient]);
    for (const days of [24, 25, 30, 300]) {
      const id = await workshop.submit('patient', { deadlineMs: Date.now() + days * 86_400_000 });
      expect(await workshop.ended(id)).toMatchObject({ state: 'succeeded', result: { aborted: false } });
    }
    expect(warnings).toEqual([]);
  });
});

describe('a tool that is not here', () => {
  test('keeps its job queued, without counting attempts, for a worker that has it', async () => {
    const clock = createTestClock();
    const without = openWorkshop([], { now: clock.now, leaseMs: 30_000 });
    const { dir } = without;
    const id = await without.submit('elsewhere', { attempts: 1, backoffMs: 0 });
    const told = () => without.log.complaints.filter(({ fields }) => fields['job_id'] === id).length;
    await without.until(id, ({ state }) => state === 'queued' && told() === 1);
    // It is not looked at again and again meanwhile, even if the tool would retry at once.
    const visibleMs = openQueue(without);
    while (visibleMs(id) === clock.nowMs + 30_000) await without.store.ping();
    expect(visibleMs(id)).toBe(clock.nowMs + 1_000);
    await without.stop();

    clock.nowMs += 60_000;
    const attempts: number[] = [];
    const here = openWorkshop([tool('elsewhere', () => ({ n: attempts.push(1) }))], { dir, now: clock.now });
    expect(await here.ended(id)).toMatchObject({ state: 'succeeded', result: { n: 1 } });
  });
});

async function reread({ dir }: SqliteWorkshop, id: string): Promise<JobRecord> {
  const again = openWorkshop([], { dir });
  return again.job(id);
}

describe('a deadline that passed before a job could start', () => {
  test('ends the job as expired; its tool is not run', async () => {
    const clock = createTestClock();
    let runs = 0;
    const count = tool('count', () => {
      runs++;
      return {};
    });
    const { submit, ended } = openWorkshop([count], { now: clock.now });
    const id = await submit('count', { deadlineMs: clock.nowMs });
    expect(await ended(id)).toMatchObject({
      state: 'expired',
      error: expect.stringMatching(/^deadline_exceeded: /),
    });
    expect(runs).toBe(0);
  });
});
