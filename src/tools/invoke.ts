import { randomUUID } from 'node:crypto';
import { factsOf, ProtocolError, ToolError } from '../errors/index.ts';
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
  const [first] = checked.issues;
  const summary = first === undefined ? 'refused by the input schema' : `${first.path}: ${first.message}`;
  throw new ProtocolError('invalid_args', summary, { issues: checked.issues });
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
    const checked =
      returned instanceof Promise
        ? returned.then((value) => check(tool.output, value))
        : check(tool.output, returned);
    if (!(checked instanceof Promise)) return succeed(checked);
    return checked.then(succeed).catch((error: unknown) => settleError(error, tool, context));
  } catch (error) {
    return settleError(error, tool, context);
  }
}

function succeed(checked: Checked<unknown>): Settled {
  if ('issues' in checked) {
    const [issue] = checked.issues;
    throw new TypeError(`the tool broke its own output schema at ${issue?.path}: ${issue?.message}`);
  }
  // jsonSchemaOf has shown at definition that the output schema describes an object.
  return { ok: true, result: checked.value as Readonly<Record<string, unknown>> };
}

function settleError(error: unknown, tool: Tool, { signal, log, clientId, requestId }: ToolContext): Settled {
  // The reason for the abort is ours and says more than the AbortError that the tool made of it.
  if (signal.aborted && signal.reason instanceof ProtocolError) {
    return { ok: false, error: signal.reason, retryable: false };
  }
  if (error instanceof ProtocolError) {
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
