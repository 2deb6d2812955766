import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { ProtocolError } from '../../src/errors/index.ts';
import {
  defineTool,
  type Issue,
  parseArgs,
  type Schema,
  type Tool,
  withJsonSchema,
} from '../../src/tools/index.ts';

interface City {
  readonly name: string;
}

/** A Standard Schema as someone could write it without a library. */
const city: Schema<unknown, City> = {
  '~standard': {
    version: 1,
    vendor: 'hand-made',
    validate(value) {
      const name = typeof value === 'object' && value !== null && 'name' in value ? value.name : undefined;
      if (typeof name === 'string') return { value: { name: name.trim() } };
      return { issues: [{ message: 'must be text', path: ['name'] }] };
    },
  },
};

const CITY_JSON = { type: 'object', required: ['name'], properties: { name: { type: 'string' } } };

/** The same check, answered later. */
const asyncCity: Schema<unknown, City> = {
  '~standard': { ...city['~standard'], validate: async (value) => city['~standard'].validate(value) },
};

function toolWith(input: Schema): Tool {
  return defineTool({ name: 't', description: 'd', input, output: z.object({}), run: () => ({}) });
}

async function refusalOf(schema: Schema, args: unknown): Promise<ProtocolError> {
  let error: unknown = new Error('the arguments were taken');
  try {
    await parseArgs({ input: schema }, args);
  } catch (thrown) {
    error = thrown;
  }
  expect(error).toBeInstanceOf(ProtocolError);
  // Just checked.
  return error as ProtocolError;
}

/** A schema that refuses everything for these reasons. */
function refusing(
  issues: readonly { message: string; path?: readonly (PropertyKey | { key: PropertyKey })[] }[],
): Schema {
  return { '~standard': { version: 1, vendor: 'hand-made', validate: () => ({ issues }) } };
}

describe('arguments', () => {
  test.each<[string, Schema]>([
    ['zod', z.object({ name: z.string().trim() })],
    ['a hand-made Standard Schema', city],
    ['an asynchronous Standard Schema', asyncCity],
    [
      'zod with an asynchronous refinement',
      z.object({
        name: z
          .string()
          .trim()
          .refine(async () => true),
      }),
    ],
  ])('are what the input schema returns: %s', async (_, input) => {
    expect(await parseArgs({ input }, { name: ' Köln ' })).toEqual({ name: 'Köln' });
    expect(await refusalOf(input, { name: 7 })).toMatchObject({ code: 'invalid_args' });
    expect(await refusalOf(input, null)).toMatchObject({ code: 'invalid_args' });
  });

  test('that break it are refused with every issue, its path and its message', async () => {
    const schema = z.strictObject({ rows: z.array(z.object({ n: z.number(), 'odd name': z.string() })) });
    const error = await refusalOf(schema, { rows: [{ n: 1, 'odd name': '' }, { n: 'x' }], more: 1 });
    expect(error.result).toEqual({
      issues: [
        { path: 'rows[1].n', message: expect.stringContaining('expected number') },
        { path: 'rows[1].odd name', message: expect.stringContaining('expected string') },
        { path: '$', message: expect.stringContaining('more') },
      ],
    });
    expect(error.message).toBe(`rows[1].n: ${issuesOf(error)[0]?.message}`);
  });

  test('are refused with the path steps of the standard in all their forms', async () => {
    const symbol = Symbol('s');
    const paths = [undefined, [], ['a'], [0], ['a', 1, 'b'], [{ key: 'a' }, { key: 2 }], [0, 'a'], [symbol]];
    const issues = paths.map((path) => (path === undefined ? { message: 'm' } : { message: 'm', path }));
    const error = await refusalOf(refusing(issues), {});
    expect(issuesOf(error).map(({ path }) => path)).toEqual([
      '$',
      '$',
      'a',
      '[0]',
      'a[1].b',
      'a[2]',
      '[0].a',
      'Symbol(s)',
    ]);
  });

  test('are refused with 20 issues at most', async () => {
    const many = Array.from({ length: 500 }, (_, i) => ({ message: `m${i}` }));
    expect(issuesOf(await refusalOf(refusing(many), {}))).toHaveLength(20);
  });

  test('are refused although a schema gives no reason', async () => {
    expect(await refusalOf(refusing([]), {})).toMatchObject({
      message: 'refused by the input schema',
      result: { issues: [] },
    });
  });

  test('with names that no reply can carry are refused in text that one can', async () => {
    const error = await refusalOf(refusing([{ message: 'bad \udfff', path: ['a\ud800'] }]), {});
    expect(error.text.isWellFormed()).toBe(true);
    for (const { path, message } of issuesOf(error)) expect(`${path}${message}`.isWellFormed()).toBe(true);
  });
});

function issuesOf(error: ProtocolError): readonly Issue[] {
  // invalid_args always has them; a wrong shape fails the comparison that follows.
  return error.result?.['issues'] as readonly Issue[];
}

describe('withJsonSchema', () => {
  test('lets any Standard Schema describe itself, with its check as it was', async () => {
    const tool = toolWith(withJsonSchema(city, CITY_JSON));
    expect(tool.inputSchema).toEqual(CITY_JSON);
    expect(await parseArgs(tool, { name: ' x ' })).toEqual({ name: 'x' });
    expect(await refusalOf(tool.input, {})).toMatchObject({ text: 'invalid_args: name: must be text' });
  });

  test('replaces the description that a library gives', () => {
    const json = { ...CITY_JSON, description: 'Mine.' };
    expect(toolWith(withJsonSchema(z.object({ name: z.string() }), json)).inputSchema).toEqual(json);
  });

  test('makes schemas usable whose library cannot print them', () => {
    const dates = z.object({ at: z.date() });
    expect(() => toolWith(dates)).toThrow('has no JSON Schema');
    expect(toolWith(withJsonSchema(dates, { type: 'object' })).inputSchema).toEqual({ type: 'object' });
  });

  test('holds to the rule that args and result are objects', () => {
    expect(() => toolWith(withJsonSchema(city, { type: 'string' }))).toThrow('must describe an object');
  });
});
