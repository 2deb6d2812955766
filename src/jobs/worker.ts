import { ProtocolError } from '../errors/index.ts';
import { JOB_LIMITS } from '../limits.ts';
import { type Attempt, isTerminal, type JobEnd, type RecordStore } from '../store/index.ts';
import { invoke, type Logger, parseArgs, type Settled, type Tool } from '../tools/index.ts';
import { canonicalize, type JsonObject } from '../wire/index.ts';
import type { Dispatcher, Verdict } from './dispatcher.ts';
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
  readonly controller: AbortController;
  /** Ends the wait for the tool although it has not returned. */
  readonly abandon: (verdict: Verdict) => void;
}

const SHUTDOWN = new ProtocolError('busy', 'the server shuts down');
const LEASE_LOST = new ProtocolError('busy', 'another worker took the job over');

/** Runs the jobs that the dispatcher hands out, each attempt under its own fence. */
export function startWorker(options: WorkerOptions): Worker {
  const { store, dispatcher, tools, log, now } = options;
  const running = new Map<string, Running>();
  const stopListening = store.jobs.onChange((id, state) => {
    if (isTerminal(state)) running.get(id)?.controller.abort(new ProtocolError('cancelled', 'the job has ended'));
  });
  const consumer = dispatcher.consume(runJob, {
    concurrency: options.concurrency,
    leaseMs: options.leaseMs,
    onError: (error) => log.error({ err: error }, 'queue failed'),
  });

  async function runJob(jobId: string, lease: AbortSignal): Promise<Verdict> {
    const attempt = await store.jobs.begin(jobId, now());
    if (attempt === null) return 'done';
    const tool = tools.get(attempt.tool);
    if (tool === undefined) return giveBack(attempt, `no tool ${attempt.tool} here`);
    if (attempt.attempt > attempt.attempts) {
      return finish(attempt, failed(`the worker died in each of ${attempt.attempts} attempts`));
    }
    return runAttempt(tool, attempt, lease);
  }

  async function runAttempt(tool: Tool, attempt: Attempt, lease: AbortSignal): Promise<Verdict> {
    const { jobId } = attempt.fence;
    const controller = new AbortController();
    const progress = createProgressWriter(store, attempt.fence, now, () => controller.abort(LEASE_LOST));
    const expired = () => controller.abort(new ProtocolError('deadline_exceeded', 'the job ran past its deadline'));
    const deadline = setTimeout(expired, attempt.deadlineMs - now());
    lease.addEventListener('abort', () => controller.abort(LEASE_LOST));
    try {
      return await new Promise<Verdict>((resolve, reject) => {
        running.set(jobId, { attempt, controller, abandon: resolve });
        runTool(tool, attempt, controller.signal, progress.report)
          .then((settled) => settle(attempt, settled, controller.signal))
          .then(resolve, reject);
      });
    } finally {
      clearTimeout(deadline);
      progress.stop();
      // Another attempt of the same job may run here by now.
      if (running.get(jobId)?.attempt === attempt) running.delete(jobId);
    }
  }

  async function runTool(
    tool: Tool,
    { args, clientId, requestId }: Attempt,
    signal: AbortSignal,
    progress: ReturnType<typeof createProgressWriter>['report'],
  ): Promise<Settled> {
    try {
      return await invoke(tool, await parseArgs(tool, args), { signal, progress, log, clientId, requestId });
    } catch (error) {
      // Only parseArgs throws: the tool's schema has changed since the job was accepted.
      if (error instanceof ProtocolError) return { ok: false, error, retryable: false };
      throw error;
    }
  }

  function settle(attempt: Attempt, settled: Settled, signal: AbortSignal): Promise<Verdict> | Verdict {
    // Whoever aborted it has written, or is about to write, how it goes on.
    if (signal.reason === LEASE_LOST) return 'done';
    if (signal.reason === SHUTDOWN && !settled.ok) return giveBack(attempt, 'shutdown');
    if (settled.ok) return finish(attempt, succeeded(settled.result));
    const { error, retryable } = settled;
    if (error.code === 'deadline_exceeded') {
      return finish(attempt, { state: 'expired', result: null, error: error.text });
    }
    if (retryable && attempt.attempt < attempt.attempts) return retry(attempt);
    return finish(attempt, failed(error.code === 'job_failed' ? error.message : error.text));
  }

  async function finish(attempt: Attempt, end: JobEnd): Promise<Verdict> {
    if (!(await store.jobs.finish(attempt.fence, end, now()))) {
      log.info({ job_id: attempt.fence.jobId }, 'job had ended or gone to another worker; its outcome is dropped');
    }
    return 'done';
  }

  async function retry(attempt: Attempt): Promise<Verdict> {
    const released = await store.jobs.release(attempt.fence, true, now());
    const backoffMs = attempt.backoffMs * 2 ** (attempt.attempt - 1);
    return released ? { retryAfterMs: Math.min(backoffMs, JOB_LIMITS.maxBackoffMs) } : 'done';
  }

  async function giveBack(attempt: Attempt, why: string): Promise<Verdict> {
    const released = await store.jobs.release(attempt.fence, false, now());
    log.warn({ job_id: attempt.fence.jobId, why }, 'job goes back to the queue');
    return released ? { retryAfterMs: why === 'shutdown' ? 0 : attempt.backoffMs } : 'done';
  }

  async function abandonRunning(): Promise<void> {
    for (const { controller } of running.values()) controller.abort(SHUTDOWN);
    await delay(JOB_LIMITS.abortGraceMs, () => running.size === 0);
    await Promise.all(
      [...running.values()].map(async ({ attempt, abandon }) => abandon(await giveBack(attempt, 'shutdown'))),
    );
  }

  return {
    async stop(drainMs) {
      const stopped = consumer.stop();
      await Promise.race([stopped, delay(drainMs, () => running.size === 0)]);
      await abandonRunning();
      await stopped;
      stopListening();
    },
  };
}

function failed(message: string): JobEnd {
  return { state: 'failed', result: null, error: `job_failed: ${message}` };
}

/** @throws CanonicalJsonError never: a result that no message can carry makes the job fail */
function succeeded(result: Readonly<Record<string, unknown>>): JobEnd {
  try {
    // Parsing the canonical text back gives exactly what a client will be sent.
    return { state: 'succeeded', result: JSON.parse(canonicalize(result)) as JsonObject, error: null };
  } catch (error) {
    return failed(`the result cannot be sent: ${error instanceof Error ? error.message : 'not JSON'}`);
  }
}

/** Waits for a time, or until `done` holds. */
async function delay(ms: number, done: () => boolean): Promise<void> {
  const endMs = performance.now() + ms;
  while (!done() && performance.now() < endMs) {
    await new Promise((resolve) => setTimeout(resolve, Math.min(10, ms)));
  }
}
