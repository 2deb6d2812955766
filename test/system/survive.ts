import { expect } from 'vitest';
import type { JsonObject } from '../../src/wire/index.ts';
import { type Answer, type Caller, jobIdOf } from '../support/caller.ts';
import type { AcknowledgedCall, AcknowledgedJob, Captured } from './load.ts';

/** Every captured transmission is refused as `replayed`, signed, and gets no result. */
export async function expectReplaysRefused(url: string, captured: readonly Captured[]): Promise<void> {
  const answers = await inTurn(captured, ({ caller, bytes }) => caller.send(url, bytes));
  const accepted = answers.filter(
    ({ code, signed, message }) => !(code === 'replayed' && signed && message.result === null),
  );
  expect(accepted).toEqual([]);
}

/** Every acknowledged job ends `done`, with the result that only it was asked for. */
export async function expectJobsDone(url: string, jobs: ReadonlyMap<string, AcknowledgedJob>): Promise<void> {
  const ends = await inTurn([...jobs], async ([requestId, { caller, jobId }]) => {
    const { ok, status, result, error } = (await pollUntilEnded(url, caller, jobId)).message;
    return [requestId, { ok, status, result, error }];
  });
  const expected = [...jobs].map(([requestId, { result }]) => [
    requestId,
    { ok: true, status: 'done', result, error: null },
  ]);
  expect(Object.fromEntries(ends)).toEqual(Object.fromEntries(expected));
  expect(new Set([...jobs.values()].map(({ jobId }) => jobId)).size).toBe(jobs.size);
}

/** No direct call ran twice, those that were acknowledged ran, and a retry gets their recorded outcome. */
export async function expectCallsOnce(
  url: string,
  calls: ReadonlyMap<string, AcknowledgedCall>,
  effects: readonly string[],
): Promise<void> {
  const ran = new Set<string>();
  const twice = effects.filter((requestId) => ran.size === ran.add(requestId).size);
  expect(twice).toEqual([]);
  expect([...calls.keys()].filter((requestId) => !ran.has(requestId))).toEqual([]);

  const retries = await inTurn([...calls], async ([requestId, { caller, args }]) => {
    const { message } = await caller.send(url, caller.request('append_line', args, requestId));
    return [requestId, message.result];
  });
  const recorded = [...calls].map(([requestId, { result }]) => [requestId, result]);
  expect(Object.fromEntries(retries)).toEqual(Object.fromEntries(recorded));
}

/** Starts a job and waits until it has shown progress: it runs, and will not have ended soon. */
export async function startLongJob(
  caller: Caller,
  url: string,
  requestId: string,
  job: LongJob,
): Promise<AcknowledgedJob> {
  const { message } = await caller.send(url, caller.request(job.tool, job.args, requestId));
  const jobId = jobIdOf(message);
  for (;;) {
    const poll = await caller.send(url, caller.request('poll_job', { job_id: jobId, wait_ms: 10_000 }));
    if (poll.message.result?.['progress'] !== null) return { caller, jobId, result: job.result };
  }
}

interface LongJob {
  readonly tool: string;
  readonly args: JsonObject;
  readonly result: object;
}

async function pollUntilEnded(url: string, caller: Caller, jobId: string): Promise<Answer> {
  for (;;) {
    const answer = await caller.send(url, caller.request('poll_job', { job_id: jobId, wait_ms: 10_000 }));
    if (answer.message.status !== 'accepted' && answer.message.status !== 'running') return answer;
  }
}

/** All of them, 32 at a time. */
async function inTurn<Item, Result>(
  items: readonly Item[],
  use: (item: Item) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = [];
  const rest = items.entries();

  async function takeRest(): Promise<void> {
    for (const [index, item] of rest) results[index] = await use(item);
  }

  await Promise.all(Array.from({ length: 32 }, takeRest));
  return results;
}
