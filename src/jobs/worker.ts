import { ProtocolError } from '../errors/index.ts';
import { JOB_LIMITS, JOB_POLICY, type MessageLimits } from '../limits.ts';
import { type Attempt, isTerminal, type RecordStore } from '../store/index.ts';
import { invoke, type Logger, parseArgs, type Settled, type Tool, type ToolContext } from '../tools/index.ts';
import type { Dispatcher, Lease, Verdict } from './dispatcher.ts';
import { RunningAttempt } from './running-attempt.ts';
import { createSettler, REASONS, type Settler } from './settle.ts';
import { until } from './until.ts';

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

/** Runs the jobs that the dispatcher hands out, each attempt under its own fence. */
export function startWorker(options: WorkerOptions): Worker {
  const { store, dispatcher, tools, log, now, concurrency, leaseMs, messageLimits } = options;
  const running = new Map<string, RunningAttempt>();
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
    if (attempt.deadlineMs <= now()) return settler.expire(attempt);
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
      const run = new RunningAttempt(attempt, options, resolve);
      lease.onLost = () => run.abort(REASONS.takenOver);
      running.set(jobId, run);
      runTool(tool, attempt, run)
        .then(
          (settled) => {
            end(run, lease);
            return settler.settle(attempt, settled, run.why);
          },
          (error: unknown) => {
            end(run, lease);
            throw error;
          },
        )
        .then(resolve, reject);
    });
  }

  function end(run: RunningAttempt, lease: Lease): void {
    const { jobId } = run.attempt.fence;
    lease.freeSlot();
    run.end();
    // Another attempt of the same job may run here by now.
    if (running.get(jobId) === run) running.delete(jobId);
  }

  return {
    async stop(drainMs) {
      stopping = true;
      const stopped = consumer.stop();
      await until(() => running.size === 0, drainMs);
      await abandonAll(running, settler);
      settler.giveUp();
      await stopped;
      stopListening();
    },
  };
}

async function abandonAll(running: ReadonlyMap<string, RunningAttempt>, settler: Settler): Promise<void> {
  for (const run of running.values()) run.abort(REASONS.shutdown);
  await until(() => running.size === 0, JOB_LIMITS.abortGraceMs);
  const left = [...running.values()];
  await Promise.all(
    left.map(({ attempt, abandon }) =>
      settler.giveBack(attempt, 0, 'shutdown').then(abandon, () => {
        // A store that fails: the record still says `running`, and the next start takes it over.
        abandon('done');
      }),
    ),
  );
}

/** Rejects when the tool's schema throws: a fault of the program, not of the arguments. */
function runTool(tool: Tool, attempt: Attempt, context: ToolContext): Promise<Settled> {
  try {
    const parsed = parseArgs(tool, attempt.args);
    if (!(parsed instanceof Promise)) return Promise.resolve(invoke(tool, parsed, context));
    return parsed.then((args: unknown) => invoke(tool, args, context), refusal);
  } catch (error) {
    return Promise.resolve(error).then(refusal);
  }
}

/** Only parseArgs throws: the tool's schema has changed since the job was accepted. */
function refusal(error: unknown): Settled {
  if (error instanceof ProtocolError) return { ok: false, error, retryable: false };
  throw error;
}
