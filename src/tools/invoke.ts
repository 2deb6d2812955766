import { randomUUID } from 'node:crypto';
import { factsOf, ProtocolError, ToolError } from '../errors/index.ts';
import type { ToolContext } from './context.ts';
import type { Tool } from './define-tool.ts';
import { check } from './schema.ts';

/** How one run of a tool ended. */
export type Settled =
  | { readonly ok: true; readonly result: Readonly<Record<string, unknown>> }
  | { readonly ok: false; readonly error: ProtocolError; readonly retryable: boolean };

/**
 * Arguments as the tool's own schema returns them.
 *
 * @throws ProtocolError `invalid_args` with `{issues: [{path, message}]}` as its result
 */
export async function parseArgs(tool: Pick<Tool, 'input'>, args: unknown): Promise<unknown> {
  const pending = check(tool.input, args);
  const checked = pending instanceof Promise ? await pending : pending;
  if ('value' in checked) return checked.value;
  const [first] = checked.issues;
  const summary = first === undefined ? 'refused by the input schema' : `${first.path}: ${first.message}`;
  throw new ProtocolError('invalid_args', summary, { issues: checked.issues });
}

/**
 * Runs a tool once on parsed arguments. Never throws: what a tool throws is turned into one of the
 * known errors here and nowhere else. Only the messages of `ToolError` and `ProtocolError` are shown
 * to the caller; of anything else the caller gets an opaque id and the log gets the detail.
 */
export async function invoke(tool: Tool, args: unknown, context: ToolContext): Promise<Settled> {
  try {
    // parseArgs returned these arguments from this tool's own input schema.
    const returned = tool.run(args as never, context);
    const output: unknown = returned instanceof Promise ? await returned : returned;
    const pending = check(tool.output, output);
    const checked = pending instanceof Promise ? await pending : pending;
    if ('issues' in checked) {
      const [issue] = checked.issues;
      throw new TypeError(`the tool broke its own output schema at ${issue?.path}: ${issue?.message}`);
    }
    // jsonSchemaOf has shown at definition that the output schema describes an object.
    return { ok: true, result: checked.value as Readonly<Record<string, unknown>> };
  } catch (error) {
    return settleError(error, tool, context);
  }
}

function settleError(error: unknown, tool: Tool, { signal, log, clientId, requestId }: ToolContext): Settled {
  // The reason for the abort is ours and says more than the AbortError that the tool made of it.
  if (signal.aborted && signal.reason instanceof ProtocolError) {
    return { ok: false, error: signal.reason, retryable: false };
  }
  if (error instanceof ProtocolError) return { ok: false, error, retryable: factsOf(error.code).retryable };
  if (error instanceof ToolError) {
    const message = error.message.toWellFormed();
    return { ok: false, error: new ProtocolError('job_failed', message), retryable: error.retryable };
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
