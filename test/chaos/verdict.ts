import type { Random } from '../support/random.ts';
import type { Row } from './audit.ts';
import { type Call, retryOn } from './call.ts';
import type { Cluster } from './cluster.ts';
import type { Effects } from './effects.ts';
import { type Job, resultOf } from './job.ts';
import type { Journal, Story } from './journal.ts';
import { pollOnce } from './polls.ts';
import { type Captured, replay } from './replays.ts';

/** What is there when everything has ended. */
export interface Outcome {
  readonly cluster: Cluster;
  readonly journal: Journal;
  readonly jobs: readonly Job[];
  readonly calls: readonly Call[];
  readonly captured: readonly Captured[];
}

/** Requests under way at once. */
const AT_ONCE = 32;
const MAX_REPLAYS = 1_000;

/** Asks every replica for every job and call, and sends captured requests again. Nothing is down any more. */
export async function askEveryReplica(
  { cluster, journal, jobs, calls, captured }: Outcome,
  random: Random,
): Promise<void> {
  // Those of the run: what follows is captured too.
  const samples = Array.from({ length: Math.min(MAX_REPLAYS, captured.length) }, () => random.pick(captured));
  for (const replica of cluster.replicas) {
    await inTurn(jobs, async (job) => {
      const isOver = await pollOnce(job, random, journal, { replica });
      if (!isOver) journal.violate(`it has not ended (${replica.name})`, job);
    });
    await inTurn(calls, (call) => retryOn(replica, call, random, journal));
  }
  await inTurn(samples, async (sample) => {
    if (sample !== undefined) await replay(sample, { cluster, journal }, random, true);
  });
}

/** Every acknowledged job is in the database once, ended as its client was told, under the fence that did it. */
export function judgeRecords({ jobs, journal }: Outcome, rows: readonly Row[], effects: Effects): void {
  const byId = new Map(rows.map((row) => [row.id, row]));
  const ids = new Set<string | null>();
  for (const job of jobs) {
    const wrong = (what: string) => journal.violate(`the record: ${what}`, withRow(job, row));
    const row = byId.get(job.jobId ?? '');
    if (ids.size === ids.add(job.jobId).size) wrong('two jobs have its id');
    if (row === undefined) wrong('there is none');
    else judgeRecord(job, row, effects, wrong);
  }
  const asked = new Set(jobs.map(({ requestId }) => requestId));
  const strangers = rows.filter(({ request_id }) => !asked.has(request_id));
  for (const { id, request_id } of strangers)
    journal.violate(`the record: nobody asked for ${id}, request ${request_id}`);
}

function judgeRecord(job: Job, row: Row, { starts, ends }: Effects, wrong: (what: string) => void): void {
  if (row.client_id !== job.client.id || row.request_id !== job.requestId) wrong('of another request');
  const { status, result, error } = job.end ?? {};
  const state = status === 'done' ? 'succeeded' : error?.startsWith('cancelled:') ? 'cancelled' : 'failed';
  if (row.open || row.state !== state) wrong(`it is ${row.state}, its client was told ${state}`);
  if (JSON.stringify(row.result) !== JSON.stringify(result) || row.error !== error)
    wrong('the client was told something else');
  if (job.end === null || state !== 'succeeded') return;
  const { fence } = resultOf(job.end);
  if (fence !== row.fence) wrong(`the result is of fence ${fence}, the record is at ${row.fence}`);
  if (ends.get(job.requestId)?.includes(fence) !== true)
    wrong(`no attempt of fence ${fence} came to its end`);
  const attempts = (starts.get(job.requestId) ?? []).filter((start) => start.fence === fence);
  if (attempts.length !== 1) wrong(`${attempts.length} attempts had fence ${fence}`);
}

function withRow(job: Job, row: Row | undefined): Story {
  return { ...job, lines: [...job.lines, `           in the database: ${JSON.stringify(row)}`] };
}

/** No call ran twice, and those whose outcome was told ran. */
export function judgeEffects({ calls, journal }: Outcome, effects: Effects): void {
  for (const call of calls) {
    const runs = effects.calls.get(call.requestId) ?? 0;
    if (runs > 1 || (runs === 0 && call.outcome !== null)) journal.violate(`it ran ${runs} times`, call);
  }
}

/** How the run met its jobs: figures for the summary. */
export function countAttempts({ jobs, journal }: Outcome, { starts, ends }: Effects): void {
  for (const job of jobs) {
    const attempts = starts.get(job.requestId) ?? [];
    const wanted = job.args.how === 'fails_once' ? 2 : 1;
    if (attempts.length > wanted) journal.count('attempts begun again', attempts.length - wanted);
    const late = (ends.get(job.requestId) ?? []).filter((fence) => fence < lastFence(job, attempts)).length;
    journal.count('ends that came too late', late);
    const end = job.end?.error?.split(':', 1)[0] ?? job.end?.status ?? 'open';
    journal.count(`jobs: ${end}`);
  }
}

function lastFence({ end }: Job, attempts: readonly { readonly fence: number }[]): number {
  if (end?.status === 'done') return resultOf(end).fence;
  return Math.max(0, ...attempts.map(({ fence }) => fence));
}

/** All of them, some at a time. */
async function inTurn<Item>(items: readonly Item[], use: (item: Item) => Promise<void>): Promise<void> {
  const rest = items.values();

  async function takeRest(): Promise<void> {
    for (const item of rest) await use(item);
  }

  await Promise.all(Array.from({ length: AT_ONCE }, takeRest));
}
