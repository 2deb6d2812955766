import { setTimeout as sleep } from 'node:timers/promises';
import { JOB_LIMITS } from '../../src/limits.ts';
import type { Random } from '../support/random.ts';
import type { Cluster } from './cluster.ts';
import type { Member } from './member.ts';
import type { Effects } from './effects.ts';
import type { Journal } from './journal.ts';
import { LONG, LONG_JOB_MS } from './load.ts';
import type { Outages } from './outages.ts';

/** What can be done to the run. */
export interface Field {
  readonly cluster: Cluster;
  readonly outages: Outages;
  readonly effects: Effects;
  readonly journal: Journal;
  readonly random: Random;
  /** How long faults strike. */
  readonly seconds: number;
  /** Cancels some jobs; how many it found. */
  cancelSome(count: number): number;
  /** Sends captured requests again; how many it found. */
  replaySome(count: number): number;
}

/** How often there is a chance for each kind. */
const TICK_MS = 250;
/** A run of this length or more meets every chance in full. */
const FULL_DENSITY_SECONDS = 60;

interface Fault {
  /** At each tick. */
  readonly chance: number;
  /** By when, as a part of the run, it must have happened once: what takes long comes early. */
  readonly onceBy: number;
  /** How long it lasts at least: once more only if the run is not over by then. */
  readonly lastsMs?: number;
  /** Resolves when all is as before. `null`: there is nothing now that this could happen to. */
  strike(field: Field): Promise<unknown> | null;
}

/** How long a worker is frozen if nobody takes its jobs over: above its lease and the time until somebody looks. */
const FREEZE_MS = JOB_LIMITS.leaseMs * 2;
/** The jobs that it is frozen with have begun this short a time ago: they are still running. */
const FRESH_MS = LONG_JOB_MS[0] / 2;
/** From a moment to more than any call of a service may take; in a short run only a part of it. */
const SERVICE_FREEZE_MS = [500, 6_000] as const;
const SERVICE_FREEZE_PART = 0.2;
const DOWN_MS = [0, 1_500] as const;

const FAULTS = {
  'worker killed': {
    chance: 0.04,
    onceBy: 0.2,
    strike: ({ cluster, ...field }) => killOne(cluster.workers, field),
  },
  'replica killed': {
    chance: 0.04,
    onceBy: 0.4,
    strike: ({ cluster, ...field }) => killOne(cluster.replicas, field),
  },
  'worker frozen': { chance: 0.025, onceBy: 0.2, lastsMs: JOB_LIMITS.leaseMs, strike: freezeOne },
  'database killed': { chance: 0.012, onceBy: 0.8, strike: (field) => killService(field, 'database') },
  'Redis killed': { chance: 0.012, onceBy: 0.4, strike: (field) => killService(field, 'Redis') },
  'database frozen': { chance: 0.005, onceBy: 0.6, strike: (field) => freezeService(field, 'database') },
  'Redis frozen': { chance: 0.005, onceBy: 0.8, strike: (field) => freezeService(field, 'Redis') },
  'jobs cancelled': {
    chance: 0.4,
    onceBy: 0.8,
    strike: ({ cancelSome, random }) => inPassing(cancelSome(random.integer(1, 15))),
  },
  'requests replayed': {
    chance: 0.4,
    onceBy: 0.8,
    strike: ({ replaySome, random }) => inPassing(replaySome(random.integer(1, 30))),
  },
} satisfies Record<string, Fault>;

/**
 * At each tick each kind of fault happens or not, as the seed says; whatever the seed says, each kind happens if it
 * can. Resolves when everything that was killed or frozen is back.
 *
 * @param dice what happens when; to whom and for how long, the field's own random choices say
 */
export async function rage(field: Field, dice: Random): Promise<void> {
  const { journal, seconds } = field;
  const ticks = Math.round((seconds * 1000) / TICK_MS);
  // All of it at once, and again and again, is more than a short run can recover from.
  const density = Math.min(1, seconds / FULL_DENSITY_SECONDS);
  const kinds = Object.entries<Fault>(FAULTS).map(([name, fault]) => {
    return { name, fault, due: dice.integer(1, Math.ceil(ticks * fault.onceBy)), isDone: false };
  });
  const pending: Promise<unknown>[] = [];
  for (let tick = 1; tick <= ticks; tick++) {
    await sleep(TICK_MS);
    for (const kind of kinds) {
      const { name, fault, due, isDone } = kind;
      const isDrawn =
        dice.chance(fault.chance * density) && tick * TICK_MS + (fault.lastsMs ?? 0) <= seconds * 1000;
      const struck = isDrawn || (!isDone && tick >= due) ? fault.strike(field) : null;
      if (struck === null) continue;
      kind.isDone = true;
      journal.count(`faults: ${name}`);
      pending.push(struck.catch((error: unknown) => journal.violate(`${name}: ${String(error)}`)));
    }
  }
  await Promise.all(pending);
}

type Place = Omit<Field, 'cluster'>;

function killOne(members: readonly Member[], { random, journal }: Place): Promise<void> | null {
  // Seldom a frozen one: it is to see what has become of its jobs.
  const victims = members.filter(({ isServing, isFrozen }) => isServing && (!isFrozen || random.chance(0.1)));
  const victim = random.pick(victims);
  if (victim === undefined) return null;
  journal.note(`${victim.name} (${victim.pid}): killed${victim.isFrozen ? ' while frozen' : ''}`);
  return victim.kill();
}

/** Freezes one in the middle of a long job, and thaws it while somebody else is at that job. */
function freezeOne({ cluster, effects, random, journal }: Field): Promise<void> | null {
  effects.read();
  const free = cluster.workers.filter(({ isServing, isFrozen }) => isServing && !isFrozen);
  const victim = random.pick(free.filter(({ pid }) => longJobsOf(pid, effects).length > 0));
  // Somebody must be left to take its jobs over.
  if (victim === undefined || free.length === 1) return null;
  const { name, pid } = victim;
  const jobs = longJobsOf(pid, effects);
  journal.note(`${name} (${pid}): frozen with ${jobs.map(({ requestId }) => requestId).join(', ')}`);
  victim.freeze();
  return thawWhenTakenOver(victim, jobs, effects, journal);
}

interface HeldJob {
  readonly requestId: string;
  readonly fence: number;
}

function longJobsOf(pid: number | null, { starts }: Effects): HeldJob[] {
  const sinceMs = Date.now() - FRESH_MS;
  return [...starts].flatMap(([requestId, attempts]) => {
    const last = attempts.at(-1);
    const isHeld = last?.pid === pid && last.atMs > sinceMs && requestId.includes(`-${LONG}-`);
    return isHeld ? [{ requestId, fence: last.fence }] : [];
  });
}

async function thawWhenTakenOver(
  victim: Member,
  jobs: readonly HeldJob[],
  effects: Effects,
  journal: Journal,
): Promise<void> {
  const { name, pid } = victim;
  const endMs = journal.now() + FREEZE_MS;
  let taken: HeldJob | undefined;
  while (taken === undefined && journal.now() < endMs && victim.pid === pid) {
    await sleep(50);
    effects.read();
    taken = jobs.find(({ requestId, fence }) => (effects.starts.get(requestId)?.at(-1)?.fence ?? 0) > fence);
  }
  if (victim.pid !== pid) return;
  victim.thaw();
  if (taken !== undefined) journal.count('thawed while another was at its job');
  journal.note(`${name} (${pid}): thawed${taken === undefined ? '' : `, another is at ${taken.requestId}`}`);
}

function killService({ outages, random }: Field, name: string): Promise<void> | null {
  const target = outages.targets.find((each) => each.name === name);
  return target?.isUp === true ? target.kill(random.integer(...DOWN_MS)) : null;
}

function freezeService({ outages, random, seconds }: Field, name: string): Promise<void> | null {
  const target = outages.targets.find((each) => each.name === name);
  const [leastMs, mostMs] = SERVICE_FREEZE_MS;
  const ms = random.integer(leastMs, Math.min(mostMs, seconds * 1000 * SERVICE_FREEZE_PART));
  return target?.isUp === true ? target.freeze(ms) : null;
}

/** Nothing has to come back. */
function inPassing(count: number): Promise<void> | null {
  return count > 0 ? Promise.resolve() : null;
}
