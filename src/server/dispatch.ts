import { randomUUID } from 'node:crypto';
import { busy, type Code, ProtocolError } from '../errors/index.ts';
import type { Dispatcher } from '../jobs/index.ts';
import { type MessageLimits, SERVER_LIMITS } from '../limits.ts';
import { newJobId, type NewRequest, type Outcome, type RecordStore } from '../store/index.ts';
import { invoke, type Logger, parseArgs, type Settled, type Tool } from '../tools/index.ts';
import { asResult } from '../wire/index.ts';
import { fingerprint } from '../wire/signature.ts';
import { digestOf, outcomeOf } from './admit.ts';
import type { Authorized } from './authorize.ts';
import { accepted, completed, failed, refused } from './outcome.ts';
import { isBuiltIn } from './registry.ts';

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

/**
 * Step 5: the tool's input schema, then run now or accept a job (docs/protocol.md §4, §5, §6).
 *
 * @throws ProtocolError `invalid_args`, and what the tool throws
 */
export async function dispatch(call: Authorized, context: DispatchContext): Promise<Outcome> {
  const { message, tool, keys } = call;
  const args = await parseArgs(tool, message.args);
  if (isBuiltIn(tool)) {
    const caller = {
      clientId: message.client_id,
      fingerprint: () => fingerprint(keys.response[0]),
      signal: context.draining,
    };
    return tool.answer(args, caller);
  }
  if (tool.job !== null) return acceptJob(call, tool.job, context);
  if (tool.repeatable) return outcomeOfRun(await runDirect(tool, args, call, context));
  return runOnce(tool, args, call, context);
}

async function acceptJob(
  { message, tool }: Authorized,
  { attempts, backoffMs, deadlineMs, retentionMs }: NonNullable<Tool['job']>,
  { store, dispatcher, now, maxOpenJobs }: DispatchContext,
): Promise<Outcome> {
  const nowMs = now();
  const id = newJobId(message.client_id, nowMs);
  const request = newRequest(message, nowMs, nowMs + deadlineMs);
  const creation = await store.jobs.create({
    id,
    request,
    tool: tool.name,
    args: message.args,
    attempts,
    backoffMs,
    deadlineMs: nowMs + deadlineMs,
    retentionMs,
    createdMs: nowMs,
    maxOpenJobs,
  });
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
async function runOnce(
  tool: Tool,
  args: unknown,
  call: Authorized,
  context: DispatchContext,
): Promise<Outcome> {
  const { requests } = context.store;
  const { client_id, request_id } = call.message;
  const nowMs = context.now();
  const deadlineMs = nowMs + context.directTimeoutMs + SERVER_LIMITS.outcomeGraceMs;
  const request = newRequest(call.message, nowMs, deadlineMs);
  const known = await requests.claim(request);
  if (known !== null) return outcomeOf(known, request.digest, nowMs);
  const settled = await runDirect(tool, args, call, context);
  if (!settled.ok && NOTHING_DONE.has(settled.error.code)) {
    // The tool itself asks to come back later: the retry must find the way free.
    await requests.release(client_id, request_id);
    throw settled.error;
  }
  const outcome = recordable(settled, context);
  await requests.finish(client_id, request_id, outcome);
  return outcome;
}

function newRequest(message: Authorized['message'], nowMs: number, deadlineMs: number): NewRequest {
  const expiresMs = nowMs + SERVER_LIMITS.requestRetentionMs;
  const { client_id: clientId, request_id: requestId } = message;
  return { clientId, requestId, digest: digestOf(message), deadlineMs, expiresMs };
}

/** Runs a direct tool for at most its time; a tool that does not heed its signal is not waited for. */
function runDirect(
  tool: Tool,
  args: unknown,
  call: Authorized,
  context: DispatchContext,
): Settled | Promise<Settled> {
  // Its signal is made when somebody asks for it: 2 µs that most calls need not pay.
  const controller = new AbortController();
  const settled = invoke(tool, args, {
    get signal() {
      return controller.signal;
    },
    progress: ignoreProgress,
    log: context.log,
    clientId: call.message.client_id,
    requestId: call.message.request_id,
  });
  return settled instanceof Promise ? limit(settled, controller, context) : settled;
}

function ignoreProgress(): void {}

/** Ends the wait for a run, and tells the tool, when its time is up or the server shuts down. */
function limit(
  settled: Promise<Settled>,
  controller: AbortController,
  { directTimeoutMs, running }: DispatchContext,
): Promise<Settled> {
  return new Promise((resolve) => {
    const stop = (error: ProtocolError) => {
      running.delete(interrupt);
      controller.abort(error);
      resolve({ ok: false, error, retryable: false });
    };
    const interrupt = () => stop(new ProtocolError('internal', 'the server shut down while the tool ran'));
    const timer = setTimeout(() => stop(tooLate(directTimeoutMs)), directTimeoutMs);
    running.add(interrupt);
    void settled.then((result) => {
      clearTimeout(timer);
      running.delete(interrupt);
      resolve(result);
    });
  });
}

function tooLate(directTimeoutMs: number): ProtocolError {
  return new ProtocolError('deadline_exceeded', `the tool did not answer within ${directTimeoutMs} ms`);
}

/** A failure that the tool states is an answer; any other error refuses the call. */
function outcomeOfRun(settled: Settled): Outcome {
  if (settled.ok) return completed(settled.result);
  if (settled.error.code === 'job_failed') return failed(settled.error.text);
  throw settled.error;
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
