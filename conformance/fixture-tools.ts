import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { defineTool, ProtocolError, ToolError } from 'waybill';
import { z } from 'zod';

/**
 * The tools that the vectors call: `waybill serve conformance/fixture-tools.ts`.
 * README.md describes them for servers in other languages.
 */

const NOTHING = z.strictObject({});
const ANYTHING = z.strictObject({ value: z.unknown() });
const MESSAGE = z.strictObject({ message: z.string() });
const ONCE = { attempts: 1 };

const echo = defineTool({
  name: 'conformance/echo',
  description: 'Gives its value back.',
  annotations: { readOnlyHint: true },
  input: ANYTHING,
  output: ANYTHING,
  run: (args) => args,
});

const runOnce = defineTool({
  name: 'conformance/run_once',
  description: 'Names this run, after a while: a second run would show.',
  input: z.strictObject({ hold_ms: z.int().min(0).max(10_000).default(0) }),
  output: z.strictObject({ run: z.string() }),
  async run({ hold_ms }, { signal }) {
    await sleep(hold_ms, undefined, { signal });
    return { run: randomUUID() };
  },
});

const refuse = defineTool({
  name: 'conformance/refuse',
  description: 'Refuses with a code of the table.',
  annotations: { readOnlyHint: true },
  input: z.strictObject({ code: z.enum(['forbidden', 'rate_limited', 'busy', 'deadline_exceeded']) }),
  output: NOTHING,
  run({ code }) {
    const later = code === 'rate_limited' || code === 'busy';
    throw new ProtocolError(code, 'as asked for', later ? { retry_after_ms: 1_000 } : null);
  },
});

const fail = defineTool({
  name: 'conformance/fail',
  description: 'Fails with a message for its caller.',
  annotations: { readOnlyHint: true },
  input: MESSAGE,
  output: NOTHING,
  run({ message }) {
    throw new ToolError(message);
  },
});

const crash = defineTool({
  name: 'conformance/crash',
  description: 'Breaks; what it throws must stay in the log.',
  annotations: { readOnlyHint: true },
  input: NOTHING,
  output: NOTHING,
  run() {
    throw new Error('conformance-detail');
  },
});

const badOutput = defineTool({
  name: 'conformance/bad_output',
  description: 'Breaks its own output schema.',
  annotations: { readOnlyHint: true },
  input: NOTHING,
  output: z.strictObject({ count: z.int() }),
  // What a tool without types could return: no number.
  run: () => JSON.parse('{"count":"conformance-detail"}'),
});

const unsendable = defineTool({
  name: 'conformance/unsendable',
  description: 'Gives, or refuses with, what JSON cannot say.',
  annotations: { readOnlyHint: true },
  input: z.strictObject({ where: z.enum(['result', 'refusal']) }),
  output: ANYTHING,
  run({ where }) {
    if (where === 'result') return { value: Number.NaN };
    throw new ProtocolError('busy', 'as asked for', { retry_after_ms: Number.NaN });
  },
});

const jobDone = defineTool({
  name: 'conformance/job_done',
  description: 'A job that gives its value back.',
  input: z.strictObject({ value: z.unknown() }),
  output: ANYTHING,
  job: true,
  run: (args) => args,
});

const jobFails = defineTool({
  name: 'conformance/job_fails',
  description: 'A job that fails with a message for its caller.',
  input: MESSAGE,
  output: NOTHING,
  job: ONCE,
  run({ message }) {
    throw new ToolError(message);
  },
});

const jobCrashes = defineTool({
  name: 'conformance/job_crashes',
  description: 'A job that breaks; what it throws must stay in the log.',
  input: NOTHING,
  output: NOTHING,
  job: ONCE,
  run() {
    throw new Error('conformance-detail');
  },
});

const jobWait = defineTool({
  name: 'conformance/job_wait',
  description: 'A job that reports progress and then waits until it is cancelled.',
  input: NOTHING,
  output: NOTHING,
  job: ONCE,
  async run(_args, { signal, progress }) {
    progress({ completed: 1, total: 2, message: 'waiting' });
    await sleep(600_000, undefined, { signal });
    return {};
  },
});

const jobLate = defineTool({
  name: 'conformance/job_late',
  description: 'A job whose deadline is half a second and that takes longer.',
  input: NOTHING,
  output: NOTHING,
  job: { attempts: 1, deadlineMs: 500 },
  async run(_args, { signal }) {
    await sleep(600_000, undefined, { signal });
    return {};
  },
});

// oxlint-disable-next-line import/no-default-export -- what `serve` loads
export default [
  echo,
  runOnce,
  refuse,
  fail,
  crash,
  badOutput,
  unsendable,
  jobDone,
  jobFails,
  jobCrashes,
  jobWait,
  jobLate,
];
