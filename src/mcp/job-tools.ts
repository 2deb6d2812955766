import { SERVER_LIMITS } from '../limits.ts';
import { isTerminal } from '../store/record-store.ts';
import { isObject, type JsonObject } from '../wire/json.ts';
import type { Backend, JobView, JsonAnswers, ToolInfo } from './backend.ts';
import { RpcError } from './rpc.ts';
import { type CallToolResult, failureResult, outcomeOfJob, textResult } from './tool-result.ts';

/** What a job tool works with. */
interface Desk {
  readonly backend: Backend;
  readonly find: (name: string) => ToolInfo | undefined;
  readonly signal: AbortSignal;
}

/** A tool for hosts without Tasks: what they cannot do by a method, their model can do by a call. */
interface JobTool {
  readonly name: string;
  readonly listing: JsonObject;
  readonly run: (args: JsonObject, desk: Desk) => Promise<CallToolResult>;
}

const JOB_ID = { type: 'string', description: 'The job_id that the call answered with' };

export const JOB_TOOLS: readonly JobTool[] = [
  jobTool({
    name: 'poll_job',
    title: 'Poll a job',
    description: 'Waits for a job that was started before, and gives its result when it has ended.',
    hints: { readOnlyHint: true },
    properties: {
      job_id: JOB_ID,
      wait_ms: {
        type: 'integer',
        minimum: 0,
        maximum: SERVER_LIMITS.maxWaitMs,
        default: 20_000,
        description: 'Longest time to wait for something new',
      },
    },
    async run(args, { backend, find, signal }) {
      const { wait_ms: ms = 20_000 } = args;
      if (!Number.isInteger(ms) || Number(ms) < 0 || Number(ms) > SERVER_LIMITS.maxWaitMs)
        throw new RpcError(
          'invalidParams',
          `wait_ms must be an integer from 0 to ${SERVER_LIMITS.maxWaitMs}`,
        );
      const job = await backend.job(jobId(args), { ms: Number(ms), signal });
      if (!isTerminal(job.state)) return handleOf(job);
      const outcome = outcomeOfJob(job, find(job.tool));
      if (outcome.kind === 'error') return failureResult(job.error ?? outcome.error.message);
      return outcome.result;
    },
  }),
  jobTool({
    name: 'cancel_job',
    title: 'Cancel a job',
    description: 'Ends a job that has not ended yet.',
    hints: { idempotentHint: true, destructiveHint: true },
    properties: { job_id: JOB_ID },
    async run(args, { backend }) {
      const id = jobId(args);
      await backend.cancel(id);
      const { state } = await backend.job(id);
      return { ...textResult(`The job is ${state}.`), structuredContent: { job_id: id, status: state } };
    },
  }),
  jobTool({
    name: 'answer_job',
    title: 'Answer a job',
    description: 'Answers what a job asks. Ask the person you work for; do not answer in their place.',
    hints: {},
    properties: {
      job_id: JOB_ID,
      answers: {
        type: 'object',
        description:
          'For each question its answer: {"action": "accept" | "decline" | "cancel", "content": {…}}',
        additionalProperties: { type: 'object', required: ['action'] },
      },
    },
    async run(args, { backend }) {
      const id = jobId(args);
      await backend.answer(id, answersOf(args['answers']));
      return handleOf(await backend.job(id));
    },
  }),
];

function jobTool({
  name,
  title,
  description,
  hints,
  properties,
  run,
}: Omit<JobTool, 'listing'> & {
  readonly title: string;
  readonly description: string;
  readonly hints: JsonObject;
  readonly properties: { readonly [name: string]: JsonObject };
}): JobTool {
  const required = Object.keys(properties).filter(
    (property) => properties[property]?.['default'] === undefined,
  );
  const inputSchema = { type: 'object', properties, required, additionalProperties: false };
  return { name, listing: { name, title, description, inputSchema, annotations: { title, ...hints } }, run };
}

function jobId({ job_id: id }: JsonObject): string {
  if (typeof id !== 'string') throw new RpcError('invalidParams', 'job_id must be a string');
  return id;
}

/**
 * Answers as `tasks/update` and `answer_job` carry them.
 *
 * @throws RpcError `invalidParams`
 */
export function answersOf(value: unknown): JsonAnswers {
  if (!isObject(value)) throw new RpcError('invalidParams', 'answers must be an object');
  for (const [key, answer] of Object.entries(value)) {
    const { action, content } = isObject(answer) ? answer : {};
    const isAction = action === 'accept' || action === 'decline' || action === 'cancel';
    if (!isAction || (content !== undefined && !isObject(content)))
      throw new RpcError('invalidParams', `the answer to ${key} must be {action, content?}`);
  }
  // Each was looked at, and all of it came as JSON.
  return value as JsonAnswers;
}

/** Told to a model whose host cannot wait any longer: what it has, and what to do with it. */
export function handleOf({ id, state, progress, questions, pollAfterMs }: JobView): CallToolResult {
  // With its schema: a host may show its model nothing but the text.
  const asks = Object.entries(questions).map(
    ([key, { message, schema }]) => `${key}: ${message} Its content must fit ${JSON.stringify(schema)}`,
  );
  const next =
    asks.length > 0
      ? `It waits for an answer. Call answer_job with this job_id and the answers to:\n${asks.join('\n')}`
      : 'It goes on in the background. Call the tool poll_job with this job_id to wait for its result; do not start it again.';
  return {
    ...textResult(`Job ${id} is ${state}${progress === null ? '' : ` (${progressText(progress)})`}. ${next}`),
    structuredContent: {
      job_id: id,
      status: state,
      // Made of JSON, as all that a record holds.
      progress: progress as JsonObject | null,
      poll_after_ms: pollAfterMs,
      ...(asks.length > 0 && { questions: questions as unknown as JsonObject }),
    },
  };
}

/** Like `3 of 10: reading`. */
export function progressText({ completed, total, message }: NonNullable<JobView['progress']>): string {
  const count = total === undefined ? `${completed}` : `${completed} of ${total}`;
  return message === undefined ? count : `${count}: ${message}`;
}
