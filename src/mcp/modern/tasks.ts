import { MCP_LIMITS } from '../../limits.ts';
import { isTerminal } from '../../store/record-store.ts';
import type { Questions } from '../../tools/index.ts';
import { isObject, type JsonObject } from '../../wire/json.ts';
import type { Backend, JobView, ToolInfo } from '../backend.ts';
import { answersOf, progressText } from '../job-tools.ts';
import { RpcError } from '../rpc.ts';
import { outcomeOfJob } from '../tool-result.ts';

/** A job's state as the Tasks extension calls it, as long as it has not ended. */
function openStatus({ questions }: JobView): 'working' | 'input_required' {
  return Object.keys(questions).length > 0 ? 'input_required' : 'working';
}

/** What `tools/call` answers in place of a result: the job is durable, and its id is the task's. */
export function createTaskResult(job: JobView): JsonObject {
  return { resultType: 'task', ...taskOf(job, openStatus(job)) };
}

/** The members that a task has whatever its status (Tasks, “Task”). */
function taskOf(job: JobView, status: string): JsonObject {
  // How far it was is no news of a task that has ended.
  const progress = isTerminal(job.state) ? null : job.progress;
  const message = job.error ?? (progress === null ? null : progressText(progress));
  return {
    taskId: job.id,
    status,
    ...(message !== null && { statusMessage: message }),
    createdAt: new Date(job.createdMs).toISOString(),
    lastUpdatedAt: new Date(job.updatedMs).toISOString(),
    ttlMs: job.ttlMs,
    pollIntervalMs: MCP_LIMITS.pollIntervalMs,
  };
}

/** A task with what belongs to its status: result, error or input requests (Tasks, “DetailedTask”). */
export function detailedTask(job: JobView, tool: ToolInfo | undefined): JsonObject {
  if (job.state === 'queued' || job.state === 'running') {
    const status = openStatus(job);
    const asked = status === 'working' ? {} : { inputRequests: inputRequestsOf(job.questions) };
    return { ...taskOf(job, status), ...asked };
  }
  if (job.state === 'cancelled') return taskOf(job, 'cancelled');
  const outcome = outcomeOfJob(job, tool);
  if (outcome.kind === 'error') return { ...taskOf(job, 'failed'), error: outcome.error.body };
  return { ...taskOf(job, 'completed'), result: { resultType: 'complete', ...outcome.result } };
}

/** Questions as the requests that a client puts before its person. */
export function inputRequestsOf(questions: Questions): JsonObject {
  const requests = Object.entries(questions).map(([key, { message, schema }]) => {
    // A schema is JSON: it was printed as such.
    const params = { mode: 'form', message, requestedSchema: schema as JsonObject };
    return [key, { method: 'elicitation/create', params }] as const;
  });
  return Object.fromEntries(requests);
}

/** @throws RpcError `invalidParams` */
export function taskIdOf({ taskId }: JsonObject): string {
  if (typeof taskId !== 'string' || taskId === '' || taskId.length > 128)
    throw new RpcError('invalidParams', 'taskId must be a string of 1 to 128 characters');
  return taskId;
}

/** `tasks/update`: keys that the task does not wait for are ignored, whatever stands under them. */
export async function updateTask(backend: Backend, params: JsonObject): Promise<void> {
  const id = taskIdOf(params);
  const { inputResponses: responses } = params;
  if (!isObject(responses)) throw new RpcError('invalidParams', 'inputResponses must be an object');
  const { questions } = await backend.job(id);
  const wanted = Object.entries(responses).filter(([key]) => Object.hasOwn(questions, key));
  if (wanted.length > 0) await backend.answer(id, answersOf(Object.fromEntries(wanted)));
}
