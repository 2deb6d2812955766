import { setTimeout as sleep } from 'node:timers/promises';
import { jobIdOf } from '../support/caller.ts';
import { createRandom, type Random } from '../support/random.ts';
import { type Call, callOnce } from './call.ts';
import type { Client } from './client.ts';
import { type Job, newJob, tell, type WorkArgs } from './job.ts';
import type { Journal } from './journal.ts';

/** Several clients that start jobs and make calls, whatever happens. */
export interface Load {
  /** Acknowledged ones, in the order of their acknowledgement. */
  readonly jobs: readonly Job[];
  readonly calls: readonly Call[];
  /** Resolves when each job is acknowledged and each call answered. @throws GaveUp when the run is over before */
  readonly sent: Promise<void>;
}

export interface LoadOptions {
  readonly clients: readonly Client[];
  readonly count: number;
  /** The jobs are spread over this time; later ones come as fast as they can. */
  readonly seconds: number;
  readonly seed: number;
  readonly journal: Journal;
  readonly onAcknowledged: (job: Job) => void;
}

/** Calls of one client that are under way at once. */
const HANDS = 12;
/** For each job. */
const CALL_CHANCE = 0.2;
const AGAIN_CHANCE = 0.1;
const JOB_MS = [0, 300] as const;
/** Some last long enough to be caught in the act, and have this in their request_id. */
export const LONG = 'long';
export const LONG_JOB_MS = [2_400, 4_500] as const;
const LONG_CHANCE = 0.03;

export function startLoad(options: LoadOptions): Load {
  const { clients, count, seconds, seed, journal, onAcknowledged } = options;
  const jobs: Job[] = [];
  const calls: Call[] = [];
  const startMs = journal.now();
  let taken = 0;

  async function work(client: Client, random: Random): Promise<void> {
    while (taken < count) {
      const n = taken++;
      const dueMs = startMs + (n / count) * seconds * 1000;
      await sleep(Math.max(0, dueMs - journal.now()));
      const isLong = random.chance(LONG_CHANCE);
      const requestId = `${client.id}-${isLong ? LONG : 'job'}-${n}`;
      const job = await startJob(client, requestId, random, journal, isLong ? LONG_JOB_MS : JOB_MS);
      if (job !== null) {
        jobs.push(job);
        onAcknowledged(job);
      }
      if (random.chance(CALL_CHANCE))
        calls.push(await callOnce(client, `${client.id}-call-${n}`, random, journal));
    }
  }

  const hands = clients.flatMap((client) => Array.from({ length: HANDS }, () => client));
  const all = hands.map((client, hand) => work(client, createRandom(seed + hand)));
  return {
    jobs,
    calls,
    sent: Promise.all(all).then(() => {}),
  };
}

/** Some are retried after they were acknowledged: they must be the same job. @returns `null` when it is refused */
export async function startJob(
  client: Client,
  requestId: string,
  random: Random,
  journal: Journal,
  lastsMs: readonly [number, number] = JOB_MS,
): Promise<Job | null> {
  const job = newJob(client, requestId, argsOf(requestId, random, lastsMs));
  for (let asked = 0; asked === 0 || (asked < 5 && random.chance(AGAIN_CHANCE)); asked++) {
    const { answer, replica } = await client.ask({ tool: 'work', args: job.args, requestId, random });
    const { status, error } = answer.message;
    tell(job.lines, journal, replica.name, `asked for: ${error ?? status}`);
    if (status !== 'accepted') {
      journal.violate(`a job is not accepted: ${error ?? status}`, job);
      return null;
    }
    const id = jobIdOf(answer.message);
    if (job.jobId !== null && job.jobId !== id) journal.violate(`a retry got another job, ${id}`, job);
    job.jobId ??= id;
  }
  journal.count('jobs acknowledged');
  return job;
}

function argsOf(requestId: string, random: Random, lastsMs: readonly [number, number]): WorkArgs {
  const draw = random.integer(1, 100);
  const how = draw <= 5 ? 'fails' : draw <= 15 ? 'fails_once' : 'ends';
  const ms = random.integer(...lastsMs);
  // Goes on to its end after it was told to stop: what it says then must not count.
  const stubborn = lastsMs === LONG_JOB_MS || random.chance(0.5);
  return { text: `${requestId} ${random.integer(0, 1e9)}`, ms, how, stubborn };
}
