import { type Answers, answerIssues } from '../../tools/index.ts';
import { isObject, type JsonObject } from '../../wire/json.ts';
import type { ToolInfo } from '../backend.ts';
import type { Catalog } from '../catalog.ts';
import type { Exchange } from '../exchange.ts';
import { answersOf } from '../job-tools.ts';
import { RpcError } from '../rpc.ts';
import { resultOfWait, runJobTool, startTool } from '../run-tool.ts';
import { type ModernRequest, requireElicitation, requireTasks } from './request.ts';
import { createTaskResult, inputRequestsOf } from './tasks.ts';

/** `tools/call`: a result, a task, or questions to answer first (2026-07-28, server/tools; Tasks, “Task Creation”). */
export async function callTool(
  request: ModernRequest,
  catalog: Catalog,
  exchange: Exchange,
): Promise<JsonObject> {
  const { name, arguments: args = {} } = request.params;
  if (typeof name !== 'string') throw new RpcError('invalidParams', 'name must be a string');
  if (!isObject(args)) throw new RpcError('invalidParams', 'arguments must be an object');
  const tool = catalog.find(name);
  if (tool === undefined) return complete(await runJobTool(name, args, catalog, exchange));
  exchange.checkArguments(catalog.headersOf(name), args);
  const answers = answersTo(tool, request);
  if (answers === null) {
    requireElicitation(request);
    return { resultType: 'input_required', inputRequests: inputRequestsOf(tool.asks) };
  }
  if (tool.job && tool.taskSupport === 'required') requireTasks(request);
  const started = await startTool(tool, { args, answers }, exchange);
  if (started.kind === 'result') return complete(started.result);
  if (request.tasks) return createTaskResult(started.job);
  return complete(await resultOfWait(started.job, catalog, exchange));
}

/** Answers to all that the tool asks first, or null if one is missing or does not fit: then all are asked again. */
function answersTo({ asks }: ToolInfo, { params }: ModernRequest): Answers | null {
  const keys = Object.keys(asks);
  if (keys.length === 0) return {};
  const { inputResponses: responses = {} } = params;
  if (!isObject(responses)) throw new RpcError('invalidParams', 'inputResponses must be an object');
  if (!keys.every((key) => Object.hasOwn(responses, key))) return null;
  const answers = answersOf(Object.fromEntries(keys.map((key) => [key, responses[key]])));
  return answerIssues(asks, answers).length === 0 ? answers : null;
}

function complete(result: JsonObject): JsonObject {
  return Object.assign({ resultType: 'complete' }, result);
}
