import { ProtocolError } from '../../errors/index.ts';
import type { Answers } from '../../tools/index.ts';
import { NONE } from '../../tools/none.ts';
import { createChanges } from '../changes.ts';
import { answering, tooLarge } from '../dialogue.ts';
import { jobIdPrefix } from '../job-id.ts';
import { priorityOf } from '../priority.ts';
import {
  type Creation,
  type DueJob,
  isTerminal,
  type JobRecord,
  type JobRecords,
  type JobState,
  type JobSummary,
  type NewJob,
} from '../record-store.ts';
import type { Database, Row } from './driver.ts';
import { createAttempts } from './job-attempts.ts';
import { createChange, endValues } from './job-change.ts';
import { type JobRow, type JobRows, toObject, toRequest, toState } from './job-rows.ts';
import type { OpenJobs } from './open-jobs.ts';
import type { JobQueue } from './queue.ts';
import type { RequestStatements } from './requests.ts';
import type { Turn } from './turn.ts';

export function createJobRecords(
  db: Database,
  turn: Turn,
  rows: JobRows,
  openJobs: OpenJobs,
  queue: Pick<JobQueue, 'onCreated'>,
  requests: Pick<RequestStatements, 'find'>,
): JobRecords {
  const changes = createChanges();
  const change = createChange(turn, rows, openJobs, changes);

  function create(job: NewJob): Creation {
    const { clientId, requestId } = job.request;
    const known = rows.findByRequest(clientId, requestId);
    if (known !== null) return { outcome: 'known', request: toRequest(known) };
    const direct = requests.find(clientId, requestId);
    if (direct !== null) return { outcome: 'known', request: direct };
    const open = openJobs.count(clientId);
    if (open >= job.maxOpenJobs) return { outcome: 'full' };
    const priority = priorityOf(open);
    rows.insert(newRow(job, priority));
    openJobs.add(clientId, 1);
    queue.onCreated?.({ id: job.id, tool: job.tool });
    return { outcome: 'created', priority };
  }

  function answer(id: string, given: Answers, nowMs: number): JobState | ProtocolError | null {
    const row = rows.find(id);
    if (row === null) return null;
    const dialogue = answering(row, given);
    const refusal = dialogue === null ? null : tooLarge(dialogue.answers);
    if (refusal !== null) return refusal;
    if (dialogue !== null) change(row, nowMs, dialogue);
    return row.state;
  }

  return {
    ...createReads(db, turn, rows),
    ...createAttempts(turn, rows, change),
    create(job) {
      const refusal = tooLarge(job.answers);
      return refusal === null ? turn.write(() => create(job)) : Promise.reject(refusal);
    },
    countOpen: async (clientId, limit) => Math.min(openJobs.count(clientId), limit),
    async answer(id, answers, nowMs) {
      // An error that left the turn would take all of it with it.
      const told = await turn.write(() => answer(id, answers, nowMs));
      if (told instanceof ProtocolError) throw told;
      return told;
    },
    end: (id, end, nowMs) =>
      turn.write(() => {
        const row = rows.find(id);
        if (row === null) return null;
        if (!isTerminal(row.state))
          change(row, nowMs, { ...endValues(row, end, nowMs), fence: row.fence + 1 });
        return row.state;
      }),
    changed(id, afterRevision, signal) {
      // Look and wait in one go: a change between the caller's read and now must not be missed.
      const row = rows.find(id);
      const isNews = row === null || row.revision > afterRevision;
      return isNews ? Promise.resolve() : changes.next(id, afterRevision, signal);
    },
    onChange: (listener) => changes.listen(listener),
    remove: (id) =>
      turn.write(() => {
        const removed = rows.remove(id);
        if (removed !== null && !isTerminal(removed.state)) openJobs.add(removed.clientId, -1);
      }),
  };
}

/** What a list shows; the arguments and partial results of a hundred jobs would not fit into memory. */
const SUMMARY =
  "id, client_id, request_id, tool, created_ms, state, revision, updated_ms, error, json_remove(progress, '$.partial') AS progress";

function createReads(db: Database, turn: Turn, rows: JobRows): Pick<JobRecords, 'get' | 'list' | 'due'> {
  const list = db.prepare(`
    SELECT ${SUMMARY} FROM jobs WHERE id > ? AND id < ? AND client_id = ? ORDER BY id DESC LIMIT ?`);
  const listByState = db.prepare(`
    SELECT ${SUMMARY} FROM jobs WHERE id > ? AND id < ? AND client_id = ? AND state = ? ORDER BY id DESC LIMIT ?`);
  const due = db.prepare(`
    SELECT id, tool, priority, state FROM jobs WHERE due_ms <= ? ORDER BY due_ms LIMIT ?`);
  return {
    get: (id) =>
      turn.read(() => {
        const row = rows.find(id);
        return row === null ? null : toRecord(row);
      }),
    list: ({ clientId, state, after, limit }) =>
      turn.read(() => {
        const prefix = jobIdPrefix(clientId);
        const range = [prefix, after ?? `${prefix}~`, clientId] as const;
        const found =
          state === undefined
            ? rows.select(list, ...range, limit)
            : rows.select(listByState, ...range, state, limit);
        return found.map(toSummary);
      }),
    due: (nowMs, limit) => turn.read(() => rows.select(due, nowMs, limit).map(toDueJob)),
  };
}

function toDueJob(row: Row): DueJob {
  return {
    id: String(row['id']),
    tool: String(row['tool']),
    priority: Number(row['priority']),
    why: isTerminal(toState(row)) ? 'old' : 'late',
  };
}

/** Created and queued in one step: no crash can come between. */
function newRow({ id, request, ...job }: NewJob, priority: number): JobRow {
  const { tool, args, answers, attempts, backoffMs, deadlineMs, retentionMs, createdMs } = job;
  return {
    id,
    clientId: request.clientId,
    requestId: request.requestId,
    tool,
    createdMs,
    spec: { args, digest: request.digest, attempts, backoffMs, deadlineMs, retentionMs },
    state: 'queued',
    priority,
    visibleMs: createdMs,
    dueMs: deadlineMs,
    fence: 0,
    attempt: 0,
    revision: 1,
    updatedMs: createdMs,
    progress: null,
    questions: NONE,
    answers,
    result: null,
    error: null,
  };
}

function toSummary(row: Row): JobSummary {
  return {
    id: String(row['id']),
    clientId: String(row['client_id']),
    requestId: String(row['request_id']),
    tool: String(row['tool']),
    state: toState(row),
    revision: Number(row['revision']),
    progress: toObject(row['progress']),
    error: row['error'] === null ? null : String(row['error']),
    createdMs: Number(row['created_ms']),
    updatedMs: Number(row['updated_ms']),
  };
}

function toRecord(row: JobRow): JobRecord {
  const { id, clientId, requestId, tool, state, revision, progress, questions, answers, result, error } = row;
  const { createdMs, updatedMs } = row;
  const named = { id, clientId, requestId, tool, state, revision };
  return { ...named, progress, questions, answers, result, error, createdMs, updatedMs };
}
