import type { Dispatch } from '../../store/index.ts';
import { type NewQueueJob, type Producer, QUEUE_LIMITS } from './bullmq-service.ts';
import { storeError, within } from './bullmq-trouble.ts';

/** Pushes that go out together. */
interface Batch {
  readonly jobs: NewQueueJob[];
  /** Rejects with StoreError. */
  readonly added: Promise<void>;
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
 * Brings jobs to one queue. The pushes of a turn go out as one batch, and while one is under way the next
 * gathers: on PostgreSQL each batch is a commit.
 */
export function createPusher(producer: Pick<Producer, 'add'>) {
  let gathering: Batch | null = null;
  let sending = false;

  function sendNext(): void {
    const batch = gathering;
    gathering = null;
    if (batch === null) return;
    sending = true;
    void batch.send().finally(() => {
      sending = false;
      sendNext();
    });
  }

  return (job: Dispatch, runAtMs: number): Promise<void> => {
    if (gathering === null || gathering.jobs.length >= QUEUE_LIMITS.maxBatch) {
      const full = gathering;
      gathering = newBatch(producer);
      if (full !== null) void full.send();
      else if (!sending) setImmediate(sendNext);
    }
    gathering.jobs.push(newQueueJob(job, runAtMs));
    return gathering.added;
  };
}

/** Its time runs from now on, with the wait for the batch before it. */
function newBatch(producer: Pick<Producer, 'add'>): Batch {
  const jobs: NewQueueJob[] = [];
  let start: () => void = () => {};
  const sent = new Promise<void>((resolve) => {
    start = resolve;
  }).then(() => producer.add(jobs));
  const added = within(QUEUE_LIMITS.callMs, sent).then(
    () => {},
    (error: unknown) => {
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
