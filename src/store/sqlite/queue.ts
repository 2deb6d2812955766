import { type Dispatch, isTerminal } from '../record-store.ts';
import type { Database, Row } from './driver.ts';
import type { JobRow, JobRows } from './job-rows.ts';

/**
 * The place of jobs in the queue: `visible_ms` of their rows. Whoever claims a job moves it ahead by one
 * lease and holds it as long as the value is the one that the claim set. All verbs run inside a turn.
 */
export interface JobQueue {
  /** Is there a job of this id that should be queued and is not? */
  lacks(id: string): boolean;
  /** Puts a job that is not queued into the queue. */
  push(id: string, runAtMs: number): void;
  /** Told of each job right when it is created, queued already, inside the transaction of its turn. */
  onCreated: ((job: ReadyJob) => void) | null;
  /** Jobs that can be claimed now, by priority and then those that wait longest; of a tool no more than it has room for. */
  ready(nowMs: number, limit: number, roomFor: (tool: string) => number): ReadyJob[];
  /** `false`: it is not there to be claimed. */
  claim(id: string, nowMs: number, untilMs: number): boolean;
  /** Moves a held job to another time, `null`: out of the queue. `false`: it is not held any more. */
  move(id: string, heldUntilMs: number, visibleMs: number | null): boolean;
  remove(id: string): void;
  /** Makes the jobs that ran when their process died claimable at once. */
  takeOver(nowMs: number): void;
}

export type ReadyJob = Pick<Dispatch, 'id' | 'tool'>;

/** A job that can be claimed, and what decides when. */
interface Place extends Dispatch {
  readonly visibleMs: number;
}

export function createJobQueue(db: Database, rows: JobRows): JobQueue {
  // One step of the index a tool; DISTINCT would take one a job.
  const tools = db.prepare(`
    WITH RECURSIVE tools (tool) AS (
      SELECT min(tool) FROM jobs WHERE visible_ms IS NOT NULL
      UNION ALL
      SELECT (SELECT min(tool) FROM jobs WHERE visible_ms IS NOT NULL AND tool > tools.tool)
      FROM tools WHERE tool IS NOT NULL
    )
    SELECT tool FROM tools WHERE tool IS NOT NULL`);
  const ready = db.prepare(`
    SELECT id, priority, visible_ms FROM jobs WHERE tool = ? AND visible_ms <= ?
    ORDER BY priority, visible_ms LIMIT ?`);
  const takeOver = db.prepare(`
    UPDATE jobs SET visible_ms = ? WHERE visible_ms > ? AND state = 'running'`);

  function move(row: JobRow, visibleMs: number | null): true {
    row.visibleMs = visibleMs;
    rows.touch(row);
    return true;
  }

  function findUnqueued(id: string): JobRow | null {
    const row = rows.find(id);
    return row !== null && row.visibleMs === null && !isTerminal(row.state) ? row : null;
  }

  return {
    onCreated: null,
    lacks: (id) => findUnqueued(id) !== null,
    push(id, runAtMs) {
      const row = findUnqueued(id);
      if (row !== null) move(row, runAtMs);
    },
    ready: (nowMs, limit, roomFor) =>
      rows
        .select(tools)
        .flatMap((row) => {
          const tool = String(row['tool']);
          const most = Math.min(limit, roomFor(tool));
          return most > 0 ? ready.all(tool, nowMs, most).map((found) => toPlace(found, tool)) : [];
        })
        .sort((a, b) => a.priority - b.priority || a.visibleMs - b.visibleMs)
        .slice(0, limit),
    claim(id, nowMs, untilMs) {
      const row = rows.find(id);
      return row !== null && row.visibleMs !== null && row.visibleMs <= nowMs && move(row, untilMs);
    },
    move(id, heldUntilMs, visibleMs) {
      const row = rows.find(id);
      return row !== null && row.visibleMs === heldUntilMs && move(row, visibleMs);
    },
    remove(id) {
      const row = rows.find(id);
      if (row !== null) move(row, null);
    },
    takeOver(nowMs) {
      takeOver.run(nowMs, nowMs);
    },
  };
}

function toPlace(row: Row, tool: string): Place {
  return {
    id: String(row['id']),
    tool,
    priority: Number(row['priority']),
    visibleMs: Number(row['visible_ms']),
  };
}
