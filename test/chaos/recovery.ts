import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '../support/random.ts';
import { callOnce } from './call.ts';
import type { Client } from './client.ts';
import type { Cluster } from './cluster.ts';
import type { Effects } from './effects.ts';
import type { Job } from './job.ts';
import { type Load, startJob } from './load.ts';
import type { Journal } from './journal.ts';

export interface RecoveryOptions {
  readonly cluster: Cluster;
  readonly clients: readonly Client[];
  readonly journal: Journal;
  readonly random: Random;
  readonly effects: Effects;
  /** More jobs than all workers run at once, so that each must take some. */
  readonly jobsAtOnce: number;
  readonly onAcknowledged: (job: Job) => void;
}

/** After the last fault everything must work again within this time. */
const RECOVERY_MS = 30_000;

/**
 * Every replica says that it is ready, accepts a job and answers a call, and every worker runs a job that came
 * after the last fault.
 *
 * @returns how long that took, in milliseconds, and what was asked for meanwhile
 */
export async function awaitRecovery(
  options: RecoveryOptions,
): Promise<Pick<Load, 'jobs' | 'calls'> & { readonly tookMs: number }> {
  const { cluster, clients, journal, random, effects, jobsAtOnce, onAcknowledged } = options;
  const startMs = journal.now();
  const isLate = () => journal.now() - startMs > RECOVERY_MS;
  const jobs: Job[] = [];
  const calls: Load['calls'][number][] = [];

  for (const replica of cluster.replicas) {
    while (!(await isReady(replica.url)) && !isLate()) await sleep(100);
    if (isLate()) journal.violate(`${replica.name} is not ready ${RECOVERY_MS} ms after the last fault`);
  }
  for (let round = 1; ; round++) {
    const started = await Promise.all(
      Array.from({ length: jobsAtOnce }, async (_, n) => {
        const client = clients[n % clients.length];
        if (client === undefined) return null;
        if (n < clients.length)
          calls.push(await callOnce(client, `${client.id}-after-call-${round}-${n}`, random, journal));
        return startJob(client, `${client.id}-after-${round}-${n}`, random, journal);
      }),
    );
    for (const job of started) {
      if (job === null) continue;
      jobs.push(job);
      onAcknowledged(job);
    }
    await sleep(500);
    const idle = idleWorkers(cluster, jobs, effects);
    if (idle.length === 0) break;
    if (!isLate()) continue;
    journal.violate(`${idle.join(', ')} took no job within ${RECOVERY_MS} ms after the last fault`);
    break;
  }
  return { jobs, calls, tookMs: journal.now() - startMs };
}

async function isReady(url: string): Promise<boolean> {
  try {
    return (await fetch(new URL('/readyz', url), { signal: AbortSignal.timeout(5_000) })).ok;
  } catch {
    return false;
  }
}

/** Those that have begun none of these jobs. */
function idleWorkers({ workers }: Cluster, jobs: readonly Job[], effects: Effects): string[] {
  effects.read();
  const { starts } = effects;
  const busy = new Set(jobs.flatMap(({ requestId }) => (starts.get(requestId) ?? []).map(({ pid }) => pid)));
  return workers.filter(({ pid }) => pid === null || !busy.has(pid)).map(({ name }) => name);
}
