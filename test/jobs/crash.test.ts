import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { runChild } from '../support/child.ts';
import { createTestClock } from '../support/clock.ts';
import { tempFolder } from '../support/temp.ts';
import { gate } from '../support/gate.ts';
import { openWorkshop, tool, type SqliteWorkshop } from './workshop.ts';

/** The folder as it stands on disk while its worker runs: what kill -9 leaves. */
function crashed({ dir }: SqliteWorkshop): string {
  const copy = join(tempFolder(), 'copy');
  cpSync(dir, copy, { recursive: true });
  return copy;
}

/** A worker whose tool never ends, and the job it has begun. */
async function beginAndCrash(dir: string | undefined, id: string | null, attempts: number) {
  const forever = gate();
  const clock = createTestClock();
  const workshop = openWorkshop([tool('fatal', () => forever.opened.then(() => ({})))], {
    ...(dir !== undefined && { dir }),
    now: clock.now,
  });
  const jobId = id ?? (await workshop.submit('fatal', { attempts }));
  await workshop.until(jobId, ({ state }) => state === 'running');
  const copy = crashed(workshop);
  forever.open();
  await workshop.stop();
  return { dir: copy, jobId };
}

describe('after a crash', () => {
  test('a job that ran is taken over at once, and the attempt counts', async () => {
    const { dir, jobId } = await beginAndCrash(undefined, null, 2);
    // The same moment: nobody waits for the lease to run out.
    const attempts: number[] = [];
    const survivor = openWorkshop([tool('fatal', () => ({ n: attempts.push(1) }))], {
      dir,
      now: createTestClock().now,
    });
    expect(await survivor.ended(jobId)).toMatchObject({ state: 'succeeded', result: { n: 1 } });
  });

  test('a job that brings its worker down each time fails when its attempts are used up', async () => {
    let dir: string | undefined;
    let jobId: string | null = null;
    for (let attempt = 1; attempt <= 3; attempt++) ({ dir, jobId } = await beginAndCrash(dir, jobId, 3));
    let runs = 0;
    const survivor = openWorkshop([tool('fatal', () => ({ n: ++runs }))], {
      dir: dir ?? '',
      now: createTestClock().now,
    });
    expect(await survivor.ended(jobId ?? '')).toMatchObject({
      state: 'failed',
      error: 'job_failed: the worker died in each of 3 attempts',
    });
    expect(runs).toBe(0);
  });

  test('kill -9 loses no accepted job: what ran and what waited is run by the next process', async () => {
    const dir = tempFolder();
    const script = `
      import { createSqliteDispatcher, startWorker } from 'DISTjobs/index.js';
      import { MESSAGE_LIMITS } from 'DISTlimits.js';
      import { newJobId, openSqliteStore } from 'DISTstore/index.js';
      import { defineTool } from 'DISTtools/index.js';
      import { z } from '${import.meta.resolve('zod')}';
      const any = z.record(z.string(), z.unknown());
      const hang = defineTool({ name: 'hang', description: '-', input: any, output: any, job: true, run: () => new Promise(() => {}) });
      const store = openSqliteStore({ dir: process.argv[1], serverId: 'srv-1' });
      const dispatcher = createSqliteDispatcher(store);
      const log = { debug() {}, info() {}, warn() {}, error() {} };
      const tools = new Map([['hang', hang]]);
      startWorker({ store, dispatcher, tools, log, now: Date.now, concurrency: 4, leaseMs: 10_000, messageLimits: MESSAGE_LIMITS });
      for (let n = 0; ; n++) {
        const nowMs = Date.now();
        const id = newJobId('agent-a', nowMs);
        const request = { clientId: 'agent-a', requestId: 'request-' + n, digest: 'd', deadlineMs: nowMs + 3_600_000, expiresMs: nowMs + 86_400_000 };
        await store.jobs.create({ id, request, tool: 'hang', args: { n }, answers: {}, attempts: 3, backoffMs: 1, deadlineMs: nowMs + 3_600_000, retentionMs: 600_000, createdMs: nowMs, maxOpenJobs: 10_000 });
        console.log(id);
      }`;
    const child = runChild(script, [dir]);
    const accepted: string[] = [];
    while (accepted.length < 200) accepted.push(await child.line());
    child.process.kill('SIGKILL');
    expect(await child.exited).toBe('SIGKILL');
    const survivor = openWorkshop([tool('hang', ({ n = null }) => ({ n }))], { dir, concurrency: 64 });
    const ended = await Promise.all(accepted.map((id) => survivor.ended(id)));
    expect(ended.map(({ state, result }) => [state, result?.['n']])).toEqual(
      accepted.map((_id, n) => ['succeeded', n]),
    );
  });
});
