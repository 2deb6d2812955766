import type { Dispatch } from '../../../store/index.ts';
import { type NewQueueJob, type Producer, QUEUE_LIMITS } from './service.ts';
import { storeError, within } from './trouble.ts';

/** Pushes that go out together. */
interface Batch {
  readonly jobs: NewQueueJob[];
  /** Rejects with StoreError. */
  readonly added: Promise<void>;
  /** Resolves when it has ended, whichever way. */
  send(): Promise<void>;
}

/** BullMQ takes no larger ones. */
const MAX_PRIORITY = 2 ** 21 - 1;

/** Of a new job BullMQ reads the id and its options; the rest is as in every new job. */
const NEW_JOB = {
  name: 'job',
  data: '{}',
  progress: 0,
  attemptsMade: 0,
  attemptsStarted: 0,
  stalledCounter: 0,
  failedReason: '',
  returnvalue: 'null',
} as const;

/**
 * Brings jobs to one queue, in the order of the calls. Those of a turn go out as one batch, and while one is
 * under way the next gathers: in PostgreSQL each batch is a commit.
 */
export function createPusher(
  producer: Pick<Producer, 'add'>,
): (job: Dispatch, runAtMs: number) => Promise<void> {
  /** The last one gathers. */
  const batches: Batch[] = [];
  let isSending = false;

  function sendNext(): void {
    const batch = batches.shift();
    if (batch === undefined) return;
    isSending = true;
    void batch.send().then(() => {
      isSending = false;
      sendNext();
    });
  }

  return (job, runAtMs) => {
    let batch = batches.at(-1);
    if (batch === undefined || batch.jobs.length >= QUEUE_LIMITS.maxBatch) {
      batch = newBatch(producer);
      batches.push(batch);
      if (!isSending && batches.length === 1) setImmediate(sendNext);
    }
    batch.jobs.push(newQueueJob(job, runAtMs));
    return batch.added;
  };
}

/** Its time runs from now on: with the wait for those before it, its pushes take no longer than one call. */
function newBatch(producer: Pick<Producer, 'add'>): Batch {
  const jobs: NewQueueJob[] = [];
  let isOver = false;
  let start: () => void = () => {};
  const sent = new Promise<void>((resolve) => {
    start = resolve;
  }).then(() => (isOver ? undefined : producer.add(jobs)));
  const added = within(QUEUE_LIMITS.callMs, sent).then(
    () => {},
    (error: unknown) => {
      isOver = true;
      throw storeError(error);
    },
  );
  return {
    jobs,
    added,
    send() {
      start();
      return added.catch(() => {});
    },
  };
}

function newQueueJob({ id, priority }: Dispatch, runAtMs: number): NewQueueJob {
  const nowMs = Date.now();
  const opts = {
    ...(priority > 0 && { priority: Math.min(priority, MAX_PRIORITY) }),
    ...(runAtMs > nowMs && { delay: runAtMs - nowMs }),
  };
  return { job: { ...NEW_JOB, id, opts, timestamp: nowMs }, jobId: id };
}
