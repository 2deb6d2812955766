import { JOB_POLICY, type JobPolicy } from '../limits.ts';
import type { ToolContext } from './context.ts';
import { resolveJobPolicy } from './job-policy.ts';
import { NONE } from './none.ts';
import { checkQuestions, type Questions } from './question.ts';
import { type JsonSchema, jsonSchemaOf, type Schema } from './schema.ts';

/** Hints of the Model Context Protocol; only the first two change how calls are handled here. */
export interface Annotations {
  readonly title?: string;
  /** Changes nothing: may be run again at every retry. */
  readonly readOnlyHint?: boolean;
  /** Running it twice is the same as once: may be run again at every retry. */
  readonly idempotentHint?: boolean;
  readonly destructiveHint?: boolean;
  readonly openWorldHint?: boolean;
}

/** What an author writes. `Args` and `Result` flow from the two schemas into `run`. */
export interface ToolDefinition<Args, Result> {
  /** 1-128 of `A-Z a-z 0-9 _ - . /` */
  readonly name: string;
  readonly description: string;
  readonly input: Schema<unknown, Args>;
  readonly output: Schema<Result, unknown>;
  readonly annotations?: Annotations;
  /** `true` or settings: answer at once with a job id and run it in a worker. */
  readonly job?: boolean | Partial<JobPolicy>;
  /** Asked of the person behind the caller before the call is taken; the answers are in `context.answers`. */
  readonly asks?: Questions;
  /**
   * Of a job, for hosts of the Model Context Protocol that have no Tasks: `optional` lets them wait for the
   * job (the default), `required` refuses them.
   */
  readonly taskSupport?: 'optional' | 'required';
  /** Throw a `ToolError` for a failure that the caller may read. */
  readonly run: (args: Args, context: ToolContext) => NoInfer<Result> | Promise<NoInfer<Result>>;
}

/** A checked definition, ready to be served. */
export interface Tool {
  readonly name: string;
  readonly description: string;
  readonly annotations: Annotations;
  readonly inputSchema: JsonSchema;
  readonly outputSchema: JsonSchema;
  /** `null` for a direct tool. */
  readonly job: JobPolicy | null;
  /** What must be answered before the call is taken; empty for most tools. */
  readonly asks: Questions;
  /** `required`: a host of the Model Context Protocol without Tasks is refused rather than made to wait. */
  readonly taskSupport: 'optional' | 'required';
  /** May a retry simply run again (docs/protocol.md §5)? */
  readonly repeatable: boolean;
  readonly input: Schema;
  readonly output: Schema;
  readonly run: (args: never, context: ToolContext) => unknown;
}

const NAME = /^[A-Za-z0-9_./-]{1,128}$/;
const HINTS: ReadonlySet<string> = new Set([
  'title',
  'readOnlyHint',
  'idempotentHint',
  'destructiveHint',
  'openWorldHint',
]);
const MEMBERS: ReadonlySet<string> = new Set([
  'name',
  'description',
  'input',
  'output',
  'annotations',
  'job',
  'asks',
  'taskSupport',
  'run',
]);

/**
 * Defines a tool that can be served on every wire.
 *
 * @throws TypeError or RangeError that names the tool and what is wrong with it
 */
export function defineTool<Args, Result>(definition: ToolDefinition<Args, Result>): Tool {
  const { name, description, input, output, annotations = {}, run } = definition;
  if (typeof name !== 'string' || !NAME.test(name)) {
    throw new TypeError(`tool ${JSON.stringify(name)}: name must be 1-128 of A-Z a-z 0-9 _ - . /`);
  }
  const where = `tool ${name}`;
  if (typeof description !== 'string' || description === '')
    throw new TypeError(`${where}: description is missing`);
  if (typeof run !== 'function') throw new TypeError(`${where}: run must be a function`);
  refuseUnknown(definition, MEMBERS, where);
  requireObject(annotations, `${where}: annotations must be an object`);
  refuseUnknown(annotations, HINTS, `${where}: annotations`);
  const job = resolveJob(definition.job, where);
  return Object.freeze({
    name,
    description,
    annotations: Object.freeze({ ...annotations }),
    inputSchema: jsonSchemaOf(requireSchema(input, `${where}: input`), 'input', `${where}: input`),
    outputSchema: jsonSchemaOf(requireSchema(output, `${where}: output`), 'output', `${where}: output`),
    job,
    asks: definition.asks === undefined ? NONE : checkQuestions(definition.asks, `${where}: asks`),
    taskSupport: resolveTaskSupport(definition.taskSupport, job, where),
    repeatable: annotations.readOnlyHint === true || annotations.idempotentHint === true,
    input,
    output,
    run,
  });
}

/** Was this value made by {@link defineTool}? For values that come from a module we did not write. */
export function isTool(value: unknown): value is Tool {
  return (
    typeof value === 'object' &&
    value !== null &&
    Object.isFrozen(value) &&
    'inputSchema' in value &&
    'repeatable' in value &&
    'run' in value
  );
}

function resolveJob(job: ToolDefinition<unknown, unknown>['job'], where: string): JobPolicy | null {
  if (job === undefined || job === false) return null;
  if (job === true) return JOB_POLICY;
  requireObject(job, `${where}: job must be true, false or an object of settings`);
  return resolveJobPolicy(job, where);
}

function resolveTaskSupport(
  taskSupport: Tool['taskSupport'] | undefined,
  job: JobPolicy | null,
  where: string,
): Tool['taskSupport'] {
  if (taskSupport === undefined) return 'optional';
  if (job === null) throw new TypeError(`${where}: taskSupport is for jobs, and this tool is none`);
  if (taskSupport === 'optional' || taskSupport === 'required') return taskSupport;
  throw new TypeError(`${where}: taskSupport must be "optional" or "required"`);
}

function requireSchema(schema: Schema, where: string): Schema {
  // Authors write plain JavaScript too: what the type promises is checked once, here.
  const standard: unknown = (schema as Schema | undefined)?.['~standard'];
  if (typeof standard === 'object' && standard !== null) return schema;
  throw new TypeError(`${where}: must be a Standard Schema, such as z.object({…}) of zod 4`);
}

function requireObject(value: unknown, message: string): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new TypeError(message);
}

function refuseUnknown(value: object, known: ReadonlySet<string>, where: string): void {
  const unknown = Object.keys(value).find((name) => !known.has(name));
  if (unknown !== undefined) throw new TypeError(`${where}: unknown member ${JSON.stringify(unknown)}`);
}
