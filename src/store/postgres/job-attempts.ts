import { POSTGRES_LIMITS } from '../../limits.ts';
import { type JsonObject, parseJson } from '../../wire/index.ts';
import type { Changes } from '../changes.ts';
import { toAnswers } from '../dialogue.ts';
import { type Attempt, type Fence, isTerminal, type JobEnd, type JobState } from '../record-store.ts';
import { createBatcher } from './batch.ts';
import type { Database, Row } from './database.ts';
import type { JobSpec } from './job-rows.ts';
import { CHANNEL, type Watch } from './watch.ts';

/**
 * Every verb that changes a job is one row of `verbs`, so that what workers begin and end at the same time is one
 * statement and one commit. A verb with a fence takes effect only under it; without one, on any open job, and it
 * sets a new fence, as does going back to the queue. Every verb but progress forgets what the job asks.
 * The channel is told in messages of 100 jobs: 8 000 bytes are the most that the database takes.
 */
const CHANGE = {
  name: 'waybill-jobs-change',
  text: `
    WITH changed AS (
      UPDATE waybill.requests r SET
        state = verbs.state,
        open = verbs.state IN ('queued', 'running'),
        fence = r.fence + CASE WHEN verbs.under_fence IS NULL OR verbs.state = 'queued' THEN 1 ELSE 0 END,
        attempt = r.attempt + coalesce(verbs.attempt_step, 0),
        revision = r.revision + 1,
        updated_ms = verbs.now_ms,
        due_ms = CASE WHEN verbs.state IN ('queued', 'running') THEN r.due_ms ELSE verbs.now_ms + r.retention_ms END,
        progress = CASE WHEN verbs.progress IS NULL THEN r.progress ELSE verbs.progress END,
        partial = CASE WHEN verbs.progress IS NULL THEN r.partial ELSE verbs.partial END,
        questions = CASE WHEN verbs.under_fence IS NOT NULL AND verbs.state = 'running' THEN r.questions END,
        result = verbs.result,
        error = verbs.error
      FROM json_to_recordset($1::json) AS verbs(
        job_id text, under_fence integer, state text, attempt_step integer, now_ms bigint,
        progress text, partial text, result text, error text)
      WHERE r.id = verbs.job_id AND r.open
        AND (verbs.under_fence IS NULL OR (r.fence = verbs.under_fence AND r.state = 'running'))
      RETURNING r.id, r.state, r.revision, r.fence, r.attempt, r.client_id, r.request_id, r.tool, r.deadline_ms,
        CASE WHEN verbs.under_fence IS NULL AND verbs.state = 'running' THEN r.spec END AS spec,
        CASE WHEN verbs.under_fence IS NULL AND verbs.state = 'running' THEN r.answers END AS answers
    ), told AS (
      SELECT pg_notify('${CHANNEL}', string_agg(id || ':' || state || ':' || revision, ','))
      FROM (SELECT *, row_number() OVER () / 100 AS message FROM changed) AS numbered GROUP BY message
    )
    SELECT changed.* FROM changed, (SELECT count(*) FROM told) AS all_told`,
};

interface Verb {
  readonly job_id: string;
  readonly under_fence?: number;
  readonly state: JobState;
  readonly attempt_step?: 1 | -1;
  readonly now_ms: number;
  readonly progress?: string;
  readonly partial?: string;
  readonly result?: string | null;
  readonly error?: string | null;
}

export interface Attempts {
  begin(id: string, nowMs: number): Promise<Attempt | null>;
  progress(fence: Fence, progress: JsonObject, nowMs: number): Promise<boolean>;
  finish(fence: Fence, end: JobEnd, nowMs: number): Promise<boolean>;
  release(fence: Fence, counted: boolean, nowMs: number): Promise<boolean>;
  /** `null`: the job was not open. */
  end(id: string, end: JobEnd, nowMs: number): Promise<JobState | null>;
  idle(): Promise<void>;
}

export function createAttempts(db: Database, changes: Changes, { held }: Pick<Watch, 'held'>): Attempts {
  const verbs = createBatcher<Verb, Row | null>(
    async (items) => {
      const rows = await db.query(CHANGE, [JSON.stringify(items)]);
      const changed = new Map(rows.map((row) => [row['id'], row]));
      return items.map(({ job_id }) => changed.get(job_id) ?? null);
    },
    {
      maxItems: POSTGRES_LIMITS.maxBatch,
      // While one waits for the disk another runs; of one job there is never more than one under way.
      atOnce: 2,
      keyOf: ({ job_id }) => job_id,
      charsOf: ({ result, partial }) => (result?.length ?? 0) + (partial?.length ?? 0),
    },
  );

  /** Who waits in this process need not wait for the notification. */
  async function change(verb: Verb): Promise<Row | null> {
    const row = await verbs.run(verb);
    // A fence that is lost and a job that has ended are of no more concern here.
    if (row === null || isTerminal(verb.state)) held.delete(verb.job_id);
    if (row !== null) changes.emit(verb.job_id, verb.state, Number(row['revision']));
    return row;
  }

  async function changeHeld({ jobId, number }: Fence, verb: Omit<Verb, 'job_id'>): Promise<boolean> {
    return (await change({ job_id: jobId, under_fence: number, ...verb })) !== null;
  }

  return {
    async begin(id, nowMs) {
      const row = await change({ job_id: id, state: 'running', attempt_step: 1, now_ms: nowMs });
      if (row === null) return null;
      held.add(id);
      return toAttempt(row);
    },
    progress(fence, { partial, ...progress }, nowMs) {
      const parts = partial === undefined ? {} : { partial: JSON.stringify({ partial }) };
      const verb = { state: 'running', now_ms: nowMs } as const;
      return changeHeld(fence, { ...verb, progress: JSON.stringify(progress), ...parts });
    },
    finish: (fence, end, nowMs) => changeHeld(fence, ended(end, nowMs)),
    release(fence, counted, nowMs) {
      held.delete(fence.jobId);
      const step = counted ? {} : ({ attempt_step: -1 } as const);
      return changeHeld(fence, { state: 'queued', now_ms: nowMs, ...step });
    },
    end: async (id, end, nowMs) =>
      (await change({ job_id: id, ...ended(end, nowMs) })) === null ? null : end.state,
    idle: () => verbs.idle(),
  };
}

function ended({ state, result, error }: JobEnd, nowMs: number) {
  return {
    state,
    now_ms: nowMs,
    result: result === null ? null : JSON.stringify(result),
    error: error === null ? null : JSON.stringify(error),
  };
}

function toAttempt(row: Row): Attempt {
  // Written by toNewRow, from a JobSpec.
  const { args, attempts, backoffMs } = parseJson(String(row['spec'])) as JobSpec;
  return {
    fence: { jobId: String(row['id']), number: Number(row['fence']) },
    clientId: String(row['client_id']),
    requestId: String(row['request_id']),
    tool: String(row['tool']),
    args,
    answers: toAnswers(row['answers']),
    attempt: Number(row['attempt']),
    attempts,
    backoffMs,
    deadlineMs: Number(row['deadline_ms']),
  };
}
