import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { canonicalize, parseJson } from '../../src/wire/index.ts';
import { anyJson } from './arbitraries.ts';

/** Characters of which a name may be written that looks, in its first characters, like another one. */
const anyName = fc.string({
  unit: fc.constantFrom('\\', '"', 'u', 'b', '\n', '\0', ':', 'é', '1'),
  maxLength: 3,
});
const anyObject = fc.letrec<{ value: unknown; object: object }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    fc.constant(null),
    anyName,
    fc.array(tie('value'), { maxLength: 3 }),
    tie('object'),
  ),
  object: fc.dictionary(anyName, tie('value'), { maxKeys: 4 }),
})).object;

describe('JSON whose names others choose', () => {
  test('has the names that it says, whichever names were read before (V8 13.6 mistakes them)', () => {
    parseJson('{"\\\\":1,"\\\\u":1}');
    expect(parseJson('{"\\u0062":1}')).toEqual({ b: 1 });
    expect(parseJson('{"\\"":1,"\\n":2}')).toEqual({ '"': 1, '\n': 2 });
    expect(parseJson('{"\\\\":1,"\\u0062c":1}')).toEqual({ '\\': 1, bc: 1 });
  });

  test('comes back as it was written', () => {
    fc.assert(
      fc.property(fc.oneof(anyObject, anyJson), (value) => {
        expect(canonicalize(parseJson(JSON.stringify(value)))).toBe(canonicalize(value));
      }),
      { numRuns: 3_000 },
    );
  });

  test('keeps the last of a name that stands twice, however it is spelled, and __proto__ as any name', () => {
    expect(parseJson('{"1":1,"\\u0031":2}')).toEqual({ 1: 2 });
    expect(parseJson('{"\\u0031" : 1, "1" : {"\\n":[]}}')).toEqual({ 1: { '\n': [] } });
    const value = parseJson('{"\\u005f_proto__":{"\\t":1}}');
    expect(Object.entries(Object(value))).toEqual([['__proto__', { '\t': 1 }]]);
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
  });

  test.each([
    '{"\\n":',
    '{"\\n":1}}',
    '{"\\x":1}',
    '{"a\\',
    '{"a\\":',
    '{"a":1,"\\n" 1}',
    '"\\n":1',
    '{"\\n":"\n"}',
  ])('that is none is refused with the error of JSON.parse: %j', (text) => {
    const errorOf = (parse: (text: string) => unknown) => {
      try {
        return `taken: ${JSON.stringify(parse(text))}`;
      } catch (error) {
        return String(error);
      }
    };
    expect(errorOf(parseJson)).toBe(errorOf(JSON.parse));
    expect(errorOf(parseJson)).toContain('SyntaxError');
  });

  test('may be a name or look like one: only what is written counts', () => {
    for (const value of [
      '"\\n":',
      'a": "\\n":',
      ['\\', ':'],
      { a: '"\\n":1' },
      { '\\': '\\":', '"': [':"\n":'] },
    ]) {
      expect(parseJson(JSON.stringify(value, null, 2))).toEqual(value);
    }
  });
});
