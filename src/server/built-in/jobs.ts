import { z } from 'zod';
import type { Dispatcher } from '../../jobs/index.ts';
import { SERVER_LIMITS, TOOL_LIMITS } from '../../limits.ts';
import {
  isTerminal,
  type JobRecord,
  type JobSummary,
  type Outcome,
  type RecordStore,
} from '../../store/index.ts';
import type { Logger } from '../../tools/index.ts';
import type { JsonObject } from '../../wire/index.ts';
import { accepted, completed, failed } from '../outcome.ts';
import type { KeyRing } from '../clients/key-ring.ts';
import { ownJob, ownJobChanged } from '../own-job.ts';
import type { BuiltIn } from '../registry.ts';
import { answerJob } from './answer-job.ts';
import { refuseEnded } from '../clients/terms.ts';
import { defineBuiltIn } from './define.ts';
import { JOB_ID, STATE } from './job-schemas.ts';

/** `poll_job`, `answer_job`, `cancel_job` and `list_jobs` (docs/protocol.md §6, §7). */
export function jobTools(
  { jobs }: RecordStore,
  dispatcher: Dispatcher,
  log: Logger,
  now: () => number,
  find: KeyRing['find'],
): BuiltIn[] {
  return [
    pollJob(jobs, now, find),
    answerJob(jobs, now),
    cancelJob(jobs, dispatcher, log, now),
    listJobs(jobs),
  ];
}

type Jobs = RecordStore['jobs'];

function pollJob(jobs: Jobs, now: () => number, find: KeyRing['find']): BuiltIn {
  return defineBuiltIn({
    name: 'poll_job',
    description: 'How a job stands: accepted, running with its progress, done with its result, or its error.',
    annotations: { title: 'Poll a job', readOnlyHint: true },
    input: z.strictObject({
      job_id: JOB_ID,
      wait_ms: z
        .int()
        .min(0)
        .max(SERVER_LIMITS.maxWaitMs)
        .default(0)
        .describe('Hold the reply until something changes, at most this long'),
    }),
    output: z
      .looseObject({})
      .describe('The output of the tool, or {job_id, progress, poll_after_ms, questions?} before it ends'),
    async answer({ job_id, wait_ms }, { client, signal }) {
      const job = await ownJobChanged(jobs, job_id, client.id, wait_ms, [signal]);
      // It may have been revoked while it waited.
      refuseEnded(find(client.id) ?? client, now());
      return outcomeOfJob(job);
    },
  });
}

function cancelJob(jobs: Jobs, dispatcher: Dispatcher, log: Logger, now: () => number): BuiltIn {
  return defineBuiltIn({
    name: 'cancel_job',
    description: 'Ends a job that has not ended yet; says how it stands afterwards.',
    annotations: { title: 'Cancel a job', idempotentHint: true, destructiveHint: true },
    input: z.strictObject({ job_id: JOB_ID }),
    output: z.strictObject({ job_id: z.string(), status: STATE }),
    async answer({ job_id }, { client }) {
      const job = await ownJob(jobs, job_id, client.id);
      const end = { state: 'cancelled', result: null, error: 'cancelled: by the client' } as const;
      const state = await jobs.end(job_id, end, now());
      // The record has ended, and that counts: whoever gets the job from the queue finds it so.
      dispatcher.remove(job).catch((error: unknown) => {
        log.warn({ err: error, job_id }, 'a cancelled job stays in the queue');
      });
      return completed({ job_id, status: state ?? 'cancelled' });
    },
  });
}

function listJobs(jobs: Jobs): BuiltIn {
  return defineBuiltIn({
    name: 'list_jobs',
    description: 'Your jobs, newest first.',
    annotations: { title: 'List jobs', readOnlyHint: true },
    input: z.strictObject({
      status: STATE.optional(),
      cursor: JOB_ID.optional().describe('next_cursor of the page before'),
      limit: z.int().min(1).max(SERVER_LIMITS.pageSize).default(SERVER_LIMITS.pageSize),
    }),
    output: z.strictObject({
      jobs: z.array(
        z.strictObject({
          job_id: z.string(),
          tool: z.string(),
          status: STATE,
          progress: z.looseObject({}).nullable(),
          error: z.string().nullable(),
          created_ms: z.int(),
          updated_ms: z.int(),
        }),
      ),
      next_cursor: z.string().nullable(),
    }),
    async answer({ status, cursor, limit }, { client }) {
      const filter = {
        ...(status === undefined ? {} : { state: status }),
        ...(cursor === undefined ? {} : { after: cursor }),
      };
      // One more than asked for tells whether there is a next page.
      const found = await jobs.list({ clientId: client.id, limit: limit + 1, ...filter });
      const page = fitting(found.slice(0, limit).map(summaryOf));
      const last = found.length > page.length ? page.at(-1) : undefined;
      return completed({ jobs: page, next_cursor: last?.job_id ?? null });
    },
  });
}

/** The table of §6: state of the record → reply. */
export function outcomeOfJob(job: JobRecord): Outcome {
  if (job.state === 'succeeded') return { ok: true, status: 'done', result: job.result ?? {}, error: null };
  if (isTerminal(job.state)) return failed(job.error ?? 'job_failed: no reason was recorded');
  const { result, ...outcome } = accepted(job.id);
  const standing: JsonObject = { ...result, ...progressAndQuestions(job) };
  return { ...outcome, status: job.state === 'queued' ? 'accepted' : 'running', result: standing };
}

/** One reply must carry both: a large `partial` is left out until the questions are answered. */
function progressAndQuestions({ progress, questions: asked }: JobRecord): JsonObject {
  if (Object.keys(asked).length === 0) return { progress };
  // The record keeps them as JSON.
  const questions = asked as unknown as JsonObject;
  if (Buffer.byteLength(JSON.stringify(progress)) <= TOOL_LIMITS.maxQuestionsBytes)
    return { progress, questions };
  const { partial: _large, ...small } = progress ?? {};
  return { progress: small, questions };
}

function summaryOf({ id, tool, state, progress, error, createdMs, updatedMs }: JobSummary) {
  return {
    job_id: id,
    tool,
    status: state,
    progress,
    error,
    created_ms: createdMs,
    updated_ms: updatedMs,
  };
}

/** As many as one reply can carry, at least one. */
function fitting<T extends object>(summaries: readonly T[]): readonly T[] {
  let bytes = 0;
  const end = summaries.findIndex((summary) => {
    bytes += Buffer.byteLength(JSON.stringify(summary));
    return bytes > SERVER_LIMITS.pageBytes;
  });
  return end === -1 ? summaries : summaries.slice(0, Math.max(1, end));
}
