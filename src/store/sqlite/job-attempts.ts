import { NONE } from '../../tools/none.ts';
import { asking } from '../dialogue.ts';
import { type Attempt, type Fence, isTerminal, type JobRecords } from '../record-store.ts';
import { type Change, endValues } from './job-change.ts';
import type { JobRow, JobRows } from './job-rows.ts';
import type { Turn } from './turn.ts';

/** The verbs of a worker: begin an attempt, then write under its fence. */
export function createAttempts(
  turn: Turn,
  rows: JobRows,
  change: Change,
): Pick<JobRecords, 'begin' | 'progress' | 'ask' | 'finish' | 'release'> {
  /** Changes the row if the fence is that of its newest attempt, the attempt still runs and there is a change. */
  function changeHeld(
    fence: Fence,
    nowMs: number,
    values: (row: JobRow) => Partial<JobRow> | null,
  ): Promise<boolean> {
    return turn.write(() => {
      const row = rows.find(fence.jobId);
      if (row === null || row.fence !== fence.number || row.state !== 'running') return false;
      const changed = values(row);
      if (changed !== null) change(row, nowMs, changed);
      return true;
    });
  }

  function beginAttempt(id: string, nowMs: number): Attempt | null {
    const row = rows.find(id);
    if (row === null || isTerminal(row.state)) return null;
    const next = { fence: row.fence + 1, attempt: row.attempt + 1 };
    change(row, nowMs, { state: 'running', questions: NONE, ...next });
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
    ask: (fence, questions, nowMs) => changeHeld(fence, nowMs, (row) => asking(row, questions)),
    finish: (fence, end, nowMs) => changeHeld(fence, nowMs, (row) => endValues(row, end, nowMs)),
    release: (fence, counted, nowMs) =>
      changeHeld(fence, nowMs, (row) => ({
        state: 'queued',
        questions: NONE,
        fence: row.fence + 1,
        attempt: counted ? row.attempt : row.attempt - 1,
      })),
  };
}

function toAttempt({ id, fence, clientId, requestId, tool, attempt, answers, spec }: JobRow): Attempt {
  const { args, attempts, backoffMs, deadlineMs } = spec;
  const number = fence;
  return {
    fence: { jobId: id, number },
    clientId,
    requestId,
    tool,
    args,
    answers,
    attempt,
    attempts,
    backoffMs,
    deadlineMs,
  };
}
