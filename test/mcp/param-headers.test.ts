import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { headerRules, headerText, paramMismatch } from '../../src/mcp/param-headers.ts';
import { defineTool } from '../../src/tools/index.ts';
import { startFace } from './face.ts';

/** As a client encodes a value (2026-07-28, basic/transports, “Value Encoding”). */
function encode(value: string): string {
  const isPlain = /^[\t\x20-\x7e]*$/.test(value) && value.trim() === value;
  if (isPlain && !/^=\?base64\?.*\?=$/s.test(value)) return value;
  return `=?base64?${Buffer.from(value, 'utf8').toString('base64')}?=`;
}

const object = (properties: object) => ({ type: 'object', properties });
const string = (name: string) => ({ type: 'string', 'x-mcp-header': name });

describe('the value of a header', () => {
  test('is what its client encoded, whatever that was', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (value) => {
        const text = value.toWellFormed();
        expect(headerText(encode(text))).toBe(text);
      }),
    );
  });

  test.each([
    ['us-west1', 'us-west1'],
    ['', ''],
    ['=?base64?SGVsbG8sIOS4lueVjA==?=', 'Hello, 世界'],
    ['=?base64?IHBhZGRlZCA=?=', ' padded '],
    ['=?base64?bGluZTEKbGluZTI=?=', 'line1\nline2'],
    ['=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=', '=?base64?literal?='],
    ['=?base64??=', ''],
    ['=?BASE64?YQ==?=', '=?BASE64?YQ==?='],
    ['=?base64?YQ==', '=?base64?YQ=='],
  ])('%s is %o', (raw, text) => {
    expect(headerText(raw)).toBe(text);
  });

  test.each([
    ['characters beyond ASCII', 'Zürich'],
    ['a control character', 'a\u0001'],
    ['no Base64 between its marks', '=?base64?!!!?='],
    ['Base64 without its padding', '=?base64?YQ?='],
    ['Base64 with bits to spare', '=?base64?YR==?='],
    ['Base64 of bytes that are no UTF-8', '=?base64?/w==?='],
    ['the alphabet for URLs', '=?base64?_-8=?='],
  ])('is refused with %s', (_what, raw) => {
    expect(headerText(raw)).toBeNull();
  });
});

describe('which arguments stand in headers', () => {
  test('those that are marked, at any depth of properties', () => {
    const schema = object({
      region: string('Region'),
      plain: { type: 'string' },
      deep: object({ a: string('X-a') }),
    });
    expect(headerRules(schema)).toEqual([
      { header: 'mcp-param-region', path: ['region'] },
      { header: 'mcp-param-x-a', path: ['deep', 'a'] },
    ]);
  });

  test('a property may be named like the mark, or like a keyword', () => {
    expect(headerRules(object({ 'x-mcp-header': { type: 'string' }, properties: string('P') }))).toEqual([
      { header: 'mcp-param-p', path: ['properties'] },
    ]);
  });

  test.each([
    ['an empty name', object({ a: string('') })],
    ['a name with a space', object({ a: string('a b') })],
    ['a name with a line feed', object({ a: string('a\n') })],
    ['a name that is no text', object({ a: { type: 'string', 'x-mcp-header': 1 } })],
    ['a number', object({ a: { type: 'number', 'x-mcp-header': 'A' } })],
    ['an object', object({ a: { ...object({}), 'x-mcp-header': 'A' } })],
    ['several types', object({ a: { type: ['string', 'null'], 'x-mcp-header': 'A' } })],
    ['the whole', { ...object({}), 'x-mcp-header': 'A' }],
    ['items of a list', object({ a: { type: 'array', items: string('A') } })],
    ['a branch', { ...object({}), anyOf: [object({ a: string('A') })] }],
    ['a definition', { ...object({}), $defs: { a: string('A') } }],
    ['the same name twice, in any case', object({ a: string('Region'), b: string('REGION') })],
  ])('not %s', (_what, schema) => {
    expect(() => headerRules(schema)).toThrow(TypeError);
  });
});

describe('headers and arguments', () => {
  const rules = headerRules(
    object({
      text: string('Text'),
      count: { type: 'integer', 'x-mcp-header': 'Count' },
      flag: { type: 'boolean', 'x-mcp-header': 'Flag' },
      deep: object({ a: string('Deep') }),
    }),
  );
  const problem = (args: object, headers: Record<string, string> = {}) =>
    paramMismatch(rules, JSON.parse(JSON.stringify(args)), (name) => headers[name]);

  test('agree for every value that its client encoded', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.maxSafeInteger(), fc.boolean(), (raw, count, flag) => {
        const text = raw.toWellFormed();
        const headers = {
          'mcp-param-text': encode(text),
          'mcp-param-count': String(count),
          'mcp-param-flag': String(flag),
          'mcp-param-deep': encode(text),
        };
        expect(problem({ text, count, flag, deep: { a: text } }, headers)).toBeNull();
        expect(problem({ text: `${text}.`, count, flag, deep: { a: text } }, headers)).toMatch(
          /text differs/,
        );
        expect(problem({ text, count, flag: !flag, deep: { a: text } }, headers)).toMatch(/flag differs/);
      }),
    );
  });

  test.each([
    ['nothing at all', {}, {}],
    ['an argument of null', { text: null }, {}],
    ['a deep argument whose parent is none', { deep: 'x' }, {}],
    ['an integer written as a fraction', { count: 42 }, { 'mcp-param-count': '42.0' }],
    ['a negative one', { count: -7 }, { 'mcp-param-count': '-7' }],
    ['an empty text', { text: '' }, { 'mcp-param-text': '' }],
  ])('agree: %s', (_what, args, headers) => {
    expect(problem(args, headers)).toBeNull();
  });

  test.each([
    ['a header is missing', { text: 'a' }, {}, /mcp-param-text is missing/],
    ['an argument is missing', {}, { 'mcp-param-text': 'a' }, /its argument is not/],
    ['an argument is null', { text: null }, { 'mcp-param-text': 'null' }, /its argument is not/],
    ['a text in another case', { text: 'A' }, { 'mcp-param-text': 'a' }, /differs/],
    ['a header of two', { text: 'a' }, { 'mcp-param-text': 'a, a' }, /differs/],
    ['an integer in another base', { count: 42 }, { 'mcp-param-count': '0x2a' }, /differs/],
    ['an integer with words', { count: 42 }, { 'mcp-param-count': '42 apples' }, /differs/],
    ['an integer of nothing', { count: 0 }, { 'mcp-param-count': '' }, /differs/],
    ['a boolean in another case', { flag: true }, { 'mcp-param-flag': 'True' }, /differs/],
    ['characters that a header may not hold', { text: 'ü' }, { 'mcp-param-text': 'ü' }, /characters/],
  ])('do not: %s', (_what, args, headers, words) => {
    expect(problem(args, headers)).toMatch(words);
  });
});

describe('a tool with marked arguments over HTTP', () => {
  const marked = defineTool({
    name: 'marked',
    description: 'For tests.',
    input: z.object({ region: z.string().optional().meta({ 'x-mcp-header': 'Region' }) }),
    output: z.looseObject({}),
    run: (args) => args,
  });

  test('runs when they agree, and is refused as a header mismatch otherwise', async () => {
    const face = await startFace({ tools: [marked] });
    const send = (region: string | string[] | undefined) =>
      face.call('marked', { region: 'Zürich' }, { headers: { 'mcp-param-region': region } });
    expect((await send(encode('Zürich'))).message.result.structuredContent).toEqual({ region: 'Zürich' });
    for (const wrong of [undefined, 'Zurich', [encode('Zürich'), encode('Zürich')]]) {
      const { status, message } = await send(wrong);
      expect([status, message.error.code]).toEqual([400, -32_020]);
    }
    expect((await face.call('marked', {})).status).toBe(200);
  });
});
