import { randomUUID } from 'node:crypto';
import { busy, type Code, invalidArgs, ProtocolError } from '../errors/index.ts';
import type { Dispatcher } from '../jobs/index.ts';
import { type MessageLimits, SERVER_LIMITS } from '../limits.ts';
import { type NewJob, newJobId, type NewRequest, type Outcome, type RecordStore } from '../store/index.ts';
import {
  answerIssues,
  invoke,
  type Logger,
  parseArgs,
  type Progress,
  refuseToAsk,
  type Settled,
  type Tool,
} from '../tools/index.ts';
import { asResult } from '../wire/index.ts';
import { digestOfRequest, outcomeOf } from './admit.ts';
import type { Authorized } from './authorize.ts';
import type { Call } from './call.ts';
import { accepted, completed, failed, refused } from './outcome.ts';
import { isBuiltIn } from './registry.ts';
import { endOfWork } from './refusal.ts';
import { countJob, daySpent, maxOpenJobsOf } from './clients/terms.ts';

export interface DispatchContext {
  readonly store: RecordStore;
  readonly dispatcher: Dispatcher;
  readonly log: Logger;
  readonly now: () => number;
  readonly directTimeoutMs: number;
  readonly maxOpenJobs: number;
  readonly messageLimits: MessageLimits;
  /** Stops each direct call that runs; used when the server has drained long enough. */
  readonly running: Set<() => void>;
  /** Aborts when the server starts to drain: held replies are let go. */
  readonly draining: AbortSignal;
}

/** On wires that can: how to stop a direct tool, and whom to tell how far it is. */
export interface Watch {
  readonly signal?: AbortSignal;
  readonly progress?: (progress: Progress) => void;
}

/**
 * Step 5: the tool's input schema, then run now or accept a job (docs/protocol.md §4, §5, §6).
 *
 * @throws ProtocolError `invalid_args`, and what the tool throws
 */
export async function dispatch(
  { call, tool }: Authorized,
  context: DispatchContext,
  watch: Watch = {},
): Promise<Outcome> {
  const args = await parseArgs(tool, call.args);
  if (isBuiltIn(tool)) {
    const { client, generation } = call;
    return tool.answer(args, { client, generation, signal: context.draining });
  }
  refuseUnanswered(tool, call);
  if (tool.job !== null) return acceptJob(call, tool, tool.job, context);
  if (tool.repeatable || !call.mayRepeat) {
    return outcomeOfRun(await runDirect(tool, args, call, context, watch));
  }
  return runOnce(tool, args, call, context);
}

/** @throws ProtocolError `invalid_args` for answers that break their questions, or on a wire where nobody was asked */
export function refuseUnanswered(
  { name, asks }: Pick<Tool, 'name' | 'asks'>,
  { answers }: Pick<Call, 'answers'>,
): void {
  const keys = Object.keys(asks);
  if (keys.length === 0) return;
  const missing = keys.filter((key) => !Object.hasOwn(answers, key));
  if (missing.length > 0) {
    const what = `${name} asks first (${missing.join(', ')}): call it over the Model Context Protocol`;
    throw new ProtocolError('invalid_args', what);
  }
  const issues = answerIssues(asks, answers);
  if (issues.length > 0) throw invalidArgs(issues);
}

async function acceptJob(
  call: Call,
  tool: Tool,
  { attempts, backoffMs, deadlineMs, retentionMs }: NonNullable<Tool['job']>,
  context: DispatchContext,
): Promise<Outcome> {
  const { store, dispatcher } = context;
  const nowMs = context.now();
  const maxOpenJobs = maxOpenJobsOf(call.client, context.maxOpenJobs);
  const id = newJobId(call.client.id, nowMs);
  const request = newRequest(call, nowMs, nowMs + deadlineMs);
  const job: NewJob = {
    id,
    request,
    tool: tool.name,
    args: call.args,
    answers: call.answers,
    attempts,
    backoffMs,
    deadlineMs: nowMs + deadlineMs,
    retentionMs,
    createdMs: nowMs,
    maxOpenJobs,
  };
  const creation = await countJob(call.client, store.counters, nowMs, () => store.jobs.create(job));
  if (creation === null) {
    // A retry that came at the same moment finds the job for which the last of the day was taken.
    const known = await store.requests.find(call.client.id, call.requestId);
    if (known === null) throw daySpent(call.client, nowMs);
    return outcomeOf(known, request.digest, nowMs);
  }
  if (creation.outcome === 'known') return outcomeOf(creation.request, request.digest, nowMs);
  if (creation.outcome === 'full') {
    throw busy(`you have ${maxOpenJobs} jobs that have not ended`, SERVER_LIMITS.fullRetryMs);
  }
  await dispatcher.push({ id, tool: tool.name, priority: creation.priority }, nowMs);
  return accepted(id);
}

/** Codes by which a tool says that it has done nothing. */
const NOTHING_DONE: ReadonlySet<Code> = new Set(['busy', 'rate_limited'] as const);

/** A direct tool whose second run would do harm: its outcome is recorded and given to every retry (§5). */
async function runOnce(tool: Tool, args: unknown, call: Call, context: DispatchContext): Promise<Outcome> {
  const { requests } = context.store;
  const { client, requestId } = call;
  const nowMs = context.now();
  const deadlineMs = nowMs + context.directTimeoutMs + SERVER_LIMITS.outcomeGraceMs;
  const request = newRequest(call, nowMs, deadlineMs);
  const known = await requests.claim(request);
  if (known !== null) return outcomeOf(known, request.digest, nowMs);
  const settled = await runDirect(tool, args, call, context, {});
  if (!settled.ok && NOTHING_DONE.has(settled.error.code)) {
    // The tool itself asks to come back later: the retry must find the way free.
    await requests.release(client.id, requestId);
    throw settled.error;
  }
  const outcome = recordable(settled, context);
  await requests.finish(client.id, requestId, outcome);
  return outcome;
}

function newRequest(call: Call, nowMs: number, deadlineMs: number): NewRequest {
  const expiresMs = nowMs + SERVER_LIMITS.requestRetentionMs;
  const { client, requestId } = call;
  return { clientId: client.id, requestId, digest: digestOfRequest(call), deadlineMs, expiresMs };
}

/** Runs a direct tool for at most its time; a tool that does not heed its signal is not waited for. */
function runDirect(
  tool: Tool,
  args: unknown,
  call: Call,
  context: DispatchContext,
  watch: Watch,
): Settled | Promise<Settled> {
  const controller = new AbortController();
  // Its signal is made when somebody asks for it: 2 µs that most calls need not pay.
  const settled = invoke(tool, args, {
    get signal() {
      return controller.signal;
    },
    progress: watch.progress ?? ignoreProgress,
    answers: call.answers,
    ask: refuseToAsk,
    log: context.log,
    clientId: call.client.id,
    requestId: call.requestId,
  });
  return settled instanceof Promise ? limit(settled, controller, context, watch.signal) : settled;
}

function ignoreProgress(): void {}

/** Ends the wait for a run, and tells the tool, when its time is up, its caller goes or the server shuts down. */
function limit(
  settled: Promise<Settled>,
  controller: AbortController,
  { directTimeoutMs, running }: DispatchContext,
  caller: AbortSignal | undefined,
): Promise<Settled> {
  return new Promise((resolve) => {
    const stop = (error: ProtocolError) => {
      running.delete(interrupt);
      clearTimeout(timer);
      caller?.removeEventListener('abort', cancel);
      controller.abort(error);
      resolve({ ok: false, error, retryable: false });
    };
    const interrupt = () => stop(new ProtocolError('internal', 'the server shut down while the tool ran'));
    const cancel = () => stop(new ProtocolError('cancelled', 'the caller went away'));
    const timer = setTimeout(() => stop(tooLate(directTimeoutMs)), directTimeoutMs);
    running.add(interrupt);
    caller?.addEventListener('abort', cancel);
    void settled.then((result) => {
      clearTimeout(timer);
      running.delete(interrupt);
      caller?.removeEventListener('abort', cancel);
      resolve(result);
    });
    // It went while its call was looked at.
    if (caller?.aborted === true) cancel();
  });
}

function tooLate(directTimeoutMs: number): ProtocolError {
  return new ProtocolError('deadline_exceeded', `the tool did not answer within ${directTimeoutMs} ms`);
}

/** A failure that the tool states is an answer; any other error refuses the call. */
function outcomeOfRun(settled: Settled): Outcome {
  if (settled.ok) return completed(settled.result);
  if (settled.error.code === 'job_failed') return failed(settled.error.text);
  throw NOTHING_DONE.has(settled.error.code) ? settled.error : endOfWork(settled.error);
}

/** The same, for the record: what a retry is given whatever it was. */
function recordable(settled: Settled, { log, messageLimits }: DispatchContext): Outcome {
  if (!settled.ok) {
    return settled.error.code === 'job_failed' ? failed(settled.error.text) : refused(settled.error);
  }
  try {
    return completed(asResult(settled.result, messageLimits));
  } catch (error) {
    const id = randomUUID();
    log.error({ err: error, error_id: id }, 'a result cannot be sent');
    return refused(new ProtocolError('internal', `the result cannot be sent; error id ${id}`));
  }
}
