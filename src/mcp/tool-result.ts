import { codeOf, ProtocolError } from '../errors/index.ts';
import { isContentOutput } from '../tools/index.ts';
import type { JsonObject } from '../wire/json.ts';
import type { JobView, ToolInfo } from './backend.ts';
import { type RpcError, rpcErrorOf } from './rpc.ts';

/** The result of `tools/call`, as every revision of the protocol has it: `content`, `structuredContent?`, `isError?`. */
export type CallToolResult = JsonObject;

export function textResult(text: string): CallToolResult {
  return { content: [{ type: 'text', text }] };
}

/** A tool's failure is a result too: the model reads it, and may do better. */
export function failureResult(text: string): CallToolResult {
  return { ...textResult(text), isError: true };
}

/** What a tool returned: its blocks as they are, or its data as structure and, for older hosts, as text. */
export function resultOf(tool: Pick<ToolInfo, 'outputSchema'>, result: JsonObject): CallToolResult {
  const { content, structuredContent } = result;
  // Of a remote server nothing else was checked: what stands beside the two could pass for a member of the answer.
  if (isContentOutput(tool.outputSchema) && Array.isArray(content))
    return { content, ...(structuredContent !== undefined && { structuredContent }) };
  return { content: [{ type: 'text', text: JSON.stringify(result) }], structuredContent: result };
}

/** How a job ended. A failure that the tool states in its own words is a result, all others are errors. */
export type JobOutcome =
  | { readonly kind: 'result'; readonly result: CallToolResult }
  | { readonly kind: 'error'; readonly error: RpcError };

/** @param tool `undefined` when the server has it no longer */
export function outcomeOfJob({ result, error }: JobView, tool: ToolInfo | undefined): JobOutcome {
  if (error === null) {
    return { kind: 'result', result: resultOf(tool ?? { outputSchema: {} }, result ?? {}) };
  }
  const [code, message] = split(error);
  if (code !== 'job_failed') return { kind: 'error', error: rpcErrorOf(new ProtocolError(code, message)) };
  const [inner, detail] = split(message);
  if (inner === 'job_failed') return { kind: 'result', result: failureResult(message) };
  return { kind: 'error', error: rpcErrorOf(new ProtocolError(inner, detail)) };
}

/** `code: message`; words without a code are the tool's own, which is what `job_failed` stands for. */
function split(text: string) {
  const code = codeOf(text);
  return code === null ? (['job_failed', text] as const) : ([code, text.slice(code.length + 2)] as const);
}
