import { ProtocolError } from '../errors/index.ts';
import { JOB_LIMITS } from '../limits.ts';
import { type Attempt, isTerminal, type JobEnd, type RecordStore } from '../store/index.ts';
import { invoke, type Logger, parseArgs, type Settled, type Tool, type ToolContext } from '../tools/index.ts';
import { canonicalize, type JsonObject } from '../wire/index.ts';
import type { Dispatcher, Lease, Verdict } from './dispatcher.ts';
import { createProgressWriter } from './progress.ts';

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

const SHUTDOWN = new ProtocolError('busy', 'the server shuts down');
const TAKEN_OVER = new ProtocolError('busy', 'another worker took the job over');
const ENDED = new ProtocolError('cancelled', 'the job has ended');
const EXPIRED = new ProtocolError('deadline_exceeded', 'the job did not end in time');

/** Runs the jobs that the dispatcher hands out, each attempt under its own fence. */
export function startWorker(options: WorkerOptions): Worker {
  const { store, dispatcher, tools, log, now } = options;
  const running = new Map<string, Running>();
  const stopListening = store.jobs.onChange((id, state) => {
    if (isTerminal(state)) running.get(id)?.abort(ENDED);
  });
  const consumer = dispatcher.consume(runJob, {
    concurrency: options.concurrency,
    leaseMs: options.leaseMs,
    onError: (error) => log.error({ err: error }, 'queue failed'),
  });

  async function runJob(jobId: string, lease: Lease): Promise<Verdict> {
    const attempt = await store.jobs.begin(jobId, now());
    if (attempt === null) return 'done';
    const tool = tools.get(attempt.tool);
    if (tool === undefined) return giveBack(attempt, attempt.backoffMs, `there is no tool ${attempt.tool} here`);
    if (attempt.attempt > attempt.attempts) {
      return finish(attempt, failed(`the worker died in each of ${attempt.attempts} attempts`));
    }
    return runAttempt(tool, attempt, lease);
  }

  function runAttempt(tool: Tool, attempt: Attempt, lease: Lease): Promise<Verdict> {
    const { fence, clientId, requestId, deadlineMs } = attempt;
    // Its signal is made when somebody asks for it: 2 µs that most jobs need not pay.
    const controller = new AbortController();
    const progress = createProgressWriter(store, fence, now, () => abort(TAKEN_OVER));
    const context: ToolContext = {
      get signal() {
        return controller.signal;
      },
      progress: progress.report,
      log,
      clientId,
      requestId,
    };
    let why: ProtocolError | null = null;
    const abort = (reason: ProtocolError) => {
      why ??= reason;
      controller.abort(why);
    };
    const deadline = setTimeout(abort, deadlineMs - now(), EXPIRED);
    lease.onLost = () => abort(TAKEN_OVER);

    async function run(): Promise<Verdict> {
      const settled = await runTool(tool, attempt.args, context);
      lease.freeSlot();
      clearTimeout(deadline);
      progress.stop();
      // Another attempt of the same job may run here by now.
      if (running.get(fence.jobId)?.attempt === attempt) running.delete(fence.jobId);
      return settle(attempt, settled, why);
    }

    return new Promise((resolve, reject) => {
      running.set(fence.jobId, { attempt, abort, abandon: resolve });
      run().then(resolve, reject);
    });
  }

  function settle(attempt: Attempt, settled: Settled, why: ProtocolError | null): Promise<Verdict> {
    if (settled.ok) return finish(attempt, succeeded(settled.result));
    // Whoever took the job over, or ended it, has written how it goes on.
    if (why === TAKEN_OVER || why === ENDED) return Promise.resolve('done');
    if (why === SHUTDOWN) return giveBack(attempt, 0, 'shutdown');
    const { error, retryable } = settled;
    if (why === EXPIRED) return finish(attempt, { state: 'expired', result: null, error: EXPIRED.text });
    if (retryable && attempt.attempt < attempt.attempts) return retry(attempt);
    return finish(attempt, failed(error.code === 'job_failed' ? error.message : error.text));
  }

  async function finish(attempt: Attempt, end: JobEnd): Promise<Verdict> {
    if (!(await store.jobs.finish(attempt.fence, end, now()))) {
      log.info({ job_id: attempt.fence.jobId }, 'the job had ended or gone to another worker: its outcome is dropped');
    }
    return 'done';
  }

  async function retry(attempt: Attempt): Promise<Verdict> {
    const released = await store.jobs.release(attempt.fence, true, now());
    const backoffMs = attempt.backoffMs * 2 ** (attempt.attempt - 1);
    return released ? { retryAfterMs: Math.min(backoffMs, JOB_LIMITS.maxBackoffMs) } : 'done';
  }

  /** Back to the queue as if the attempt had not been. */
  async function giveBack(attempt: Attempt, retryAfterMs: number, why: string): Promise<Verdict> {
    const released = await store.jobs.release(attempt.fence, false, now());
    log.warn({ job_id: attempt.fence.jobId, why }, 'job goes back to the queue');
    return released ? { retryAfterMs } : 'done';
  }

  async function abandonRunning(): Promise<void> {
    for (const { abort } of running.values()) abort(SHUTDOWN);
    await until(() => running.size === 0, JOB_LIMITS.abortGraceMs);
    const left = [...running.values()];
    await Promise.all(left.map(async ({ attempt, abandon }) => abandon(await giveBack(attempt, 0, 'shutdown'))));
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
  let parsed: unknown;
  try {
    parsed = await parseArgs(tool, args);
  } catch (error) {
    // The tool's schema has changed since the job was accepted.
    if (error instanceof ProtocolError) return { ok: false, error, retryable: false };
    throw error;
  }
  return invoke(tool, parsed, context);
}

function failed(message: string): JobEnd {
  return { state: 'failed', result: null, error: `job_failed: ${message}` };
}

function succeeded(result: Readonly<Record<string, unknown>>): JobEnd {
  try {
    // Parsing the canonical text back gives exactly what a client will be sent.
    return { state: 'succeeded', result: JSON.parse(canonicalize(result)) as JsonObject, error: null };
  } catch (error) {
    return failed(`the result cannot be sent: ${error instanceof Error ? error.message : 'not JSON'}`);
  }
}

/** Waits until the condition holds, or for a time. */
async function until(condition: () => boolean, ms: number): Promise<void> {
  const endMs = performance.now() + ms;
  while (!condition() && performance.now() < endMs) await new Promise((resolve) => setTimeout(resolve, 10));
}
