import { randomUUID } from 'node:crypto';
import { type Code, issuesOf, ProtocolError } from '../errors/index.ts';
import { isTerminal } from '../store/record-store.ts';
import type { Answers } from '../tools/index.ts';
import type { JsonObject } from '../wire/json.ts';
import type { Called, JobView, ToolInfo } from './backend.ts';
import type { Catalog } from './catalog.ts';
import type { Exchange } from './exchange.ts';
import { handleOf, JOB_TOOLS } from './job-tools.ts';
import { RpcError } from './rpc.ts';
import { type CallToolResult, failureResult, outcomeOfJob, resultOf } from './tool-result.ts';
import { waitForJob } from './wait.ts';

/** Both revisions run tools in this way; they differ in what they say before and after. */

export interface Given {
  readonly args: JsonObject;
  readonly answers: Answers;
}

/** A direct tool's result, or the job that its call became. */
export type Started =
  | { readonly kind: 'result'; readonly result: CallToolResult }
  | Extract<Called, { readonly kind: 'job' }>;

/** Calls a tool; a failure that its caller can do something about is a result, for the model to read. */
export async function startTool(
  tool: ToolInfo,
  { args, answers }: Given,
  exchange: Exchange,
): Promise<Started> {
  const call = { requestId: `mcp_${randomUUID()}`, tool: tool.name, args, answers };
  try {
    const called = await exchange.backend.call(call, exchange);
    return called.kind === 'job' ? called : { kind: 'result', result: resultOf(tool, called.result) };
  } catch (error) {
    if (error instanceof ProtocolError && error.code === 'job_failed')
      return { kind: 'result', result: failureResult(error.message) };
    if (error instanceof ProtocolError && error.code === 'invalid_args')
      return { kind: 'result', result: failureResult(issuesText(error)) };
    throw error;
  }
}

/** What another call can do better. */
const MODELS_MISTAKES: ReadonlySet<Code> = new Set(['invalid_args', 'not_found'] as const);

/** All that is wrong with the arguments, so that the next try can be the last. */
function issuesText(error: ProtocolError): string {
  return [error.text, ...issuesOf(error).slice(1)].join('\n');
}

/** For hosts without Tasks: the result if the job ends in time, else its id and what to do with it. */
export async function resultOfWait(
  started: JobView,
  catalog: Catalog,
  { backend, signal, progress: report, waitMs: ms }: Exchange,
): Promise<CallToolResult> {
  const job = await waitForJob(backend, started, { ms, signal, report });
  if (isTerminal(job.state)) {
    const outcome = outcomeOfJob(job, catalog.find(job.tool));
    if (outcome.kind === 'error') throw outcome.error;
    return outcome.result;
  }
  // Nobody else knows of the job: who started it has gone, and was not told its id.
  if (signal.aborted) await backend.cancel(job.id);
  return handleOf(job);
}

/**
 * Runs one of the tools that stand in for methods; like any other, it tells the model what was wrong.
 *
 * @throws RpcError `invalidParams` for a name that is no tool's
 */
export async function runJobTool(
  name: string,
  args: JsonObject,
  catalog: Catalog,
  { backend, signal }: Exchange,
): Promise<CallToolResult> {
  const tool = JOB_TOOLS.find((each) => each.name === name);
  if (tool === undefined)
    throw (await backend.whyNot?.(name, args)) ?? new RpcError('invalidParams', `there is no tool ${name}`);
  try {
    return await tool.run(args, { backend, find: catalog.find, signal });
  } catch (error) {
    if (error instanceof RpcError && error.kind === 'invalidParams') return failureResult(error.message);
    if (error instanceof ProtocolError && MODELS_MISTAKES.has(error.code))
      return failureResult(issuesText(error));
    throw error;
  }
}
