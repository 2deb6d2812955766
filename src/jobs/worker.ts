import { ProtocolError } from '../errors/index.ts';
import { JOB_LIMITS, JOB_POLICY, type MessageLimits } from '../limits.ts';
import { type Attempt, isTerminal, type RecordStore } from '../store/index.ts';
import { invoke, type Logger, parseArgs, type Settled, type Tool, type ToolContext } from '../tools/index.ts';
import type { JsonObject } from '../wire/index.ts';
import type { Dispatcher, Lease, Verdict } from './dispatcher.ts';
import { createProgressWriter } from './progress.ts';
import { createSettler, REASONS, type Settler } from './settle.ts';

export interface WorkerOptions {
  readonly store: RecordStore;
  readonly dispatcher: Dispatcher;
  readonly tools: ReadonlyMap<string, Tool>;
  readonly log: Logger;
  readonly now: () => number;
  readonly concurrency: number;
  readonly leaseMs: number;
  /** What a result must fit into. */
  readonly messageLimits: MessageLimits;
}

export interface Worker {
  /** Lets running jobs end for `drainMs`, then gives the rest back to the queue. */
  stop(drainMs: number): Promise<void>;
}

/** One attempt that runs in this process. */
interface Running {
  readonly attempt: Attempt;
  /** Aborts the tool's signal; the first reason counts. */
  abort(why: ProtocolError): void;
  /** Ends the wait for a tool that has not returned. */
  abandon(verdict: Verdict): void;
}

/** Runs the jobs that the dispatcher hands out, each attempt under its own fence. */
export function startWorker(options: WorkerOptions): Worker {
  const { store, dispatcher, tools, log, now, concurrency, leaseMs, messageLimits } = options;
  const running = new Map<string, Running>();
  const settler = createSettler(store, log, now, messageLimits);
  let stopping = false;
  const onError = (error: unknown) => log.error({ err: error }, 'queue failed');
  const stopListening = store.jobs.onChange((id, state) => {
    if (isTerminal(state)) running.get(id)?.abort(REASONS.ended);
  });
  const consumer = dispatcher.consume(runJob, { concurrency, leaseMs, onError });

  async function runJob(jobId: string, lease: Lease): Promise<Verdict> {
    const attempt = await store.jobs.begin(jobId, now());
    if (attempt === null) return 'done';
    if (stopping) return settler.giveBack(attempt, 0, 'shutdown');
    const tool = tools.get(attempt.tool);
    if (tool === undefined) {
      const retryAfterMs = Math.max(attempt.backoffMs, JOB_POLICY.backoffMs);
      return settler.giveBack(attempt, retryAfterMs, `there is no tool ${attempt.tool} here`);
    }
    if (attempt.attempt > attempt.attempts) {
      return settler.fail(attempt, `the worker died in each of ${attempt.attempts} attempts`);
    }
    return new Promise((resolve, reject) => {
      runAttempt(tool, attempt, lease, resolve).then(resolve, reject);
    });
  }

  async function runAttempt(
    tool: Tool,
    attempt: Attempt,
    lease: Lease,
    abandon: Running['abandon'],
  ): Promise<Verdict> {
    const { fence, args, clientId, requestId, deadlineMs } = attempt;
    const aborter = createAborter();
    const { abort } = aborter;
    const progress = createProgressWriter(store, fence, now, messageLimits, () => abort(REASONS.takenOver));
    const deadline = startDeadline(deadlineMs - now(), () => abort(REASONS.expired));
    lease.onLost = () => abort(REASONS.takenOver);
    running.set(fence.jobId, { attempt, abort, abandon });
    const ran = runTool(tool, args, {
      get signal() {
        return aborter.signal;
      },
      progress: progress.report,
      log,
      clientId,
      requestId,
    });
    const settled = await ran.finally(() => {
      lease.freeSlot();
      clearTimeout(deadline);
      progress.stop();
      // Another attempt of the same job may run here by now.
      if (running.get(fence.jobId)?.attempt === attempt) running.delete(fence.jobId);
    });
    return settler.settle(attempt, settled, aborter.why);
  }

  return {
    async stop(drainMs) {
      stopping = true;
      const stopped = consumer.stop();
      await until(() => running.size === 0, drainMs);
      await abandonAll(running, settler);
      await stopped;
      stopListening();
    },
  };
}

async function abandonAll(running: ReadonlyMap<string, Running>, settler: Settler): Promise<void> {
  for (const { abort } of running.values()) abort(REASONS.shutdown);
  await until(() => running.size === 0, JOB_LIMITS.abortGraceMs);
  const left = [...running.values()];
  await Promise.all(
    left.map(async ({ attempt, abandon }) => abandon(await settler.giveBack(attempt, 0, 'shutdown'))),
  );
}

function createAborter() {
  // Its signal is made when somebody asks for it: 2 µs that most jobs need not pay.
  const controller = new AbortController();
  let why: ProtocolError | null = null;
  return {
    get signal() {
      return controller.signal;
    },
    get why() {
      return why;
    },
    /** The first reason counts. */
    abort(reason: ProtocolError): void {
      why ??= reason;
      controller.abort(why);
    },
  };
}

/** Longest time of a timer of Node; beyond it a timer fires at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** A deadline that no timer can hold is the sweeper's, which looks at all of them. */
function startDeadline(ms: number, expire: () => void): NodeJS.Timeout | undefined {
  return ms > MAX_TIMER_MS ? undefined : setTimeout(expire, ms);
}

async function runTool(tool: Tool, args: JsonObject, context: ToolContext): Promise<Settled> {
  try {
    return await invoke(tool, await parseArgs(tool, args), context);
  } catch (error) {
    // The tool's schema has changed since the job was accepted; invoke itself does not throw.
    if (error instanceof ProtocolError) return { ok: false, error, retryable: false };
    throw error;
  }
}

/** Waits until the condition holds, or for a time. */
async function until(condition: () => boolean, ms: number): Promise<void> {
  const endMs = performance.now() + ms;
  while (!condition() && performance.now() < endMs) await new Promise((resolve) => setTimeout(resolve, 10));
}
