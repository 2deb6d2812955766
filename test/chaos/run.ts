import { setTimeout as sleep } from 'node:timers/promises';
import { createRandom } from '../support/random.ts';
import { startAudit } from './audit.ts';
import { createClient, GaveUp } from './client.ts';
import { rage } from './faults.ts';
import { createJournal, type Journal } from './journal.ts';
import type { Job } from './job.ts';
import { startLoad } from './load.ts';
import { type Polls, startPolls } from './polls.ts';
import { awaitRecovery } from './recovery.ts';
import { type Captured, replay } from './replays.ts';
import { type Report, reportOf } from './report.ts';
import { askEveryReplica, countAttempts, judgeEffects, judgeRecords } from './verdict.ts';
import { openWorld, type World, type WorldOptions } from './world.ts';

export interface ChaosOptions extends WorldOptions {
  /** How many jobs the clients start, beside their direct calls. */
  readonly jobs: number;
  /** The jobs are spread over this time, in which faults strike. */
  readonly seconds: number;
  readonly seed: number;
  /** Told every few seconds how it goes. */
  readonly onProgress?: (text: string) => void;
}

/** After the last fault every job must have ended within this time: lost dispatches are looked for once a minute. */
const DRAIN_MS = 120_000;
/** Above the time in which the jobs of a dead worker are taken over: the record of who took longer is of interest. */
const LONG_DRAIN_MS = 15_000;
/** Far above what a run takes: one that hangs still ends. */
const LIMIT_FACTOR = 4;
const LIMIT_EXTRA_MS = 240_000;
const PROGRESS_MS = 5_000;

/**
 * Real servers and workers on services of their own, a load, and faults all the while. Afterwards it checks that
 * nothing was lost, nothing was done twice, and nobody was told anything wrong.
 *
 * @throws when it cannot begin
 */
export async function runChaos(options: ChaosOptions): Promise<Report> {
  const journal = createJournal();
  const world = await openWorld(options, journal);
  const over = new AbortController();
  const limit = setTimeout(() => over.abort(), options.seconds * 1000 * LIMIT_FACTOR + LIMIT_EXTRA_MS);
  try {
    await survive(world, options, journal, over.signal).catch((error: unknown) => {
      if (!(error instanceof GaveUp)) throw error;
      journal.violate(`the run did not come to its end: ${error.message}`);
    });
    return reportOf(options, journal, world.cluster);
  } finally {
    clearTimeout(limit);
    over.abort();
    await world.stop();
  }
}

/** @throws GaveUp when the run is over before its end */
async function survive(
  world: World,
  options: ChaosOptions,
  journal: Journal,
  over: AbortSignal,
): Promise<void> {
  const { cluster, store, credentials, effects, slots } = world;
  const { seed } = options;
  const captured: Captured[] = [];
  const context = { cluster, journal, captured, over };
  const clients = credentials.map((credential) => createClient(credential, context));
  const audit = startAudit(store, journal, over);
  const polls = startPolls(createRandom(seed + 1), journal);
  const hasEnded = phases(journal);

  const load = startLoad({ ...options, count: options.jobs, clients, journal, onAcknowledged: polls.add });
  tellProgress(options, journal, polls, over);
  await strike(world, options, journal, { load, polls, captured });
  hasEnded('load and faults');
  const after = await awaitRecovery({
    ...{ cluster, clients, journal, effects, random: createRandom(seed + 2) },
    jobsAtOnce: slots * 2,
    onAcknowledged: polls.add,
  });
  hasEnded('recovery');
  await drain(polls, journal);
  await polls.stop();
  hasEnded('drain');

  const jobs = [...load.jobs, ...after.jobs];
  const outcome = { cluster, journal, jobs, calls: [...load.calls, ...after.calls], captured };
  await askEveryReplica(outcome, createRandom(seed + 3));
  const rows = await audit.end();
  effects.read();
  judgeRecords(outcome, rows, effects);
  judgeEffects(outcome, effects);
  countAttempts(outcome, effects);
  hasEnded('checks');
}

interface Targets {
  readonly load: { readonly sent: Promise<void> };
  readonly polls: Polls;
  readonly captured: readonly Captured[];
}

/** Resolves when the load is through and all that was struck is back. */
async function strike(
  { cluster, outages, effects }: World,
  { seed, seconds }: ChaosOptions,
  journal: Journal,
  { load, polls, captured }: Targets,
): Promise<void> {
  const random = createRandom(seed + 4);
  const replaySome = (count: number) => {
    const samples = Array.from({ length: count }, () => random.pick(captured));
    for (const sample of samples)
      if (sample !== undefined) void replay(sample, { cluster, journal }, random, false);
    return captured.length > 0 ? count : 0;
  };
  const field = {
    cluster,
    outages,
    effects,
    journal,
    random,
    seconds,
    cancelSome: polls.cancelSome,
    replaySome,
  };
  await Promise.all([load.sent, rage(field, createRandom(seed))]);
}

async function drain(polls: Polls, journal: Journal): Promise<void> {
  const startMs = journal.now();
  let last: readonly Job[] = [];
  while (polls.open.size > 0 && journal.now() < startMs + DRAIN_MS) {
    last = [...polls.open];
    await sleep(50);
  }
  // Why did this one take so long?
  if (journal.now() > startMs + LONG_DRAIN_MS)
    journal.note(['the last to end:', ...(last.at(-1)?.lines ?? [])].join('\n    '));
  for (const job of polls.open) journal.violate(`it has not ended ${DRAIN_MS} ms after the last fault`, job);
}

/** Notes how long each phase took. */
function phases(journal: Journal): (name: string) => void {
  let beganMs = journal.now();
  journal.count('seconds: start', beganMs / 1000);
  return (name) => {
    journal.count(`seconds: ${name}`, (journal.now() - beganMs) / 1000);
    journal.note(`the end of: ${name}`);
    beganMs = journal.now();
  };
}

function tellProgress({ onProgress }: ChaosOptions, journal: Journal, polls: Polls, over: AbortSignal): void {
  const timer = setInterval(() => {
    const acknowledged = journal.counts.get('jobs acknowledged') ?? 0;
    onProgress?.(
      `${(journal.now() / 1000).toFixed(0)} s: ${acknowledged} jobs acknowledged, ${polls.open.size} open, ` +
        `${journal.violations.length} violations; ${journal.timeline.at(-1)?.trim() ?? 'no fault yet'}`,
    );
  }, PROGRESS_MS);
  over.addEventListener('abort', () => clearInterval(timer));
}
