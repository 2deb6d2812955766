import { ProtocolError } from '../errors/index.ts';
import { JOB_LIMITS } from '../limits.ts';
import { type Attempt, isTerminal, type RecordStore } from '../store/index.ts';
import { invoke, type Logger, parseArgs, type Settled, type Tool, type ToolContext } from '../tools/index.ts';
import type { JsonObject } from '../wire/index.ts';
import type { Dispatcher, Lease, Verdict } from './dispatcher.ts';
import { createProgressWriter } from './progress.ts';
import { createSettler, REASONS } from './settle.ts';

export interface WorkerOptions {
  readonly store: RecordStore;
  readonly dispatcher: Dispatcher;
  readonly tools: ReadonlyMap<string, Tool>;
  readonly log: Logger;
  readonly now: () => number;
  readonly concurrency: number;
  readonly leaseMs: number;
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
  const { store, dispatcher, tools, log, now, concurrency, leaseMs } = options;
  const running = new Map<string, Running>();
  const settler = createSettler(store, log, now);
  const onError = (error: unknown) => log.error({ err: error }, 'queue failed');
  const stopListening = store.jobs.onChange((id, state) => {
    if (isTerminal(state)) running.get(id)?.abort(REASONS.ended);
  });
  const consumer = dispatcher.consume(runJob, { concurrency, leaseMs, onError });

  async function runJob(jobId: string, lease: Lease): Promise<Verdict> {
    const attempt = await store.jobs.begin(jobId, now());
    if (attempt === null) return 'done';
    const tool = tools.get(attempt.tool);
    if (tool === undefined)
      return settler.giveBack(attempt, attempt.backoffMs, `there is no tool ${attempt.tool} here`);
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
    // Its signal is made when somebody asks for it: 2 µs that most jobs need not pay.
    const controller = new AbortController();
    let why: ProtocolError | null = null;
    const abort = (reason: ProtocolError) => {
      why ??= reason;
      controller.abort(why);
    };
    const progress = createProgressWriter(store, fence, now, () => abort(REASONS.takenOver));
    const deadline = setTimeout(abort, deadlineMs - now(), REASONS.expired);
    lease.onLost = () => abort(REASONS.takenOver);
    running.set(fence.jobId, { attempt, abort, abandon });
    const settled = await runTool(tool, args, {
      get signal() {
        return controller.signal;
      },
      progress: progress.report,
      log,
      clientId,
      requestId,
    });
    lease.freeSlot();
    clearTimeout(deadline);
    progress.stop();
    // Another attempt of the same job may run here by now.
    if (running.get(fence.jobId)?.attempt === attempt) running.delete(fence.jobId);
    return settler.settle(attempt, settled, why);
  }

  async function abandonRunning(): Promise<void> {
    for (const { abort } of running.values()) abort(REASONS.shutdown);
    await until(() => running.size === 0, JOB_LIMITS.abortGraceMs);
    const left = [...running.values()];
    await Promise.all(
      left.map(async ({ attempt, abandon }) => abandon(await settler.giveBack(attempt, 0, 'shutdown'))),
    );
  }

  return {
    async stop(drainMs) {
      const stopped = consumer.stop();
      await until(() => running.size === 0, drainMs);
      await abandonRunning();
      await stopped;
      stopListening();
    },
  };
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
