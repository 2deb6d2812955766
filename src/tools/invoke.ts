import { randomUUID } from 'node:crypto';
import { type Code, factsOf, invalidArgs, ProtocolError, ToolError } from '../errors/index.ts';
import { TOOL_LIMITS } from '../limits.ts';
import type { ToolContext } from './context.ts';
import type { Tool } from './define-tool.ts';
import { type Checked, check } from './schema.ts';

/** How one run of a tool ended. */
export type Settled =
  | { readonly ok: true; readonly result: Readonly<Record<string, unknown>> }
  | { readonly ok: false; readonly error: ProtocolError; readonly retryable: boolean };

/**
 * Arguments as the tool's own schema returns them; a promise only if the schema works asynchronously.
 *
 * @throws ProtocolError `invalid_args` with `{issues: [{path, message}]}` as its result
 */
export function parseArgs(tool: Pick<Tool, 'input'>, args: unknown): unknown {
  const checked = check(tool.input, args);
  return checked instanceof Promise ? checked.then(acceptArgs) : acceptArgs(checked);
}

function acceptArgs(checked: Checked<unknown>): unknown {
  if ('value' in checked) return checked.value;
  throw invalidArgs(checked.issues);
}

/**
 * Runs a tool once on parsed arguments. Neither throws nor rejects: what a tool throws is turned into
 * one of the known errors here and nowhere else. Only the messages of `ToolError` and `ProtocolError`
 * are shown to the caller; of anything else the caller gets an opaque id and the log gets the detail.
 *
 * @returns a promise only if the tool or its output schema works asynchronously
 */
export function invoke(tool: Tool, args: unknown, context: ToolContext): Settled | Promise<Settled> {
  try {
    // parseArgs returned these arguments from this tool's own input schema.
    const returned = tool.run(args as never, context);
    const checked = isThenable(returned)
      ? Promise.resolve(returned).then((value) => check(tool.output, value))
      : check(tool.output, returned);
    if (!(checked instanceof Promise)) return succeed(checked);
    return checked.then(succeed).catch((error: unknown) => settleError(error, tool, context));
  } catch (error) {
    return settleError(error, tool, context);
  }
}

/** Promises, and what only behaves like them: query builders, promises of another realm. */
function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
}

function succeed(checked: Checked<unknown>): Settled {
  if ('issues' in checked) {
    const [issue] = checked.issues;
    throw new TypeError(`the tool broke its own output schema at ${issue?.path}: ${issue?.message}`);
  }
  // jsonSchemaOf has shown at definition that the output schema describes an object.
  return { ok: true, result: checked.value as Readonly<Record<string, unknown>> };
}

/**
 * Codes that a tool may answer with. The others speak of messages, not of tools: a tool that calls another
 * server and passes its `stale` or `in_progress` on would say it of our own.
 */
const MAY_THROW: ReadonlySet<Code> = new Set([
  'forbidden',
  'invalid_args',
  'not_found',
  'rate_limited',
  'busy',
  'deadline_exceeded',
  'cancelled',
  'job_failed',
  'internal',
] as const);

function settleError(error: unknown, tool: Tool, { signal, log, clientId, requestId }: ToolContext): Settled {
  // The reason for the abort is ours and says more than the AbortError that the tool made of it.
  if (signal.aborted && signal.reason instanceof ProtocolError) {
    return { ok: false, error: signal.reason, retryable: false };
  }
  if (error instanceof ProtocolError && MAY_THROW.has(error.code)) {
    const { code, result } = error;
    const shown = new ProtocolError(code, sendable(error.message), result);
    return { ok: false, error: shown, retryable: factsOf(code).retryable };
  }
  if (error instanceof ToolError) {
    const shown = new ProtocolError('job_failed', sendable(error.message));
    return { ok: false, error: shown, retryable: error.retryable };
  }
  const id = randomUUID();
  log.error(
    { err: error, error_id: id, tool: tool.name, client_id: clientId, request_id: requestId },
    'tool failed',
  );
  return {
    ok: false,
    error: new ProtocolError('internal', `the tool failed; error id ${id}`),
    retryable: true,
  };
}

/** A tool's words, made such that a reply can carry them. */
function sendable(message: string): string {
  const { maxMessageChars } = TOOL_LIMITS;
  return (
    message.length > maxMessageChars ? `${message.slice(0, maxMessageChars)}…` : message
  ).toWellFormed();
}
