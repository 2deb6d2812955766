import type { JsonObject } from '../../wire/index.ts';
import { JOB_LIMITS } from '../../limits.ts';
import { createChanges } from '../changes.ts';
import type { Attempt, DueJob, JobEnd, JobRecord, JobRecords, JobState } from '../record-store.ts';
import type { Database, Row } from './driver.ts';
import type { RequestStatements } from './requests.ts';
import type { Turn } from './turn.ts';

/** What a client can see of a job; `args` stay on disk. */
const SEEN = 'id, client_id, request_id, tool, state, revision, progress, result, error, created_ms, updated_ms';
const ACTIVE = "state IN ('queued', 'running')";

function prepare(db: Database) {
  return {
    insert: db.prepare(`
      INSERT INTO jobs (id, client_id, request_id, tool, args, state, fence, attempt, revision,
        attempts, backoff_ms, deadline_ms, retention_ms, due_ms, created_ms, updated_ms)
      VALUES (?, ?, ?, ?, ?, 'queued', 0, 0, 1, ?, ?, ?, ?, ?, ?, ?)`),
    get: db.prepare(`SELECT ${SEEN} FROM jobs WHERE id = ?`),
    list: db.prepare(`
      SELECT ${SEEN} FROM jobs WHERE client_id = ? AND id < ? ORDER BY id DESC LIMIT ?`),
    listByState: db.prepare(`
      SELECT ${SEEN} FROM jobs WHERE client_id = ? AND id < ? AND state = ? ORDER BY id DESC LIMIT ?`),
    begin: db.prepare(`
      UPDATE jobs SET state = 'running', fence = fence + 1, attempt = attempt + 1,
        revision = revision + 1, updated_ms = ?
      WHERE id = ? AND ${ACTIVE}
      RETURNING fence, attempt, client_id, request_id, tool, args, attempts, backoff_ms, deadline_ms`),
    progress: db.prepare(`
      UPDATE jobs SET progress = ?, revision = revision + 1, updated_ms = ?
      WHERE id = ? AND fence = ? AND state = 'running'`),
    finish: db.prepare(`
      UPDATE jobs SET state = ?, result = ?, error = ?, revision = revision + 1,
        updated_ms = ?, due_ms = ? + retention_ms
      WHERE id = ? AND fence = ? AND state = 'running'`),
    release: db.prepare(`
      UPDATE jobs SET state = 'queued', fence = fence + 1, attempt = attempt - ?,
        revision = revision + 1, updated_ms = ?
      WHERE id = ? AND fence = ? AND state = 'running'`),
    end: db.prepare(`
      UPDATE jobs SET state = ?, result = ?, error = ?, fence = fence + 1, revision = revision + 1,
        updated_ms = ?, due_ms = ? + retention_ms
      WHERE id = ? AND ${ACTIVE}`),
    state: db.prepare('SELECT state, revision FROM jobs WHERE id = ?'),
    due: db.prepare('SELECT id, state, deadline_ms FROM jobs WHERE due_ms <= ? ORDER BY due_ms LIMIT ?'),
    postpone: db.prepare('UPDATE jobs SET due_ms = ? WHERE id = ?'),
    remove: db.prepare('DELETE FROM jobs WHERE id = ?'),
  };
}

export function createJobRecords(db: Database, turn: Turn, requests: RequestStatements): JobRecords {
  const sql = prepare(db);
  const changes = createChanges();

  /** A statement that changes one job, and the hint to those who wait for it. */
  function update(id: string, state: JobState, run: () => { readonly changes: number | bigint }): boolean {
    if (run().changes === 0) return false;
    turn.afterCommit(() => changes.emit(id, state));
    return true;
  }

  return {
    create: (job) =>
      turn.write(() => {
        const known = requests.claim(job.request, job.id);
        if (known !== null) return known;
        const { clientId, requestId } = job.request;
        const dueMs = Math.min(job.deadlineMs, job.createdMs + JOB_LIMITS.carriedCheckMs);
        const args = JSON.stringify(job.args);
        const times = [job.deadlineMs, job.retentionMs, dueMs, job.createdMs, job.createdMs];
        sql.insert.run(job.id, clientId, requestId, job.tool, args, job.attempts, job.backoffMs, ...times);
        return null;
      }),
    get: (id) =>
      turn.read(() => {
        const row = sql.get.get(id);
        return row === undefined ? null : toJob(row);
      }),
    list: ({ clientId, state, after = AFTER_ALL_IDS, limit }) =>
      turn.read(() => {
        const rows =
          state === undefined
            ? sql.list.all(clientId, after, limit)
            : sql.listByState.all(clientId, after, state, limit);
        return rows.map(toJob);
      }),
    begin: (id, nowMs) =>
      turn.write(() => {
        const row = sql.begin.get(nowMs, id);
        if (row === undefined) return null;
        turn.afterCommit(() => changes.emit(id, 'running'));
        return toAttempt(id, row);
      }),
    progress: (fence, progress, nowMs) =>
      turn.write(() =>
        update(fence.jobId, 'running', () =>
          sql.progress.run(JSON.stringify(progress), nowMs, fence.jobId, fence.number),
        ),
      ),
    finish: (fence, end, nowMs) =>
      turn.write(() =>
        update(fence.jobId, end.state, () => sql.finish.run(...endValues(end, nowMs), fence.jobId, fence.number)),
      ),
    release: (fence, counted, nowMs) =>
      turn.write(() =>
        update(fence.jobId, 'queued', () => sql.release.run(counted ? 0 : 1, nowMs, fence.jobId, fence.number)),
      ),
    end: (id, end, nowMs) =>
      turn.write(() => {
        update(id, end.state, () => sql.end.run(...endValues(end, nowMs), id));
        const row = sql.state.get(id);
        return row === undefined ? null : toState(row);
      }),
    async changed(id, afterRevision, signal) {
      // Read and wait in one go: a change between the caller's read and now must not be missed.
      const row = sql.state.get(id);
      if (row !== undefined && Number(row['revision']) <= afterRevision) await changes.next(id, signal);
    },
    onChange: (listener) => changes.listen(listener),
    due: (nowMs, limit) => turn.read(() => sql.due.all(nowMs, limit).map(toDue)),
    postpone: (id, dueMs) =>
      turn.write(() => {
        sql.postpone.run(dueMs, id);
      }),
    remove: (id) =>
      turn.write(() => {
        sql.remove.run(id);
      }),
  };
}

/** Sorts after every id, which are ASCII. */
const AFTER_ALL_IDS = '\u{7f}';

function endValues(end: JobEnd, nowMs: number) {
  const result = end.result === null ? null : JSON.stringify(end.result);
  return [end.state, result, end.error, nowMs, nowMs] as const;
}

function toState(row: Row): JobState {
  // The column is only ever written by the statements above.
  return row['state'] as JobState;
}

function toObject(text: Row[string] | undefined): JsonObject | null {
  // Written by the statements above, from objects.
  return typeof text === 'string' ? (JSON.parse(text) as JsonObject) : null;
}

function toJob(row: Row): JobRecord {
  return {
    id: String(row['id']),
    clientId: String(row['client_id']),
    requestId: String(row['request_id']),
    tool: String(row['tool']),
    state: toState(row),
    revision: Number(row['revision']),
    progress: toObject(row['progress']),
    result: toObject(row['result']),
    error: row['error'] === null ? null : String(row['error']),
    createdMs: Number(row['created_ms']),
    updatedMs: Number(row['updated_ms']),
  };
}

function toAttempt(jobId: string, row: Row): Attempt {
  return {
    fence: { jobId, number: Number(row['fence']) },
    clientId: String(row['client_id']),
    requestId: String(row['request_id']),
    tool: String(row['tool']),
    args: toObject(row['args']) ?? {},
    attempt: Number(row['attempt']),
    attempts: Number(row['attempts']),
    backoffMs: Number(row['backoff_ms']),
    deadlineMs: Number(row['deadline_ms']),
  };
}

function toDue(row: Row): DueJob {
  return { id: String(row['id']), state: toState(row), deadlineMs: Number(row['deadline_ms']) };
}
