import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { ToolError } from '../../src/errors/index.ts';
import { type Answers, contentOutput, defineTool, type Questions, type Tool } from '../../src/tools/index.ts';
import { NOTHING, textBlock } from './fixture-content.ts';

/** Tools of the official runner that become Tasks, and tools that ask. */

// A failure is final, so that the runner need not wait for further attempts.
const ONCE = { attempts: 1 };

const CONFIRM = {
  type: 'object',
  properties: { confirm: { type: 'boolean' } },
  required: ['confirm'],
};
const NAME = { type: 'object', properties: { name: { type: 'string' } }, required: ['name'] };

const USER_NAME: Questions = { user_name: { message: 'What is your name?', schema: NAME } };

/** The name that was given, or nobody's. */
function nameIn(answers: Answers): string {
  const name = answers['user_name']?.content?.['name'];
  return typeof name === 'string' ? name : 'nobody';
}

const greet = defineTool({
  name: 'greet',
  description: 'Greets, at once.',
  annotations: { readOnlyHint: true },
  input: z.strictObject({ name: z.string() }),
  output: contentOutput(),
  run: ({ name }) => ({ content: [textBlock(`Hello, ${name}!`)] }),
});

const slowCompute = defineTool({
  name: 'slow_compute',
  description: 'Takes its time.',
  input: z.strictObject({ seconds: z.number().min(0).max(600), label: z.string().default('') }),
  output: contentOutput(),
  job: ONCE,
  async run({ seconds, label }, { signal }) {
    await sleep(seconds * 1_000, undefined, { signal });
    return { content: [textBlock(`${label} took ${seconds} s`)] };
  },
});

const failingJob = defineTool({
  name: 'failing_job',
  description: 'Fails after a while, and says so.',
  input: NOTHING,
  output: NOTHING,
  job: ONCE,
  taskSupport: 'required',
  async run(_, { signal }) {
    await sleep(500, undefined, { signal });
    throw new ToolError('this job always fails');
  },
});

const protocolErrorJob = defineTool({
  name: 'protocol_error_job',
  description: 'Breaks in a way that it did not foresee.',
  input: NOTHING,
  output: NOTHING,
  job: ONCE,
  run() {
    throw new Error('unforeseen');
  },
});

const confirmDelete = defineTool({
  name: 'confirm_delete',
  description: 'Asks whether it may delete, and deletes nothing.',
  input: z.strictObject({ filename: z.string() }),
  output: contentOutput(),
  job: ONCE,
  async run({ filename }, context) {
    const { answer } = await context.ask({ answer: { message: `Delete ${filename}?`, schema: CONFIRM } });
    const sure = answer?.action === 'accept' && answer.content?.['confirm'] === true;
    return { content: [textBlock(sure ? `would delete ${filename}` : `keeps ${filename}`)] };
  },
});

const multiInput = defineTool({
  name: 'multi_input',
  description: 'Asks two questions at once.',
  input: NOTHING,
  output: contentOutput(),
  job: ONCE,
  async run(_, context) {
    const answers = await context.ask({
      ...USER_NAME,
      sure: { message: 'Are you sure?', schema: CONFIRM },
    });
    const actions = Object.entries(answers).map(([key, { action }]) => `${key}: ${action}`);
    return { content: [textBlock(actions.join(', '))] };
  },
});

const askThenTask = defineTool({
  name: 'test_tool_with_task',
  description: 'Asks for a name before it becomes a job.',
  input: NOTHING,
  output: contentOutput(),
  job: ONCE,
  taskSupport: 'required',
  asks: USER_NAME,
  run: (_, { answers }) => ({ content: [textBlock(`Hello from a job, ${nameIn(answers)}!`)] }),
});

/** Asks for a name before it answers; the runner knows the same tool by several names. */
function askingTool(name: string): Tool {
  return defineTool({
    name,
    description: 'Asks for a name, and greets.',
    annotations: { readOnlyHint: true },
    input: NOTHING,
    output: contentOutput(),
    asks: USER_NAME,
    run: (_, { answers }) => ({ content: [textBlock(`Hello, ${nameIn(answers)}!`)] }),
  });
}

export const TASK_TOOLS: readonly Tool[] = [
  greet,
  slowCompute,
  failingJob,
  protocolErrorJob,
  confirmDelete,
  multiInput,
  askThenTask,
  askingTool('test_input_required_result_elicitation'),
  askingTool('test_input_required_result_capabilities'),
  askingTool('test_missing_capability'),
  askingTool('test_streaming_elicitation'),
];
