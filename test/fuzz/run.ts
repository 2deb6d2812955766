import { monitorEventLoopDelay, performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { createRandom } from '../support/random.ts';
import { callTarget } from './call-target.ts';
import { type Entry, readCorpus } from './corpus.ts';
import { mcpTarget } from './mcp-target.ts';
import { mutate } from './mutate.ts';
import type { Input, Target } from './target.ts';
import { openWorld, type World } from './world.ts';

export interface FuzzOptions {
  readonly seed: number;
  readonly seconds: number;
  /** How long one input may hold the event loop; where tests run side by side, only what hangs can be told. */
  readonly maxMs?: number;
  readonly onProgress?: (line: string) => void;
}

export interface Finding {
  readonly what: string;
  /** Name of an entry of the corpus, or the number of an input of this seed. */
  readonly input: string;
  /** The template in Base64, to be kept in the corpus. */
  readonly template: string;
  readonly reply: string;
}

export interface FuzzReport {
  readonly seed: number;
  readonly inputs: number;
  /** Of them, those that got past what strangers reach. */
  readonly deep: number;
  readonly outcomes: Readonly<Record<string, number>>;
  /** The dearest input of those that had to be sent alone, in milliseconds. */
  readonly dearestMs: number;
  readonly dearest: string;
  /** After each round, in bytes. */
  readonly heap: readonly number[];
  readonly findings: readonly Finding[];
}

/** No input may hold the event loop longer (in milliseconds). */
const MAX_MS = 50;
/** An input over it is sent so often, alone: the machine may have been busy, or the collector at work. */
const REPEATS = 5;
/** An answer that takes longer never comes. */
const LOST_MS = 45_000;
const BATCH = 16;
const REPLAY = 0.1;
const ROUNDS = 6;
/** Far past the time window: no nonce of before is alive. */
const ROUND_STEP_MS = 3_600_000;
const GROWTH_BYTES = 8 * 1024 * 1024;
const MAX_FINDINGS = 20;

/** Each input of the corpus as it is, then changed ones until the time is over. */
export async function runFuzz({
  seed,
  seconds,
  maxMs = MAX_MS,
  onProgress = () => {},
}: FuzzOptions): Promise<FuzzReport> {
  const world = await openWorld();
  const run = startRun(world, maxMs);
  try {
    const targets = [callTarget(world), mcpTarget(world)].map((target) => ({
      target,
      corpus: readCorpus(target.folder),
    }));
    for (const { target, corpus } of targets) await run.corpus(target, corpus);
    const heap: number[] = [];
    const startMs = performance.now();
    for (let round = 1, batch = 0; round <= ROUNDS && run.findings.length < MAX_FINDINGS; round++) {
      while (performance.now() - startMs < (seconds * 1_000 * round) / ROUNDS) {
        const { target, corpus } = targets[batch % 2] ?? targets[0] ?? never();
        await run.changed(target, corpus, seed, batch++);
      }
      heap.push(await endOfRound(world, targets));
      onProgress(`round ${round}: ${run.counts.inputs} inputs, ${run.findings.length} findings`);
    }
    if (seconds >= WARM_SECONDS && grows(heap))
      run.report(`memory grows: ${heap.join(', ')}`, 'all', Buffer.alloc(0), '');
    return { seed, ...run.counts, heap, findings: run.findings };
  } finally {
    await world.close();
  }
}

function never(): never {
  throw new Error('there is no target');
}

function startRun(world: World, maxMs: number) {
  const findings: Finding[] = [];
  const outcomes: Record<string, number> = {};
  const counts = { inputs: 0, deep: 0, dearestMs: 0, dearest: '', outcomes };

  function report(what: string, input: string, template: Uint8Array, reply: string): void {
    if (findings.length >= MAX_FINDINGS) return;
    const kept = Buffer.from(template).toString('base64');
    findings.push({ what, input, template: kept, reply: reply.slice(0, 2_000) });
  }

  function look(input: Input, { name, template }: Entry): void {
    counts.inputs++;
    if (input.isDeep) counts.deep++;
    const problem = problemOf(input);
    if (problem !== null) return report(problem, name, template, input.shown());
    const outcome = input.outcome();
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
  }

  /** Together, as they come in life; one by one if that was dear. */
  async function send(target: Target, entries: readonly Entry[]): Promise<void> {
    const inputs = entries.map(({ template }) => target.prepare(template));
    const costMs = await costOf(inputs);
    for (const [i, entry] of entries.entries()) look(inputs[i] ?? never(), entry);
    const told = world.complaints();
    if (costMs > maxMs || told.length > 0) for (const entry of entries) await alone(target, entry, told);
    if (told.length > 0 && findings.length === 0)
      report(`the log complains: ${told[0]}`, entries.map(({ name }) => name).join(), Buffer.alloc(0), '');
  }

  async function alone(target: Target, entry: Entry, told: readonly string[]): Promise<void> {
    let leastMs = Number.POSITIVE_INFINITY;
    for (let i = 0; i < REPEATS && leastMs > maxMs; i++) {
      const input = target.prepare(entry.template);
      leastMs = Math.min(leastMs, await holdOf(input));
      look(input, entry);
      const more = told.length > 0 ? world.complaints() : [];
      if (more.length > 0) report(`the log complains: ${more[0]}`, entry.name, entry.template, input.shown());
    }
    if (leastMs > counts.dearestMs) Object.assign(counts, { dearestMs: leastMs, dearest: entry.name });
    if (leastMs > maxMs)
      report(`holds the event loop for ${leastMs.toFixed()} ms`, entry.name, entry.template, '');
  }

  /** What passed the MAC does not pass it twice: the very same bytes again. */
  async function replay(target: Target, entry: Entry): Promise<void> {
    const input = target.prepare(entry.template);
    for (let i = 0; i < 2; i++) {
      await costOf([input]);
      look(input, entry);
    }
  }

  return {
    findings,
    counts,
    report,
    async corpus(target: Target, entries: readonly Entry[]): Promise<void> {
      for (const entry of entries) {
        await send(target, [entry]);
        await replay(target, entry);
      }
    },
    /** A batch depends on the seed and its number alone, not on what came before. */
    async changed(target: Target, corpus: readonly Entry[], seed: number, batch: number): Promise<void> {
      const random = createRandom(seed + Math.imul(batch, 0x9e3779b1));
      const others = corpus.map(({ template }) => template);
      const entries = Array.from({ length: BATCH }, (_, i) => ({
        name: `seed ${seed}, batch ${batch}, input ${i}`,
        template: mutate(random.pick(others) ?? never(), random, others),
      }));
      await send(target, entries);
      if (random.chance(REPLAY)) for (const entry of entries) await replay(target, entry);
    },
  };
}

function problemOf(input: Input): string | null {
  const failed = failures.get(input);
  if (failed !== undefined) return failed;
  try {
    return input.problem();
  } catch (error) {
    return String(error);
  }
}

/** How the sending of an input failed, if it did. */
const failures = new WeakMap<Input, string>();

const delay = monitorEventLoopDelay({ resolution: 1 });
/** Of that timer; what came before is seen when it is due again. */
const SEEN_MS = 3;

/**
 * Milliseconds for which an input has held the event loop at one go: others had their turns in between. Never more
 * than its cost: the delay also grows when the process is put aside for another one.
 */
async function holdOf(input: Input): Promise<number> {
  delay.enable();
  delay.reset();
  // What it measures begins with its first tick.
  await sleep(SEEN_MS);
  const costMs = await costOf([input]);
  await sleep(SEEN_MS);
  delay.disable();
  return Math.min(costMs, delay.max / 1e6);
}

/**
 * Milliseconds that inputs cost. Two clocks, and what both saw: the time in which the loop was not idle, which
 * waiting for a disk is not part of, but being put aside for another process is; and the CPU of this process, where
 * it is the other way round.
 */
async function costOf(inputs: readonly Input[]): Promise<number> {
  const [loop, cpu] = [performance.eventLoopUtilization(), process.cpuUsage()];
  await Promise.all(
    inputs.map(async (input) => {
      let lost: NodeJS.Timeout | undefined;
      const late = new Promise<never>((_, reject) => {
        lost = setTimeout(() => reject(new Error('no reply ever')), LOST_MS);
      });
      await Promise.race([input.run(), late])
        .catch((error: unknown) => {
          failures.set(input, `rejected: ${error instanceof Error ? error.stack : String(error)}`);
        })
        .finally(() => clearTimeout(lost));
    }),
  );
  const { user, system } = process.cpuUsage(cpu);
  return Math.min(performance.eventLoopUtilization(loop).active, (user + system) / 1_000);
}

setFlagsFromString('--expose-gc');
// What that flag makes.
const collect = runInNewContext('gc') as () => void;

async function endOfRound({ server, clock }: World, targets: readonly { target: Target }[]): Promise<number> {
  while (server.stats().callsInFlight > 0) await new Promise(setImmediate);
  clock.nowMs += ROUND_STEP_MS;
  for (const { target } of targets) target.forget();
  collect();
  return process.memoryUsage().heapUsed + process.memoryUsage().external;
}

/** A shorter run is still warming up: code is compiled and tables take their size. */
const WARM_SECONDS = 30;

/** From round to round in the second half, and by more than is left lying about. */
function grows(heap: readonly number[]): boolean {
  const late = heap.slice(heap.length / 2 - 1);
  const rises = late.every((bytes, i) => i === 0 || bytes > (late[i - 1] ?? 0));
  return rises && (late.at(-1) ?? 0) - (late[0] ?? 0) > GROWTH_BYTES;
}
