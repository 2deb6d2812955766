import type { JsonObject } from '../../wire/index.ts';
import type { JobState } from '../record-store.ts';
import type { Database, Row } from './driver.ts';
import type { Unflushed } from './turn.ts';

/** What never changes about a job; one JSON column. */
export interface JobSpec {
  readonly tool: string;
  readonly args: JsonObject;
  readonly digest: string;
  readonly attempts: number;
  readonly backoffMs: number;
  readonly deadlineMs: number;
  readonly retentionMs: number;
  readonly createdMs: number;
}

/** A row of the `jobs` table in memory. */
export interface JobRow {
  readonly id: string;
  readonly clientId: string;
  readonly requestId: string;
  readonly spec: JobSpec;
  state: JobState;
  visibleMs: number | null;
  dueMs: number;
  fence: number;
  attempt: number;
  revision: number;
  updatedMs: number;
  progress: JsonObject | null;
  result: JsonObject | null;
  error: string | null;
}

/**
 * The rows this process works on, written at most once a turn however often they change: a job that is
 * created, handed to an idle worker and begun in one turn costs one INSERT. The folder's lock makes
 * this process the only one that writes jobs, so what memory holds is always the newest.
 */
export interface JobRows extends Unflushed {
  find(id: string): JobRow | null;
  findByRequest(clientId: string, requestId: string): JobRow | null;
  /** Rows found by SQL, after what memory holds was written. */
  select(sql: SelectRows, ...values: (string | number)[]): JobRow[];
  insert(row: JobRow): void;
  /** Was the row inserted in this turn? */
  isNew(id: string): boolean;
  /** The row was changed in this turn. */
  touch(row: JobRow): void;
  remove(id: string): void;
}

export type SelectRows = { all(...values: (string | number)[]): Row[] };

export const JOB_COLUMNS =
  'id, client_id, request_id, state, visible_ms, due_ms, fence, attempt, revision, updated_ms, progress, result, error, spec';

/** Rows kept for reading once they are on disk; beyond it the oldest go. */
const MAX_CLEAN_ROWS = 4_096;

export function createJobRows(db: Database): JobRows {
  const insert = db.prepare(`INSERT INTO jobs (${JOB_COLUMNS}) VALUES (${JOB_COLUMNS.replace(/\w+/g, '?')})`);
  const update = db.prepare(`
    UPDATE jobs SET state = ?, visible_ms = ?, due_ms = ?, fence = ?, attempt = ?, revision = ?, updated_ms = ?,
      progress = ?, result = ?, error = ? WHERE id = ?`);
  const byId = db.prepare(`SELECT ${JOB_COLUMNS} FROM jobs WHERE id = ?`);
  const byRequest = db.prepare(`SELECT ${JOB_COLUMNS} FROM jobs WHERE client_id = ? AND request_id = ?`);
  const remove = db.prepare('DELETE FROM jobs WHERE id = ?');
  const cache = new Map<string, JobRow>();
  /** Created in this turn, by client and request. */
  const created = new Map<string, JobRow>();
  const changed = new Set<JobRow>();

  /** The row in memory if there is one: it is as new as the one on disk, or newer. */
  function remember(row: Row | undefined): JobRow | null {
    if (row === undefined) return null;
    const cached = cache.get(String(row['id']));
    if (cached !== undefined) return cached;
    const fresh = toJobRow(row);
    cache.set(fresh.id, fresh);
    return fresh;
  }

  function flush(): void {
    for (const row of created.values()) {
      changed.delete(row);
      const { id, clientId, requestId, spec } = row;
      insert.run(id, clientId, requestId, ...mutableValues(row), JSON.stringify(spec));
    }
    created.clear();
    for (const row of changed) update.run(...mutableValues(row), row.id);
    changed.clear();
    for (const id of cache.keys()) {
      if (cache.size <= MAX_CLEAN_ROWS) break;
      cache.delete(id);
    }
  }

  return {
    find: (id) => cache.get(id) ?? remember(byId.get(id)),
    findByRequest: (clientId, requestId) =>
      created.get(requestKey(clientId, requestId)) ?? remember(byRequest.get(clientId, requestId)),
    select(sql, ...values) {
      if (created.size > 0 || changed.size > 0) flush();
      return sql.all(...values).flatMap((row) => remember(row) ?? []);
    },
    insert(row) {
      cache.set(row.id, row);
      created.set(requestKey(row.clientId, row.requestId), row);
    },
    isNew(id) {
      const row = cache.get(id);
      return row !== undefined && created.has(requestKey(row.clientId, row.requestId));
    },
    touch(row) {
      changed.add(row);
    },
    remove(id) {
      flush();
      cache.delete(id);
      remove.run(id);
    },
    flush,
    reset() {
      created.clear();
      changed.clear();
      cache.clear();
    },
  };
}

/** Neither part can hold a line feed. */
function requestKey(clientId: string, requestId: string): string {
  return `${clientId}\n${requestId}`;
}

function mutableValues(row: JobRow) {
  const { state, visibleMs, dueMs, fence, attempt, revision, updatedMs, progress, result, error } = row;
  const texts = [toText(progress), toText(result), error] as const;
  return [state, visibleMs, dueMs, fence, attempt, revision, updatedMs, ...texts] as const;
}

function toText(value: JsonObject | null): string | null {
  return value === null ? null : JSON.stringify(value);
}

function toObject(text: Row[string] | undefined): JsonObject | null {
  // Written by toText above, from objects.
  return typeof text === 'string' ? (JSON.parse(text) as JsonObject) : null;
}

function toJobRow(row: Row): JobRow {
  return {
    id: String(row['id']),
    clientId: String(row['client_id']),
    requestId: String(row['request_id']),
    // Both columns are only ever written by this module.
    spec: JSON.parse(String(row['spec'])) as JobSpec,
    state: row['state'] as JobState,
    visibleMs: row['visible_ms'] === null ? null : Number(row['visible_ms']),
    dueMs: Number(row['due_ms']),
    fence: Number(row['fence']),
    attempt: Number(row['attempt']),
    revision: Number(row['revision']),
    updatedMs: Number(row['updated_ms']),
    progress: toObject(row['progress']),
    result: toObject(row['result']),
    error: row['error'] === null ? null : String(row['error']),
  };
}
