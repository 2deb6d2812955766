import type { Changes } from '../changes.ts';
import { answering, asking, type Dialogue, toAnswers, toColumn, tooLarge, toQuestions } from '../dialogue.ts';
import { isTerminal, type JobRecords, type JobState } from '../record-store.ts';
import type { Database, Row } from './database.ts';
import { CHANNEL } from './watch.ts';

const READ = {
  name: 'waybill-dialogue',
  text: 'SELECT state, fence, questions, answers FROM waybill.requests WHERE id = $1',
};

/** Only if the dialogue is still the one that was read, and (with a fence) the attempt that asks still runs. */
const WRITE = {
  name: 'waybill-dialogue-write',
  text: `
    WITH changed AS (
      UPDATE waybill.requests SET questions = $4, answers = $5, revision = revision + 1, updated_ms = $6
      WHERE id = $1 AND open AND questions IS NOT DISTINCT FROM $2 AND answers IS NOT DISTINCT FROM $3
        AND ($7::integer IS NULL OR (fence = $7 AND state = 'running'))
      RETURNING id, state, revision
    ), told AS (
      SELECT pg_notify('${CHANNEL}', id || ':' || state || ':' || revision) FROM changed
    )
    SELECT changed.* FROM changed, (SELECT count(*) FROM told) AS all_told`,
};

/** What jobs ask and are told: rare beside all else that changes them, so that nothing is batched here. */
export function createDialogues(db: Database, changes: Changes): Pick<JobRecords, 'ask' | 'answer'> {
  /** @returns `false`: somebody else was faster, look again */
  async function write(
    id: string,
    before: Row,
    { questions, answers }: Dialogue,
    nowMs: number,
    fence: number | null,
  ): Promise<boolean> {
    const after = [toColumn(questions), toColumn(answers)];
    const values = [id, before['questions'], before['answers'], ...after, nowMs, fence];
    const [row] = await db.query(WRITE, values);
    if (row === undefined) return false;
    changes.emit(id, stateOf(row), Number(row['revision']));
    return true;
  }

  return {
    async ask({ jobId, number }, questions, nowMs) {
      for (;;) {
        const [row] = await db.query(READ, [jobId]);
        if (row === undefined || Number(row['fence']) !== number || row['state'] !== 'running') return false;
        const dialogue = asking(toDialogue(row), questions);
        if (dialogue === null || (await write(jobId, row, dialogue, nowMs, number))) return true;
      }
    },
    async answer(id, given, nowMs) {
      for (;;) {
        const [row] = await db.query(READ, [id]);
        if (row === undefined) return null;
        const state = stateOf(row);
        const dialogue = isTerminal(state) ? null : answering(toDialogue(row), given);
        if (dialogue === null) return state;
        const refusal = tooLarge(dialogue.answers);
        if (refusal !== null) throw refusal;
        if (await write(id, row, dialogue, nowMs, null)) return state;
      }
    },
  };
}

function toDialogue(row: Row): Dialogue {
  return { questions: toQuestions(row['questions']), answers: toAnswers(row['answers']) };
}

function stateOf(row: Row): JobState {
  // Only ever written by the statements of this folder.
  return row['state'] as JobState;
}
