import { type Changes, createChanges } from '../changes.ts';
import { jobIdPrefix } from '../job-id.ts';
import { priorityOf } from '../priority.ts';
import {
  type Attempt,
  type Creation,
  type DueJob,
  type Fence,
  isTerminal,
  type JobEnd,
  type JobRecord,
  type JobRecords,
  type JobSummary,
  type NewJob,
} from '../record-store.ts';
import type { Database, Row } from './driver.ts';
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

  return {
    ...createReads(db, turn, rows),
    ...createAttempts(turn, rows, change),
    create: (job) => turn.write(() => create(job)),
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

/** One change of a row that a client can see. */
type Change = (row: JobRow, nowMs: number, values: Partial<JobRow>) => void;

function createChange(turn: Turn, rows: JobRows, openJobs: OpenJobs, changes: Changes): Change {
  /** Rows that changed in this turn. */
  let hints: Set<JobRow> | null = null;

  /** Tells of the row once, when this turn is on disk. */
  function hint(row: JobRow): void {
    if (hints === null) {
      const ofThisTurn = new Set<JobRow>();
      hints = ofThisTurn;
      turn.onEnd(() => {
        hints = null;
      });
      turn.afterCommit(() => {
        for (const { id, state, revision } of ofThisTurn) changes.emit(id, state, revision);
      });
    }
    hints.add(row);
  }

  return (row, nowMs, values) => {
    Object.assign(row, values);
    if (isTerminal(row.state)) openJobs.add(row.clientId, -1);
    row.revision++;
    row.updatedMs = nowMs;
    rows.touch(row);
    hint(row);
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

/** The verbs of a worker: begin an attempt, then write under its fence. */
function createAttempts(
  turn: Turn,
  rows: JobRows,
  change: Change,
): Pick<JobRecords, 'begin' | 'progress' | 'finish' | 'release'> {
  /** Changes the row if the fence is that of its newest attempt and the attempt still runs. */
  function changeHeld(
    fence: Fence,
    nowMs: number,
    values: (row: JobRow) => Partial<JobRow>,
  ): Promise<boolean> {
    return turn.write(() => {
      const row = rows.find(fence.jobId);
      if (row === null || row.fence !== fence.number || row.state !== 'running') return false;
      change(row, nowMs, values(row));
      return true;
    });
  }

  function beginAttempt(id: string, nowMs: number): Attempt | null {
    const row = rows.find(id);
    if (row === null || isTerminal(row.state)) return null;
    change(row, nowMs, { state: 'running', fence: row.fence + 1, attempt: row.attempt + 1 });
    return toAttempt(row);
  }

  return {
    begin(id, nowMs) {
      // A job that nobody has been promised yet may start before it is on disk: if it brings the process
      // down there is nothing to run again. Any other attempt must be counted first, or a job that
      // crashes its worker would be taken up for ever.
      if (!rows.isNew(id)) return turn.write(() => beginAttempt(id, nowMs));
      let attempt: Attempt | null = null;
      turn.enqueue(() => {
        attempt = beginAttempt(id, nowMs);
      });
      return Promise.resolve(attempt);
    },
    progress: (fence, progress, nowMs) => changeHeld(fence, nowMs, () => ({ progress })),
    finish: (fence, end, nowMs) => changeHeld(fence, nowMs, (row) => endValues(row, end, nowMs)),
    release: (fence, counted, nowMs) =>
      changeHeld(fence, nowMs, (row) => ({
        state: 'queued',
        fence: row.fence + 1,
        attempt: counted ? row.attempt : row.attempt - 1,
      })),
  };
}

/** Created and queued in one step: no crash can come between. */
function newRow({ id, request, ...job }: NewJob, priority: number): JobRow {
  const { tool, args, attempts, backoffMs, deadlineMs, retentionMs, createdMs } = job;
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
    result: null,
    error: null,
  };
}

function endValues(row: JobRow, { state, result, error }: JobEnd, nowMs: number): Partial<JobRow> {
  return { state, result, error, visibleMs: null, dueMs: nowMs + row.spec.retentionMs };
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
  const { id, clientId, requestId, tool, createdMs, state, revision, progress, result, error, updatedMs } =
    row;
  return { id, clientId, requestId, tool, state, revision, progress, result, error, createdMs, updatedMs };
}

function toAttempt({ id, fence, clientId, requestId, tool, attempt, spec }: JobRow): Attempt {
  const { args, attempts, backoffMs, deadlineMs } = spec;
  const number = fence;
  return {
    fence: { jobId: id, number },
    clientId,
    requestId,
    tool,
    args,
    attempt,
    attempts,
    backoffMs,
    deadlineMs,
  };
}
