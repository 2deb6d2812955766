import { setTimeout as sleep } from 'node:timers/promises';
import { ProtocolError, StoreError } from '../errors/index.ts';
import { JOB_LIMITS, type MessageLimits } from '../limits.ts';
import type { Attempt, JobEnd, RecordStore } from '../store/index.ts';
import type { Logger, Settled } from '../tools/index.ts';
import { isLarge, nextTurn } from '../turns.ts';
import { readResult, resultText } from '../wire/index.ts';
import type { Verdict } from './dispatcher.ts';

/** Why an attempt was aborted from outside. */
export const REASONS = {
  shutdown: new ProtocolError('busy', 'the server shuts down'),
  takenOver: new ProtocolError('busy', 'another worker took the job over'),
  ended: new ProtocolError('cancelled', 'the job has ended'),
  expired: new ProtocolError('deadline_exceeded', 'the job did not end in time'),
} as const;

const EXPIRED: JobEnd = { state: 'expired', result: null, error: REASONS.expired.text };

const DROPPED = 'the job had ended or gone to another worker: its outcome is dropped';

/** Records how an attempt ended, and says what becomes of the job in the queue. */
export interface Settler {
  /** @param why one of the reasons above, if the attempt was aborted */
  settle(attempt: Attempt, settled: Settled, why: ProtocolError | null): Promise<Verdict>;
  fail(attempt: Attempt, message: string): Promise<Verdict>;
  expire(attempt: Attempt): Promise<Verdict>;
  /** Back to the queue as if the attempt had not been. */
  giveBack(attempt: Attempt, retryAfterMs: number, why: string): Promise<Verdict>;
  /** From now on a store that fails is not asked again. */
  giveUp(): void;
}

export function createSettler(
  { jobs }: RecordStore,
  log: Logger,
  now: () => number,
  limits: MessageLimits,
): Settler {
  let givenUp = false;

  function finish(attempt: Attempt, end: JobEnd): Promise<Verdict> {
    return jobs
      .finish(attempt.fence, end, now())
      .catch((error: unknown) => finishLater(attempt, end, error))
      .then((held) => {
        if (!held) log.info({ job_id: attempt.fence.jobId }, DROPPED);
        return 'done';
      });
  }

  /** The work is done: it must not be done again because the store was away when it ended. The fence decides. */
  async function finishLater(attempt: Attempt, end: JobEnd, failure: unknown): Promise<boolean> {
    log.warn({ job_id: attempt.fence.jobId, err: failure }, 'the outcome of a job waits for the store');
    for (let error = failure; error instanceof StoreError && !givenUp; ) {
      await sleep(JOB_LIMITS.outcomeRetryMs, undefined, { ref: false });
      try {
        return await jobs.finish(attempt.fence, end, now());
      } catch (again) {
        error = again;
      }
    }
    throw failure;
  }

  async function retry(attempt: Attempt): Promise<Verdict> {
    const released = await jobs.release(attempt.fence, true, now());
    const backoffMs = attempt.backoffMs * 2 ** (attempt.attempt - 1);
    return released ? { retryAfterMs: Math.min(backoffMs, JOB_LIMITS.maxBackoffMs) } : 'done';
  }

  async function giveBack(attempt: Attempt, retryAfterMs: number, why: string): Promise<Verdict> {
    const released = await jobs.release(attempt.fence, false, now());
    if (!released) return 'done';
    log.warn({ job_id: attempt.fence.jobId, why }, 'job goes back to the queue');
    return { retryAfterMs };
  }

  return {
    giveBack,
    giveUp() {
      givenUp = true;
    },
    fail: (attempt, message) => finish(attempt, failed(message)),
    expire: (attempt) => finish(attempt, EXPIRED),
    settle(attempt, settled, why) {
      if (settled.ok) return succeeded(settled.result, limits).then((end) => finish(attempt, end));
      // Whoever took the job over, or ended it, has written how it goes on.
      if (why === REASONS.takenOver || why === REASONS.ended) return Promise.resolve('done');
      if (why === REASONS.shutdown) return giveBack(attempt, 0, 'shutdown');
      if (why === REASONS.expired)
        return finish(attempt, { state: 'expired', result: null, error: why.text });
      const { error, retryable } = settled;
      if (retryable && attempt.attempt < attempt.attempts) return retry(attempt);
      return finish(attempt, failed(error.code === 'job_failed' ? error.message : error.text));
    },
  };
}

function failed(message: string): JobEnd {
  return { state: 'failed', result: null, error: `job_failed: ${message}` };
}

async function succeeded(result: Readonly<Record<string, unknown>>, limits: MessageLimits): Promise<JobEnd> {
  try {
    const text = resultText(result, limits);
    if (isLarge(text.length)) await nextTurn();
    return { state: 'succeeded', result: readResult(text), error: null };
  } catch (error) {
    return failed(`the result cannot be sent: ${error instanceof Error ? error.message : 'not JSON'}`);
  }
}
