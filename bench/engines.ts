import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { openBullmqDispatcher } from '../src/jobs/dispatchers/bullmq/dispatcher.ts';
import { startWorker } from '../src/jobs/index.ts';
import type { Dispatcher } from '../src/jobs/index.ts';
import { JOB_LIMITS, JOB_POLICY, MESSAGE_LIMITS } from '../src/limits.ts';
import { isTerminal, newJobId, type RecordStore } from '../src/store/index.ts';
import { openPostgresStore } from '../src/store/postgres/open.ts';
import { defineTool, type Logger } from '../src/tools/index.ts';
import { startPostgres, startRedis } from '../test/support/services/index.ts';
import { type BareBullmq, openBareBullmq } from './baseline/bare-bullmq.ts';
import { type Line, median, thousands } from './support.ts';

const AT_ONCE = 64;
const ROUNDS = 5;
const LATENCIES = 200;
const LIMITS = { maxOpenJobs: JOB_LIMITS.maxOpenJobs } as const;

const increment = defineTool({
  name: 'increment',
  description: 'One more.',
  input: z.object({ n: z.number() }),
  output: z.object({ n: z.number() }),
  job: true,
  run: ({ n }) => ({ n: n + 1 }),
});

const log: Logger = { debug() {}, info() {}, warn: console.error, error: console.error };

/** What both sides can do; every promise resolves when it is done for good. */
interface Engine {
  run(n: number): Promise<unknown>;
  enqueue(n: number): Promise<unknown>;
  /** How the nth enqueued job stands. */
  state(n: number): Promise<unknown>;
}

interface Setting {
  readonly name: string;
  readonly storeUrl: string;
  readonly queueUrl: string;
  readonly jobs: number;
  readonly readsTarget: number | null;
  readonly idleTargetMs: number | null;
}

/** Our engine against bare BullMQ on the same service, in alternating rounds. */
export async function benchEngines(): Promise<Line[]> {
  const postgres = await startPostgres();
  const redis = await startRedis();
  const lines: Line[] = [];
  const onPostgres = { storeUrl: postgres.url, readsTarget: null, idleTargetMs: null };
  const settings: readonly Setting[] = [
    {
      ...onPostgres,
      name: 'PostgreSQL + Redis',
      queueUrl: redis.url,
      jobs: 10_000,
      readsTarget: 2,
      idleTargetMs: 25,
    },
    { ...onPostgres, name: 'PostgreSQL alone', queueUrl: postgres.url, jobs: 2_000 },
  ];
  try {
    for (const setting of settings) lines.push(...(await measure(setting)));
    lines.push(await measureNonces(postgres.url));
  } finally {
    await Promise.all([postgres.stop(), redis.stop()]);
  }
  return lines;
}

async function measure(setting: Setting): Promise<Line[]> {
  const { name, jobs } = setting;
  const ours = await openOurs(setting);
  const bare = asEngine(await openBareBullmq(setting.queueUrl, AT_ONCE));
  const rounds: { readonly [step in Step]: { readonly ours: number; readonly bare: number } }[] = [];
  await rate(jobs / 4, (n) => ours.run(n));
  await rate(jobs / 4, (n) => bare.run(n));
  for (let i = 0; i < ROUNDS; i++) {
    const both = async (step: Step) => ({
      ours: await rate(jobs, (n) => ours[step](n)),
      bare: await rate(jobs, (n) => bare[step](n)),
    });
    rounds.push({ run: await both('run'), enqueue: await both('enqueue'), state: await both('state') });
  }
  const idle = { ours: await idleMs(ours), bare: await idleMs(bare) };
  await Promise.all([ours.close(), bare.close()]);
  const compare = (step: Step, what: string, target: number | null): Line => {
    const ratio = median(rounds.map((round) => round[step].ours / round[step].bare));
    return {
      what: `${what}, ${name}`,
      ours: thousands(median(rounds.map((round) => round[step].ours))),
      baseline: `${thousands(median(rounds.map((round) => round[step].bare)))} bare BullMQ`,
      figure: ratio.toFixed(2),
      target: target === null ? '' : `≥ ${target.toFixed(2)}`,
      ok: target === null || ratio >= target,
    };
  };
  return [
    compare('run', `jobs end to end, ${AT_ONCE} at once`, 0.9),
    compare('enqueue', 'jobs enqueued', null),
    compare('state', 'status reads', setting.readsTarget),
    idleLine(name, idle, setting.idleTargetMs),
  ];
}

type Step = keyof Engine;

function idleLine(
  name: string,
  idle: { readonly ours: number; readonly bare: number },
  targetMs: number | null,
): Line {
  return {
    what: `one job on an idle engine (p50), ${name}`,
    ours: `${idle.ours.toFixed(1)} ms`,
    baseline: `${idle.bare.toFixed(1)} ms bare BullMQ`,
    figure: (idle.bare / idle.ours).toFixed(2),
    target: targetMs === null ? '' : `≤ ${targetMs} ms`,
    ok: targetMs === null || idle.ours <= targetMs,
  };
}

async function openOurs({ storeUrl, queueUrl }: Setting): Promise<Engine & { close(): Promise<void> }> {
  const store = await openPostgresStore({ url: storeUrl, serverId: 'bench', log });
  const options = { url: queueUrl, limits: new Map(), allowVolatileQueue: false, log };
  const dispatcher = await openBullmqDispatcher({ ...options, serverId: 'bench' });
  const parked = await openBullmqDispatcher({ ...options, serverId: 'parked' });
  const waiting = new Map<string, () => void>();
  store.jobs.onChange((id, state) => {
    if (!isTerminal(state)) return;
    waiting.get(id)?.();
    waiting.delete(id);
  });
  const worker = startWorker({
    store,
    dispatcher,
    tools: new Map([[increment.name, increment]]),
    log,
    now: Date.now,
    concurrency: AT_ONCE,
    leaseMs: 10_000,
    messageLimits: MESSAGE_LIMITS,
  });
  const ids: string[] = [];
  let clientId = '';
  return {
    async run(n) {
      const id = newJobId('bench-client', Date.now());
      const done = new Promise<void>((resolve) => waiting.set(id, resolve));
      await submit(store, dispatcher, 'bench-client', id, n);
      await done;
    },
    enqueue(n) {
      // A new client each round: nobody has more open jobs than a client may have by default.
      if (n === 0) clientId = `bench-parked-${randomUUID()}`;
      const id = newJobId(clientId, Date.now());
      ids[n] = id;
      return submit(store, parked, clientId, id, n);
    },
    state: (n) => store.jobs.get(ids[n] ?? ''),
    async close() {
      await worker.stop(1_000);
      await Promise.all([dispatcher.close(), parked.close()]);
      await store.close();
    },
  };
}

async function submit(
  store: RecordStore,
  dispatcher: Dispatcher,
  clientId: string,
  id: string,
  n: number,
): Promise<void> {
  const createdMs = Date.now();
  const deadlineMs = createdMs + JOB_POLICY.deadlineMs;
  const digest = 'made up for the bench: 43 characters, as is';
  const request = { clientId, requestId: id, digest, deadlineMs, expiresMs: deadlineMs };
  const tool = increment.name;
  const job = {
    id,
    request,
    tool,
    args: { n },
    answers: {},
    ...JOB_POLICY,
    deadlineMs,
    createdMs,
    ...LIMITS,
  };
  const creation = await store.jobs.create(job);
  if (creation.outcome !== 'created') throw new Error(`${id}: ${creation.outcome}`);
  await dispatcher.push({ id, tool, priority: creation.priority }, createdMs);
}

function asEngine(bare: BareBullmq): Engine & { close(): Promise<void> } {
  let ran = 0;
  let parked = 0;
  const ids: string[] = [];
  return {
    run: (n) => bare.run(`run-${ran++}`, n),
    enqueue(n) {
      const id = `parked-${parked++}`;
      ids[n] = id;
      return bare.enqueue(id, n);
    },
    state: (n) => bare.state(ids[n] ?? ''),
    close: () => bare.close(),
  };
}

async function rate(count: number, run: (n: number) => Promise<unknown>): Promise<number> {
  let next = 0;
  const startMs = performance.now();
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      while (next < count) await run(next++);
    }),
  );
  return count / ((performance.now() - startMs) / 1_000);
}

async function idleMs(engine: Engine): Promise<number> {
  const times: number[] = [];
  for (let n = 0; n < LATENCIES; n++) {
    const startMs = performance.now();
    await engine.run(n);
    times.push(performance.now() - startMs);
  }
  return median(times);
}

async function measureNonces(url: string): Promise<Line> {
  const store = await openPostgresStore({ url, serverId: 'bench', log });
  const rates: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    rates.push(await rate(10_000, (n) => store.nonces.claim('bench-client', `${round}-${n}`, Date.now())));
  }
  await store.close();
  return {
    what: `nonces claimed on PostgreSQL, ${AT_ONCE} at once`,
    ours: thousands(median(rates)),
    baseline: '',
    figure: '',
    target: '',
    ok: true,
  };
}
