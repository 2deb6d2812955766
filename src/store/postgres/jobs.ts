import { JOB_LIMITS, POSTGRES_LIMITS } from '../../limits.ts';
import { createChanges } from '../changes.ts';
import { tooLarge } from '../dialogue.ts';
import { jobIdPrefix } from '../job-id.ts';
import {
  type Creation,
  type DueJob,
  type JobRecord,
  type JobRecords,
  type NewJob,
  type RequestRecords,
} from '../record-store.ts';
import { createBatcher } from './batch.ts';
import type { Database } from './database.ts';
import { createAttempts } from './job-attempts.ts';
import { createDialogues } from './job-dialogues.ts';
import { toDueJob, toNewRows, toRecord, toSummary } from './job-rows.ts';
import { startWatch } from './watch.ts';

const CREATE = {
  name: 'waybill-jobs-create',
  text: `SELECT * FROM waybill.create_jobs($1::json, $2::text[], $3::integer[], ${JOB_LIMITS.priorityStep})`,
};
const SUMMARY = 'id, client_id, request_id, tool, state, revision, progress, error, created_ms, updated_ms';
const GET = {
  name: 'waybill-jobs-get',
  text: `SELECT ${SUMMARY}, partial, questions, answers, result FROM waybill.requests WHERE id = ANY ($1::text[])`,
};
const LIST = {
  name: 'waybill-jobs-list',
  text: `
    SELECT ${SUMMARY} FROM waybill.requests
    WHERE id > $1 AND id < $2 AND client_id = $3 AND ($4::text IS NULL OR state = $4)
    ORDER BY id DESC LIMIT $5`,
};
/** By the same index as `waybill.create_jobs`, and no further than it looks. */
const COUNT_OPEN = {
  name: 'waybill-jobs-count-open',
  text: `
    SELECT count(*) AS jobs FROM (
      SELECT FROM waybill.requests WHERE client_id = $1 AND open LIMIT $2) AS counted`,
};
/** Claims what it finds: another process that asks gets others, and asks again for these only later. */
const DUE = {
  name: 'waybill-jobs-due',
  text: `
    UPDATE waybill.requests r
    SET due_ms = CASE WHEN open AND deadline_ms > $1 THEN least(deadline_ms, $1 + ${JOB_LIMITS.lookMs})
      ELSE $1 + ${JOB_LIMITS.firstLookMs} END
    FROM (
      SELECT id AS due_id FROM waybill.requests WHERE id IS NOT NULL AND due_ms <= $1
      ORDER BY due_ms LIMIT $2 FOR UPDATE SKIP LOCKED) AS found
    WHERE r.id = found.due_id
    RETURNING id, tool, priority, CASE WHEN NOT open THEN 'old' WHEN deadline_ms <= $1 THEN 'late' ELSE 'unsure' END AS why`,
};
const REMOVE = {
  name: 'waybill-jobs-remove',
  text: 'DELETE FROM waybill.requests WHERE id = ANY ($1::text[])',
};

export interface PostgresJobs extends JobRecords {
  idle(): Promise<void>;
  stop(): Promise<void>;
}

export function createJobRecords(
  db: Database,
  requests: Pick<RequestRecords, 'find'>,
  onError: (error: unknown) => void,
): PostgresJobs {
  const changes = createChanges();
  const watch = startWatch(db, changes, onError);
  const reads = createReads(db);
  const writes = createWrites(db);
  const attempts = createAttempts(db, changes, watch);
  const dialogues = createDialogues(db, changes);

  async function create(job: NewJob): Promise<Creation> {
    const refusal = tooLarge(job.answers);
    if (refusal !== null) throw refusal;
    // Once more, because in its batch requests that were known may have stood before it, for which there was room.
    for (let tries = 2; tries > 0; tries--) {
      const priority = await writes.create.run(job);
      if (priority !== null) return { outcome: 'created', priority };
      const request = await requests.find(job.request.clientId, job.request.requestId);
      if (request !== null) return { outcome: 'known', request };
    }
    return { outcome: 'full' };
  }

  return {
    create,
    get: async (id) => (canBeHeld(id) ? reads.get.run(id) : null),
    begin: attempts.begin,
    progress: attempts.progress,
    ask: dialogues.ask,
    answer: async (id, answers, nowMs) => (canBeHeld(id) ? dialogues.answer(id, answers, nowMs) : null),
    finish: attempts.finish,
    release: attempts.release,
    async end(id, end, nowMs) {
      if (!canBeHeld(id)) return null;
      const state = await attempts.end(id, end, nowMs);
      return state ?? (await reads.get.run(id))?.state ?? null;
    },
    async countOpen(clientId, limit) {
      const [row] = await db.query(COUNT_OPEN, [clientId, limit]);
      return Number(row?.['jobs']);
    },
    async list({ clientId, state = null, after, limit }) {
      const prefix = jobIdPrefix(clientId);
      // Ids have neither: nothing stands between the two.
      const before = after?.replaceAll('\u0000', '\u0001') ?? `${prefix}~`;
      const rows = await db.query(LIST, [prefix, before, clientId, state, limit]);
      return rows.map(toSummary);
    },
    async changed(id, afterRevision, signal) {
      // First wait, then look: a change between the caller's read and now must not be missed.
      const next = changes.next(id, afterRevision, signal);
      if (!signal.aborted) void watch.look([id]);
      await next;
    },
    onChange: (listener) => changes.listen(listener),
    due: async (nowMs, limit): Promise<readonly DueJob[]> =>
      (await db.query(DUE, [nowMs, limit])).map(toDueJob),
    remove: (id) => writes.remove.run(id),
    idle: () =>
      Promise.all(
        [...Object.values(reads), ...Object.values(writes), attempts].map((each) => each.idle()),
      ).then(() => {}),
    stop: () => watch.stop(),
  };
}

/**
 * Clients ask for any text, and the database takes none with U+0000: the statement would fail, and with it all
 * that others ask for in the same batch.
 */
function canBeHeld(id: string): boolean {
  return !id.includes('\u0000');
}

function createReads(db: Database) {
  return {
    get: createBatcher<string, JobRecord | null>(
      async (ids) => {
        const rows = await db.query(GET, [ids]);
        const found = new Map(rows.map((row) => [row['id'], row]));
        return ids.map((id) => {
          const row = found.get(id);
          return row === undefined ? null : toRecord(row);
        });
      },
      { maxItems: POSTGRES_LIMITS.maxBatch },
    ),
  };
}

function createWrites(db: Database) {
  return {
    /** Gives the priority, or `null` when it was not created. */
    create: createBatcher<NewJob, number | null>(
      async (jobs) => {
        const { rows: newRows, caps } = toNewRows(jobs);
        const values = [JSON.stringify(newRows), [...caps.keys()], [...caps.values()]];
        const rows = await db.query(CREATE, values);
        const created = new Map(rows.map((row) => [row['job_id'], Number(row['job_priority'])]));
        return jobs.map(({ id }) => created.get(id) ?? null);
      },
      {
        maxItems: POSTGRES_LIMITS.maxBatch,
        keyOf: ({ request }) => `${request.clientId}\n${request.requestId}`,
      },
    ),
    remove: createBatcher<string, void>(
      async (ids) => {
        await db.query(REMOVE, [ids]);
        return ids.map(() => undefined);
      },
      { maxItems: POSTGRES_LIMITS.maxBatch },
    ),
  };
}
