import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ProtocolError, StoreError } from '../errors/index.ts';
import { JOB_LIMITS, type MessageLimits } from '../limits.ts';
import type { Attempt, RecordStore } from '../store/index.ts';
import { type Answers, checkQuestions, type Questions } from '../tools/index.ts';
import { asResult } from '../wire/index.ts';
import { REASONS } from './settle.ts';

/** Asks for the tool of one attempt. */
export interface Asker {
  /** @throws TypeError, RangeError for questions that cannot be asked; the reason of `stop` */
  readonly ask: (questions: Questions) => Promise<Answers>;
  /** Ends every wait, now and from now on. */
  stop(reason: ProtocolError): void;
}

export interface AskerContext {
  readonly store: RecordStore;
  readonly now: () => number;
  readonly messageLimits: MessageLimits;
  /** Another attempt writes the record now; should lead to `stop`. */
  readonly onFenceLost: () => void;
}

export function createAsker({ fence, answers: known }: Attempt, context: AskerContext): Asker {
  const { store, now, messageLimits, onFenceLost } = context;
  const stopped = new AbortController();
  // One listener for each of its waits; a tool may ask many things at once.
  setMaxListeners(0, stopped.signal);
  /** What somebody waits for: a tool may ask while it asks. */
  const waiting = new Set<Questions>();
  let writing: Promise<unknown> = Promise.resolve();

  async function ask(questions: Questions): Promise<Answers> {
    const asked = checkQuestions(questions, 'ask');
    // Throws for what no reply of poll_job can carry.
    asResult({ job_id: '', poll_after_ms: 0, progress: null, questions: asked }, messageLimits);
    stopped.signal.throwIfAborted();
    const before = answersTo(asked, known);
    if (before !== null) return before;
    waiting.add(asked);
    try {
      return await answered(asked);
    } finally {
      waiting.delete(asked);
    }
  }

  async function answered(asked: Questions): Promise<Answers> {
    await write();
    for (;;) {
      stopped.signal.throwIfAborted();
      const job = await patiently(() => store.jobs.get(fence.jobId));
      // Removed: it had ended, whatever became of the news of that.
      if (job === null) throw REASONS.ended;
      const answers = answersTo(asked, job.answers);
      if (answers !== null) return answers;
      await store.jobs.changed(fence.jobId, job.revision, stopped.signal);
    }
  }

  /** One write after the other, each of all that is asked by then: an earlier one must not end last. */
  function write(): Promise<void> {
    const written = writing
      .catch(() => {})
      .then(() => {
        const all: Questions = Object.fromEntries([...waiting].flatMap((each) => Object.entries(each)));
        return patiently(() => store.jobs.ask(fence, all, now()));
      })
      .then((held) => {
        if (!held) onFenceLost();
      });
    writing = written;
    return written;
  }

  /** A person may take hours: a store that is away for a while does not end the job. */
  async function patiently<T>(work: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        stopped.signal.throwIfAborted();
        return await work();
      } catch (error) {
        if (!(error instanceof StoreError)) throw error;
        await sleep(JOB_LIMITS.outcomeRetryMs, undefined, { ref: false, signal: stopped.signal }).catch(
          () => {},
        );
      }
    }
  }

  return {
    ask(questions) {
      const answers = ask(questions);
      // A tool that does not wait for it any more must not bring the process down.
      answers.catch(() => {});
      return answers;
    },
    stop: (reason) => stopped.abort(reason),
  };
}

/** The answers to these questions, `null` while one is missing. */
function answersTo(questions: Questions, answers: Answers): Answers | null {
  const keys = Object.keys(questions);
  if (!keys.every((key) => Object.hasOwn(answers, key))) return null;
  return Object.fromEntries(Object.entries(answers).filter(([key]) => Object.hasOwn(questions, key)));
}
