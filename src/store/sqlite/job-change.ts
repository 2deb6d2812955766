import { NONE } from '../../tools/none.ts';
import type { Changes } from '../changes.ts';
import { isTerminal, type JobEnd } from '../record-store.ts';
import type { JobRow, JobRows } from './job-rows.ts';
import type { OpenJobs } from './open-jobs.ts';
import type { Turn } from './turn.ts';

/** One change of a row that a client can see. */
export type Change = (row: JobRow, nowMs: number, values: Partial<JobRow>) => void;

export function createChange(turn: Turn, rows: JobRows, openJobs: OpenJobs, changes: Changes): Change {
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

/** What the end of a job changes. */
export function endValues(row: JobRow, { state, result, error }: JobEnd, nowMs: number): Partial<JobRow> {
  return { state, result, error, questions: NONE, visibleMs: null, dueMs: nowMs + row.spec.retentionMs };
}
