import { JOB_LIMITS } from '../../limits.ts';
import { type JsonObject, parseJson } from '../../wire/index.ts';
import { toAnswers, toColumn, toQuestions } from '../dialogue.ts';
import type { DueJob, JobRecord, JobState, JobSummary, NewJob } from '../record-store.ts';
import type { Row } from './database.ts';

/** What never changes about a job and only its worker wants to know; one column of JSON text. */
export interface JobSpec {
  readonly args: JsonObject;
  readonly attempts: number;
  readonly backoffMs: number;
}

/** New jobs as `create_jobs` reads them (migrations.ts), and the cap of each of their clients. */
export function toNewRows(jobs: readonly NewJob[]) {
  const ranks = new Map<string, number>();
  const caps = new Map<string, number>();
  const rows = jobs.map((job) => {
    const { clientId } = job.request;
    const rank = ranks.get(clientId) ?? 0;
    ranks.set(clientId, rank + 1);
    caps.set(clientId, Math.max(caps.get(clientId) ?? 0, capOf(job)));
    return toNewRow(job, rank);
  });
  return { rows, caps };
}

function toNewRow(job: NewJob, rank: number): object {
  const { request, args, attempts, backoffMs, deadlineMs, createdMs } = job;
  const spec: JobSpec = { args, attempts, backoffMs };
  return {
    rank,
    client_id: request.clientId,
    request_id: request.requestId,
    digest: request.digest,
    deadline_ms: deadlineMs,
    due_ms: Math.min(deadlineMs, createdMs + JOB_LIMITS.firstLookMs),
    id: job.id,
    tool: job.tool,
    created_ms: createdMs,
    retention_ms: job.retentionMs,
    spec: JSON.stringify(spec),
    answers: toColumn(job.answers),
    max_open: capOf(job),
  };
}

function capOf({ maxOpenJobs }: NewJob): number {
  return Math.min(maxOpenJobs, MAX_INTEGER);
}

const MAX_INTEGER = 2_147_483_647;

export function toSummary(row: Row): JobSummary {
  return {
    id: String(row['id']),
    clientId: String(row['client_id']),
    requestId: String(row['request_id']),
    tool: String(row['tool']),
    // Only ever written by the statements of job-attempts.ts.
    state: row['state'] as JobState,
    revision: Number(row['revision']),
    progress: toObject(row['progress']),
    // Text as JSON: it may hold U+0000, which the database does not.
    error: row['error'] === null ? null : String(parseJson(String(row['error']))),
    createdMs: Number(row['created_ms']),
    updatedMs: Number(row['updated_ms']),
  };
}

export function toRecord(row: Row): JobRecord {
  const summary = toSummary(row);
  const partial = toObject(row['partial']);
  const progress = partial === null ? summary.progress : { ...summary.progress, ...partial };
  const questions = toQuestions(row['questions']);
  return {
    ...summary,
    progress,
    questions,
    answers: toAnswers(row['answers']),
    result: toObject(row['result']),
  };
}

export function toDueJob(row: Row): DueJob {
  return {
    id: String(row['id']),
    tool: String(row['tool']),
    priority: Number(row['priority']),
    // As the statement says.
    why: row['why'] as DueJob['why'],
  };
}

function toObject(text: unknown): JsonObject | null {
  // Written by JSON.stringify, from objects.
  return typeof text === 'string' ? (parseJson(text) as JsonObject) : null;
}
