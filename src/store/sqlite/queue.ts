import { isTerminal } from '../record-store.ts';
import type { Database } from './driver.ts';
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
  onCreated: ((id: string) => void) | null;
  /** Ids that can be claimed now, those that wait longest first. */
  ready(nowMs: number, limit: number): string[];
  /** `false`: it is not there to be claimed. */
  claim(id: string, nowMs: number, untilMs: number): boolean;
  /** Moves a held job to another time, `null`: out of the queue. `false`: it is not held any more. */
  move(id: string, heldUntilMs: number, visibleMs: number | null): boolean;
  remove(id: string): void;
  /** Makes the jobs that ran when their process died claimable at once. */
  takeOver(nowMs: number): void;
}

export function createJobQueue(db: Database, rows: JobRows): JobQueue {
  const ready = db.prepare('SELECT id FROM jobs WHERE visible_ms <= ? ORDER BY visible_ms LIMIT ?');
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
    ready: (nowMs, limit) => rows.select(ready, nowMs, limit).map((row) => String(row['id'])),
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
