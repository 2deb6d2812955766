import type { Answers, Questions } from '../../tools/index.ts';
import { type JsonObject, parseJson } from '../../wire/index.ts';
import { toAnswers, toColumn, toQuestions } from '../dialogue.ts';
import type { JobState, RequestRecord } from '../record-store.ts';
import type { Database, Row, Statement } from './driver.ts';
import type { Unflushed } from './turn.ts';

/** What never changes about a job; one JSON column. */
export interface JobSpec {
  readonly args: JsonObject;
  readonly digest: string;
  readonly attempts: number;
  readonly backoffMs: number;
  readonly deadlineMs: number;
  readonly retentionMs: number;
}

/** A row of the `jobs` table in memory. */
export interface JobRow {
  readonly id: string;
  readonly clientId: string;
  readonly requestId: string;
  readonly tool: string;
  readonly createdMs: number;
  readonly spec: JobSpec;
  readonly priority: number;
  state: JobState;
  visibleMs: number | null;
  dueMs: number;
  fence: number;
  attempt: number;
  revision: number;
  updatedMs: number;
  progress: JsonObject | null;
  questions: Questions;
  answers: Answers;
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
  /** What SQL finds, after what memory holds was written. It should select no more than is needed. */
  select(sql: Statement, ...values: (string | number)[]): readonly Row[];
  insert(row: JobRow): void;
  /** Was the row inserted in this turn? */
  isNew(id: string): boolean;
  /** The row was changed in this turn. */
  touch(row: JobRow): void;
  /** @returns what it was */
  remove(id: string): Pick<JobRow, 'clientId' | 'state'> | null;
}

const COLUMNS =
  'id, client_id, request_id, tool, created_ms, state, visible_ms, due_ms, fence, attempt, revision, updated_ms, progress, questions, answers, result, error, spec, priority';

export function createJobRows(db: Database): JobRows {
  const sql = prepare(db);
  const memory = createMemory();
  /** Created in this turn, by request. */
  const created = new Map<string, JobRow>();
  const changed = new Set<JobRow>();

  /** The row in memory if there is one: it is as new as the one on disk, or newer. */
  function remember(row: Row | undefined): JobRow | null {
    if (row === undefined) return null;
    const known = memory.get(String(row['id']));
    if (known !== undefined) return known;
    const fresh = toJobRow(row);
    memory.add(fresh);
    memory.count(charsOf(row['spec']) + charsOf(row['result']) + charsOf(row['answers']));
    return fresh;
  }

  function flush(): void {
    for (const row of created.values()) {
      changed.delete(row);
      memory.count(insertRow(sql.insert, row));
    }
    created.clear();
    for (const row of changed) updateRow(sql.update, row);
    changed.clear();
    memory.trim();
  }

  return {
    find: (id) => memory.get(id) ?? remember(sql.byId.get(id)),
    findByRequest(clientId, requestId) {
      const row = created.get(requestId);
      if (row === undefined) return remember(sql.byRequest.get(clientId, requestId));
      if (row.clientId === clientId) return row;
      // Two clients chose one id within one turn: the first row makes room for the second.
      flush();
      return remember(sql.byRequest.get(clientId, requestId));
    },
    select(select, ...values) {
      if (created.size > 0 || changed.size > 0) flush();
      return select.all(...values);
    },
    insert(row) {
      memory.add(row);
      created.set(row.requestId, row);
    },
    isNew(id) {
      const row = memory.get(id);
      return row !== undefined && created.get(row.requestId) === row;
    },
    touch(row) {
      changed.add(row);
    },
    remove(id) {
      flush();
      memory.remove(id);
      const row = sql.remove.get(id);
      return row === undefined ? null : { clientId: String(row['client_id']), state: toState(row) };
    },
    flush,
    reset() {
      created.clear();
      changed.clear();
      memory.clear();
    },
  };
}

/** Rows at least kept for reading once they are on disk; more would outlive what the collector expects. */
const MEMORY_ROWS = 256;
/** Unless they are large: text of their JSON. */
const MEMORY_CHARS = 8_388_608;

/** Rows by id, in two halves: when the younger is full the older is forgotten whole. */
function createMemory() {
  let young = new Map<string, JobRow>();
  let old = new Map<string, JobRow>();
  let chars = 0;
  return {
    get: (id: string): JobRow | undefined => young.get(id) ?? old.get(id),
    add(row: JobRow): void {
      young.set(row.id, row);
    },
    /** What the rows that were added take. */
    count(added: number): void {
      chars += added;
    },
    remove(id: string): void {
      young.delete(id);
      old.delete(id);
    },
    /** To be called when everything is written. */
    trim(): void {
      if (young.size < MEMORY_ROWS && chars < MEMORY_CHARS) return;
      chars = 0;
      old = young;
      young = new Map();
    },
    clear(): void {
      young.clear();
      old.clear();
    },
  };
}

function prepare(db: Database) {
  return {
    insert: db.prepare(`INSERT INTO jobs (${COLUMNS}) VALUES (${COLUMNS.replace(/\w+/g, '?')})`),
    update: db.prepare(`
      UPDATE jobs SET state = ?, visible_ms = ?, due_ms = ?, fence = ?, attempt = ?, revision = ?,
        updated_ms = ?, progress = ?, questions = ?, answers = ?, result = ?, error = ? WHERE id = ?`),
    byId: db.prepare(`SELECT ${COLUMNS} FROM jobs WHERE id = ?`),
    byRequest: db.prepare(`SELECT ${COLUMNS} FROM jobs WHERE client_id = ? AND request_id = ?`),
    remove: db.prepare('DELETE FROM jobs WHERE id = ? RETURNING client_id, state'),
  };
}

// Every value by itself: collecting them in arrays first costs 2 µs a row.

/** @returns how large it is */
function insertRow(insert: Statement, row: JobRow): number {
  const spec = JSON.stringify(row.spec);
  insert.run(
    row.id,
    row.clientId,
    row.requestId,
    row.tool,
    row.createdMs,
    row.state,
    row.visibleMs,
    row.dueMs,
    row.fence,
    row.attempt,
    row.revision,
    row.updatedMs,
    toText(row.progress),
    toColumn(row.questions),
    toColumn(row.answers),
    toText(row.result),
    row.error,
    spec,
    row.priority,
  );
  return spec.length;
}

function updateRow(update: Statement, row: JobRow): void {
  update.run(
    row.state,
    row.visibleMs,
    row.dueMs,
    row.fence,
    row.attempt,
    row.revision,
    row.updatedMs,
    toText(row.progress),
    toColumn(row.questions),
    toColumn(row.answers),
    toText(row.result),
    row.error,
    row.id,
  );
}

function charsOf(column: Row[string] | undefined): number {
  return typeof column === 'string' ? column.length : 0;
}

function toText(value: JsonObject | null): string | null {
  return value === null ? null : JSON.stringify(value);
}

export function toObject(text: Row[string] | undefined): JsonObject | null {
  // Written by toText above, from objects.
  return typeof text === 'string' ? (parseJson(text) as JsonObject) : null;
}

export function toState(row: Row): JobState {
  // The column is only ever written from a JobRow.
  return row['state'] as JobState;
}

function toJobRow(row: Row): JobRow {
  return {
    id: String(row['id']),
    clientId: String(row['client_id']),
    requestId: String(row['request_id']),
    tool: String(row['tool']),
    createdMs: Number(row['created_ms']),
    // The column is only ever written by this module.
    spec: parseJson(String(row['spec'])) as JobSpec,
    state: toState(row),
    priority: Number(row['priority']),
    visibleMs: row['visible_ms'] === null ? null : Number(row['visible_ms']),
    dueMs: Number(row['due_ms']),
    fence: Number(row['fence']),
    attempt: Number(row['attempt']),
    revision: Number(row['revision']),
    updatedMs: Number(row['updated_ms']),
    progress: toObject(row['progress']),
    questions: toQuestions(row['questions']),
    answers: toAnswers(row['answers']),
    result: toObject(row['result']),
    error: row['error'] === null ? null : String(row['error']),
  };
}

/** What the row says of the request that created it. */
export function toRequest({ id, spec }: JobRow): RequestRecord {
  return { digest: spec.digest, jobId: id, outcome: null, deadlineMs: spec.deadlineMs };
}
