import { describe, expect, expectTypeOf, test } from 'vitest';
import { z } from 'zod';
import {
  type Answers,
  answerIssues,
  defineTool,
  isTool,
  type Tool,
  type ToolContext,
  type ToolDefinition,
  withJsonSchema,
} from '../../src/tools/index.ts';
import { JOB_POLICY, JOB_POLICY_BOUNDS, TOOL_LIMITS } from '../../src/limits.ts';

const input = z.object({ numbers: z.array(z.number()).min(1) });
const output = z.object({ count: z.number(), total: z.number() });
const DEFINITION = {
  name: 'batch_sum',
  description: 'Adds numbers.',
  input,
  output,
  run: ({ numbers }: z.output<typeof input>) => ({ count: numbers.length, total: 0 }),
};

/** Defines what plain JavaScript could write: the types are switched off on purpose. */
function define(changes: Record<string, unknown>): Tool {
  return defineTool({ ...DEFINITION, ...changes });
}

const CONFIRM = {
  message: 'Sure?',
  schema: { type: 'object', properties: { sure: { type: 'boolean' } }, required: ['sure'] },
};
const FIELDS = {
  text: { type: 'string', title: 'Text', minLength: 1, default: 'a' },
  mail: { type: 'string', format: 'email' },
  part: { type: 'number', minimum: 0 },
  count: { type: 'integer', maximum: 9 },
  sure: { type: 'boolean' },
  one: { type: 'string', enum: ['a', 'b'] },
  titled: { type: 'string', oneOf: [{ const: 'a', title: 'A' }] },
  some: { type: 'array', items: { type: 'string', enum: ['a', 'b'] } },
  someTitled: { type: 'array', items: { anyOf: [{ const: 'a', title: 'A' }] } },
};
const asksField = (field: unknown) => ({
  asks: { q: { message: 'q?', schema: { type: 'object', properties: { x: field } } } },
});

describe('what a tool asks', () => {
  test('is nothing, and a host may wait for its job, unless it says so', () => {
    expect(defineTool(DEFINITION)).toMatchObject({ asks: {}, taskSupport: 'optional' });
    expect(define({ job: true })).toMatchObject({ asks: {}, taskSupport: 'optional' });
    expect(define({ job: true, taskSupport: 'required' }).taskSupport).toBe('required');
  });

  test('is kept with the members of a question only, and cannot be changed afterwards', () => {
    const asks = { 'a.B-9_': structuredClone(CONFIRM) };
    const tool = defineTool({ ...DEFINITION, asks });
    asks['a.B-9_'].message = 'changed';
    expect(tool.asks).toEqual({ 'a.B-9_': CONFIRM });
    const printed = z.toJSONSchema(z.object({ sure: z.boolean() }));
    expect(define({ asks: { sure: { message: 'Sure?', schema: printed, more: 1 } } }).asks).toEqual({
      sure: CONFIRM,
    });
  });

  test('may have any field that a form can show', () => {
    const asks = { all: { message: 'All?', schema: { type: 'object', properties: FIELDS } } };
    expect(defineTool({ ...DEFINITION, asks }).asks).toEqual(asks);
  });

  test.each([
    ['asks that is no object', { asks: [] }, 'tool batch_sum: asks: must be an object'],
    ['a key that is empty', { asks: { '': CONFIRM } }, 'asks: key "" must be 1-128 of A-Z a-z 0-9 _ - .'],
    ['a key of 129', { asks: { ['k'.repeat(129)]: CONFIRM } }, 'must be 1-128 of'],
    [
      'the key __proto__',
      { asks: JSON.parse(`{"__proto__":${JSON.stringify(CONFIRM)}}`) },
      '"__proto__" must be',
    ],
    ['no question', { asks: { q: null } }, 'asks: q: must be {message, schema}'],
    ['an empty message', { asks: { q: { ...CONFIRM, message: '' } } }, 'asks: q: message is missing'],
    ['a schema of a list', { asks: { q: { message: 'q?', schema: { type: 'array' } } } }, 'of type object'],
    [
      'a schema without properties',
      { asks: { q: { message: 'q?', schema: { type: 'object' } } } },
      'properties',
    ],
    ['an object in it', asksField({ type: 'object' }), 'asks: q: x must be a string, number'],
    ['a list of anything', asksField({ type: 'array', items: { type: 'string' } }), 'asks: q: x must be'],
    ['a field without a type', asksField({}), 'asks: q: x must be'],
    ['a pattern that is none', asksField({ type: 'string', pattern: '(' }), 'asks: q: schema: '],
    [
      'a task support that there is not',
      { job: true, taskSupport: 'never' },
      'must be "optional" or "required"',
    ],
    ['task support of a direct tool', { taskSupport: 'optional' }, 'taskSupport is for jobs'],
  ])('is refused with %s', (_what, changes, said) => {
    expect(() => define(changes)).toThrow(TypeError);
    expect(() => define(changes)).toThrow(said);
  });

  test('is refused when it is too large to be shown', () => {
    const asks = { q: { ...CONFIRM, message: '😀'.repeat(TOOL_LIMITS.maxQuestionsBytes / 4) } };
    expect(() => define({ asks })).toThrow(RangeError);
  });
});

describe('answers', () => {
  const questions = {
    all: { message: 'All?', schema: { type: 'object', properties: FIELDS } },
    sure: CONFIRM,
  };
  const pathsOf = (answers: Answers) => answerIssues(questions, answers).map(({ path }) => path);

  test.each([
    ['text', 'a', ''],
    ['mail', 'a@b.example', 'nobody'],
    ['part', 0.5, -1],
    ['count', 9, 9.5],
    ['sure', false, 'false'],
    ['one', 'b', 'c'],
    ['titled', 'a', 'A'],
  ])('of the field %s are %j and not %j', (name, right, wrong) => {
    expect(pathsOf({ all: { action: 'accept', content: { [name]: right } } })).toEqual([]);
    expect(pathsOf({ all: { action: 'accept', content: { [name]: wrong } } })).toEqual([
      `all.content.${name}`,
    ]);
  });

  test('of a list are some of its choices', () => {
    const listed = { some: ['a', 'b'], someTitled: ['a'] };
    expect(pathsOf({ all: { action: 'accept', content: listed } })).toEqual([]);
    expect(pathsOf({ all: { action: 'accept', content: { some: ['c'] } } })).toEqual(['all.content.some[0]']);
  });

  test('must have what is required, if they accept', () => {
    expect(pathsOf({ sure: { action: 'accept' } })).toEqual(['sure.content.sure']);
    expect(pathsOf({ sure: { action: 'decline' } })).toEqual([]);
    expect(pathsOf({ sure: { action: 'cancel', content: { sure: 1 } } })).toEqual([]);
  });

  test('to what was not asked are left alone', () => {
    expect(pathsOf({ other: { action: 'accept', content: { sure: 1 } } })).toEqual([]);
    expect(
      pathsOf(Object.fromEntries([['constructor', { action: 'accept', content: { sure: 1 } }]])),
    ).toEqual([]);
  });
});

describe('a defined tool', () => {
  test('carries its JSON Schemas, its annotations and how it is run', () => {
    const tool = defineTool({ ...DEFINITION, annotations: { title: 'Sum', readOnlyHint: true } });
    expect(tool).toMatchObject({
      name: 'batch_sum',
      description: 'Adds numbers.',
      annotations: { title: 'Sum', readOnlyHint: true },
      inputSchema: {
        type: 'object',
        required: ['numbers'],
        properties: { numbers: { type: 'array', minItems: 1 } },
      },
      outputSchema: { type: 'object', required: ['count', 'total'] },
      job: null,
      repeatable: true,
    });
    expect(isTool(tool)).toBe(true);
  });

  test('describes itself in JSON Schema 2020-12', () => {
    const { inputSchema, outputSchema } = defineTool(DEFINITION);
    expect(inputSchema['$schema']).toBe('https://json-schema.org/draft/2020-12/schema');
    expect(outputSchema['$schema']).toBe('https://json-schema.org/draft/2020-12/schema');
  });

  test('shows of a default that the caller may leave the member out', () => {
    const tool = defineTool({
      ...DEFINITION,
      input: z.object({ n: z.number().default(1) }),
      run: () => ({ count: 0, total: 0 }),
    });
    expect(tool.inputSchema['required']).toBeUndefined();
  });

  test('cannot be changed afterwards', () => {
    const annotations = { readOnlyHint: true };
    const tool = defineTool({ ...DEFINITION, annotations });
    annotations.readOnlyHint = false;
    expect(tool.annotations.readOnlyHint).toBe(true);
    expect(() => Object.assign(tool, { name: 'x' })).toThrow(TypeError);
    expect(() => Object.assign(tool.annotations, { readOnlyHint: false })).toThrow(TypeError);
  });

  test.each([
    [{}, false],
    [{ readOnlyHint: true }, true],
    [{ idempotentHint: true }, true],
    [{ readOnlyHint: false, idempotentHint: false }, false],
    [{ destructiveHint: false, openWorldHint: false, title: 'x' }, false],
  ])('with the annotations %j is repeatable: %s', (annotations, repeatable) => {
    expect(defineTool({ ...DEFINITION, annotations }).repeatable).toBe(repeatable);
  });

  test.each(['a', 'A-b_c.d/e', 'x'.repeat(128), '__proto__', '/'])('may have the name %s', (name) => {
    expect(define({ name }).name).toBe(name);
  });
});

describe('a job', () => {
  test('is what job: true says, with the default policy', () => {
    expect(define({ job: true }).job).toEqual(JOB_POLICY);
    expect(define({ job: false }).job).toBeNull();
    expect(define({ job: undefined }).job).toBeNull();
  });

  test('may state some settings of its own', () => {
    const { job } = define({ job: { attempts: 1, deadlineMs: 300 } });
    expect(job).toEqual({ ...JOB_POLICY, attempts: 1, deadlineMs: 300 });
    expect(Object.isFrozen(job)).toBe(true);
  });

  test('runs as many at once as the workers do, unless it says how many', () => {
    expect(define({ job: true }).job?.concurrency).toBeUndefined();
    expect(define({ job: { concurrency: 2 } }).job).toEqual({ ...JOB_POLICY, concurrency: 2 });
  });

  test.each(Object.entries(JOB_POLICY_BOUNDS))('%s holds its bounds %j', (name, [min, max]) => {
    expect(define({ job: { [name]: min } }).job).toMatchObject({ [name]: min });
    expect(define({ job: { [name]: max } }).job).toMatchObject({ [name]: max });
    for (const value of [
      min - 1,
      max + 1,
      min + 0.5,
      Number.NaN,
      Number.POSITIVE_INFINITY,
      '5',
      null,
      undefined,
    ]) {
      expect(() => define({ job: { [name]: value } })).toThrow(
        new RangeError(`tool batch_sum: job.${name} must be an integer from ${min} to ${max}`),
      );
    }
  });
});

const NAME = 'name must be 1-128 of A-Z a-z 0-9 _ - . /';
const STANDARD = 'must be a Standard Schema, such as z.object({…}) of zod 4';
const NO_JSON_SCHEMA = 'this schema library prints no JSON Schema; wrap it with withJsonSchema(schema, json)';
const NOT_AN_OBJECT = 'must describe an object, because args and result are objects';
const bare = { '~standard': { version: 1, vendor: 'hand-made', validate: (value: unknown) => ({ value }) } };

describe('a bad definition is refused with the name of the tool and what is wrong', () => {
  test.each<[Record<string, unknown>, string]>([
    [{ name: undefined }, `tool undefined: ${NAME}`],
    [{ name: '' }, `tool "": ${NAME}`],
    [{ name: 'a b' }, `tool "a b": ${NAME}`],
    [{ name: 'a:b' }, `tool "a:b": ${NAME}`],
    [{ name: 'a\n' }, `tool "a\\n": ${NAME}`],
    [{ name: 'é' }, `tool "é": ${NAME}`],
    [{ name: 'x'.repeat(129) }, `tool "${'x'.repeat(129)}": ${NAME}`],
    [{ name: 5 }, `tool 5: ${NAME}`],
    [{ description: undefined }, 'tool batch_sum: description is missing'],
    [{ description: '' }, 'tool batch_sum: description is missing'],
    [{ run: undefined }, 'tool batch_sum: run must be a function'],
    [{ run: 'x' }, 'tool batch_sum: run must be a function'],
    [{ handler: () => 1 }, 'tool batch_sum: unknown member "handler"'],
    [{ annotations: null }, 'tool batch_sum: annotations must be an object'],
    [{ annotations: [] }, 'tool batch_sum: annotations must be an object'],
    [{ annotations: { readonlyHint: true } }, 'tool batch_sum: annotations: unknown member "readonlyHint"'],
    [{ input: undefined }, `tool batch_sum: input: ${STANDARD}`],
    [{ input: null }, `tool batch_sum: input: ${STANDARD}`],
    [{ input: { type: 'object' } }, `tool batch_sum: input: ${STANDARD}`],
    [{ output: 'x' }, `tool batch_sum: output: ${STANDARD}`],
    [{ input: bare }, `tool batch_sum: input: ${NO_JSON_SCHEMA}`],
    [{ output: bare }, `tool batch_sum: output: ${NO_JSON_SCHEMA}`],
    [{ input: z.array(z.number()) }, `tool batch_sum: input: ${NOT_AN_OBJECT}`],
    [{ output: z.string() }, `tool batch_sum: output: ${NOT_AN_OBJECT}`],
    [{ job: 1 }, 'tool batch_sum: job must be true, false or an object of settings'],
    [{ job: null }, 'tool batch_sum: job must be true, false or an object of settings'],
    [{ job: 'yes' }, 'tool batch_sum: job must be true, false or an object of settings'],
    [{ job: [] }, 'tool batch_sum: job must be true, false or an object of settings'],
    [{ job: { retries: 1 } }, 'tool batch_sum: job: unknown member "retries"'],
    [{ job: { toString: 1 } }, 'tool batch_sum: job: unknown member "toString"'],
  ])('%o', (changes, message) => {
    expect(() => define(changes)).toThrow(new TypeError(message));
  });

  test('when the library itself cannot print the schema, its reason is kept', () => {
    expect(() => define({ output: z.object({ at: z.date() }) })).toThrow(
      /^tool batch_sum: output: has no JSON Schema: .*[Dd]ate/,
    );
  });
});

describe('isTool', () => {
  test.each([
    null,
    undefined,
    1,
    'x',
    [],
    {},
    () => 1,
    { ...defineTool(DEFINITION) },
    Object.freeze({ run: 1 }),
  ])('%o is none', (value) => {
    expect(isTool(value)).toBe(false);
  });
});

// The compiler checks these: `npm run check` fails when a type or an expected error is gone.
describe('types flow from the schemas into run', () => {
  test('args have the type that the input schema returns, and run owes what the output schema takes', () => {
    const tool = defineTool({
      name: 'typed',
      description: 'Types.',
      input: z.object({
        n: z.string().transform(Number).pipe(z.number()),
        many: z.array(z.boolean()).default([]),
      }),
      output: z.object({ label: z.string().default('none'), at: z.number() }),
      run(args, context) {
        expectTypeOf(args).toEqualTypeOf<{ n: number; many: boolean[] }>();
        expectTypeOf(context).toEqualTypeOf<ToolContext>();
        return { at: 1 };
      },
    });
    expect(isTool(tool)).toBe(true);
  });

  test('a wrong result, a wrong member or a missing one does not compile', () => {
    const definition = { name: 'x', description: 'x', input, output } as const;
    // @ts-expect-error total is missing
    defineTool({ ...definition, run: () => ({ count: 1 }) });
    // @ts-expect-error total is no string
    defineTool({ ...definition, run: async () => ({ count: 1, total: '1' }) });
    // @ts-expect-error args has no such member
    defineTool({ ...definition, run: (args) => ({ count: args.amount, total: 1 }) });
    const run = () => ({ count: 1, total: 1 });
    // @ts-expect-error attempts is a number
    expect(() => defineTool({ ...definition, run, job: { attempts: 'three' } })).toThrow(RangeError);
  });

  test('a definition can be written apart from defineTool', () => {
    expectTypeOf(defineTool<z.output<typeof input>, z.input<typeof output>>)
      .parameter(0)
      .toEqualTypeOf<ToolDefinition<{ numbers: number[] }, { count: number; total: number }>>();
    const tool = defineTool(DEFINITION);
    expectTypeOf(tool).toEqualTypeOf<Tool>();
    expect(isTool(tool)).toBe(true);
  });

  test('withJsonSchema keeps the types of the schema that it wraps', () => {
    const wrapped = withJsonSchema(input, { type: 'object' });
    const tool = defineTool({
      ...DEFINITION,
      input: wrapped,
      run(args) {
        expectTypeOf(args).toEqualTypeOf<{ numbers: number[] }>();
        return { count: 0, total: 0 };
      },
    });
    expect(isTool(tool)).toBe(true);
  });
});
