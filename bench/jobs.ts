import { setMaxListeners } from 'node:events';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { z } from 'zod';
import { uuidv7 } from '../src/client/request-id.ts';
import { createSqliteDispatcher, startWorker } from '../src/jobs/index.ts';
import { JOB_LIMITS, JOB_POLICY, MESSAGE_LIMITS } from '../src/limits.ts';
import { newJobId, openSqliteStore, type SqliteStore } from '../src/store/index.ts';
import { defineTool, type Logger } from '../src/tools/index.ts';
import { openBareTable } from './baseline/bare-table.ts';
import { type Line, median, thousands, withFolder } from './support.ts';

const AT_ONCE = 64;
const JOBS = 20_000;
const ROUNDS = 7;

const increment = defineTool({
  name: 'increment',
  description: 'One more.',
  input: z.object({ n: z.number() }),
  output: z.object({ n: z.number() }),
  job: true,
  run: ({ n }) => ({ n: n + 1 }),
});

const log: Logger = { debug() {}, info() {}, warn: console.error, error: console.error };
const never = new AbortController().signal;
setMaxListeners(0, never);

interface Rates {
  readonly ours: number;
  readonly bare: number;
}

/** Jobs end to end (accepted, run, seen done by who waits) at 64 at once, against the bare table. */
export async function benchJobs(): Promise<Line[]> {
  return withFolder(async (dir) => {
    const store = openSqliteStore({ dir, serverId: 'bench' });
    const dispatcher = createSqliteDispatcher(store);
    const tools = new Map([[increment.name, increment]]);
    const worker = startWorker({
      store,
      dispatcher,
      tools,
      log,
      now: Date.now,
      concurrency: AT_ONCE,
      leaseMs: 10_000,
      messageLimits: MESSAGE_LIMITS,
    });
    const bare = openBareTable(dir, (args) => JSON.stringify({ n: JSON.parse(args).n + 1 }));
    const rates: Rates[] = [];
    let worstStallMs = 0;
    let bareJobs = 0;
    await rate((n) => runOurs(store, n));
    for (let i = 0; i < ROUNDS; i++) {
      // A new one each time: a monitor that is enabled again counts the time in between.
      const delay = monitorEventLoopDelay({ resolution: 1 });
      delay.enable();
      const ours = await rate((n) => runOurs(store, n));
      delay.disable();
      worstStallMs = Math.max(worstStallMs, delay.max / 1e6);
      rates.push({ ours, bare: await rate((n) => bare.run(`job-${bareJobs++}`, { n })) });
    }
    await worker.stop(1_000);
    await store.close();
    bare.close();
    return lines(rates, worstStallMs);
  });
}

function lines(rates: readonly Rates[], worstStallMs: number): Line[] {
  const ours = median(rates.map((round) => round.ours));
  const ratio = median(rates.map((round) => round.ours / round.bare));
  return [
    {
      what: `jobs end to end on SQLite, ${AT_ONCE} at once`,
      ours: thousands(ours),
      baseline: `${thousands(median(rates.map((round) => round.bare)))} bare table`,
      figure: ratio.toFixed(2),
      target: '≥ 40 k/s',
      ok: ours >= 40_000,
    },
    {
      what: 'longest event-loop stall during it',
      ours: `${worstStallMs.toFixed(1)} ms`,
      baseline: '',
      figure: '',
      target: '≤ 50 ms',
      ok: worstStallMs <= 50,
    },
  ];
}

/** Made beforehand, as a client makes them: that is not the engine's work. */
let requestIds: readonly string[] = [];

async function rate(run: (n: number) => Promise<unknown>): Promise<number> {
  let next = 0;
  requestIds = Array.from({ length: JOBS }, () => uuidv7(Date.now()));
  const startMs = performance.now();
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      while (next < JOBS) await run(next++);
    }),
  );
  return JOBS / ((performance.now() - startMs) / 1_000);
}

async function runOurs({ jobs }: SqliteStore, n: number): Promise<void> {
  const nowMs = Date.now();
  const deadlineMs = nowMs + JOB_POLICY.deadlineMs;
  const id = newJobId('bench-client', nowMs);
  const request = {
    clientId: 'bench-client',
    requestId: requestIds[n] ?? '',
    digest: 'made up for the bench: 43 characters, as is',
    deadlineMs,
    expiresMs: deadlineMs,
  };
  await jobs.create({
    id,
    request,
    tool: increment.name,
    args: { n },
    answers: {},
    ...JOB_POLICY,
    deadlineMs,
    createdMs: nowMs,
    maxOpenJobs: JOB_LIMITS.maxOpenJobs,
  });
  let revision = 1;
  for (;;) {
    await jobs.changed(id, revision, never);
    const job = await jobs.get(id);
    if (job?.result?.['n'] === n + 1) return;
    if (job === null || job.error !== null) throw new Error(`job ${id}: ${job?.error ?? 'lost'}`);
    revision = job.revision;
  }
}
