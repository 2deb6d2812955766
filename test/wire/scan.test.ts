import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ProtocolError } from '../../src/errors/index.ts';
import { MESSAGE_LIMITS } from '../../src/limits.ts';
import type { JsonValue } from '../../src/wire/index.ts';
import { scan } from '../../src/wire/scan.ts';
import { anyJson } from './arbitraries.ts';
import { thrownBy } from './samples.ts';

const UNLIMITED = { ...MESSAGE_LIMITS, maxDepth: 1_000, maxMembers: 1_000_000 };

function membersOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  const own = Array.isArray(value) ? 0 : Object.keys(value).length;
  return Object.values(value).reduce((sum: number, member) => sum + membersOf(member), own);
}

function depthOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  return 1 + Math.max(0, ...Object.values(value).map(depthOf));
}

/** Writes a value as JSON in one of its many spellings: `next` decides about spaces and escapes. */
function spell(value: JsonValue, next: () => number): string {
  const space = (): string => ['', '', ' ', '\n', '\t \r'][next() % 5] ?? '';
  const string = (text: string): string => {
    let written = '"';
    for (let i = 0; i < text.length; i++) {
      const escaped = JSON.stringify(text[i]).slice(1, -1);
      const unit = text.charCodeAt(i);
      // Halves of a pair keep together only if both are escaped or both are not; \u is right for any of them.
      const must = unit >= 0xd800 && unit <= 0xdfff;
      written += must || next() % 4 === 0 ? `\\u${unit.toString(16).padStart(4, '0')}` : escaped;
    }
    return `${written}"`;
  };
  if (typeof value === 'string') return string(value);
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const parts = Array.isArray(value)
    ? value.map((item: JsonValue) => spell(item, next))
    : Object.entries(value).map(
        ([name, member]) => `${string(name)}${space()}:${space()}${spell(member, next)}`,
      );
  const [open, close] = Array.isArray(value) ? '[]' : '{}';
  return `${open}${space()}${parts.join(`${space()},${space()}`)}${space()}${close}`;
}

describe('the count of members', () => {
  test.each<[string, number]>([
    ['{}', 0],
    ['[1,2,3]', 0],
    ['":"', 0],
    ['{"a":1}', 1],
    ['{"a":":","b":"\\":","c:":"\\\\"}', 3],
    ['{"a\\\\":"\\\\\\":\\\\","b":{"c":[{"d":":{"}]}}', 4],
    ['{"a":1,"a":2}', 2],
    [' { "a" : 1 , "b" : [ { } ] } ', 2],
    ['{"\\u003a":1}', 1],
  ])('%s', (text, members) => {
    expect(scan(text, MESSAGE_LIMITS)).toBe(members);
  });

  test('is the number of members of the parsed value, for every JSON text without doubled names', () => {
    let mostMembers = 0;
    fc.assert(
      fc.property(anyJson, fc.infiniteStream(fc.nat()), (value, stream) => {
        const text = spell(value, () => Number(stream.next().value));
        const members = membersOf(JSON.parse(text));
        mostMembers = Math.max(mostMembers, members);
        expect(scan(text, UNLIMITED)).toBe(members);
      }),
      { numRuns: 1_000 },
    );
    expect(mostMembers).toBeGreaterThan(5);
  });

  test('stops at the limit', () => {
    const text = (members: number): string =>
      `{${Array.from({ length: members }, (_, i) => `"${i}":0`).join(',')}}`;
    expect(scan(text(20_000), MESSAGE_LIMITS)).toBe(20_000);
    expect(() => scan(text(20_001), MESSAGE_LIMITS)).toThrow('$: more than 20000 object members');
  });
});

describe('nesting', () => {
  test('32 passes and 33 is refused, in arrays, objects and both', () => {
    for (const [open, close] of [
      ['[', ']'],
      ['{"a":', '}'],
      ['[{"a":', '}]'],
    ] as const) {
      const levels = open.startsWith('[{') ? 2 : 1;
      const text = (depth: number): string =>
        open.repeat(depth / levels) + '0' + close.repeat(depth / levels);
      expect(() => scan(text(32), MESSAGE_LIMITS)).not.toThrow();
      const error = thrownBy(() => scan(text(32 + levels), MESSAGE_LIMITS));
      expect(error).toBeInstanceOf(ProtocolError);
      expect(error).toMatchObject({ code: 'bad_envelope', message: '$: nested more than 32 deep' });
    }
  });

  test('is refused exactly when the parsed value is nested deeper than the limit', () => {
    let refused = 0;
    fc.assert(
      fc.property(anyJson, fc.integer({ min: 1, max: 4 }), (value, maxDepth) => {
        const tooDeep = depthOf(value) > maxDepth;
        if (tooDeep) refused++;
        const look = (): number => scan(JSON.stringify(value), { ...UNLIMITED, maxDepth });
        if (tooDeep) expect(look).toThrow(ProtocolError);
        else expect(look).not.toThrow();
      }),
      { numRuns: 500 },
    );
    expect(refused).toBeGreaterThan(10);
  });

  test('is not seen inside strings', () => {
    expect(scan(`{"a":"${'[{'.repeat(100)}\\"${'['.repeat(100)}"}`, MESSAGE_LIMITS)).toBe(1);
  });

  test('a string that never ends hides nothing that JSON.parse would accept', () => {
    expect(scan(`["${'['.repeat(1_000)}`, MESSAGE_LIMITS)).toBe(0);
    expect(scan('"\\', MESSAGE_LIMITS)).toBe(0);
    expect(scan('', MESSAGE_LIMITS)).toBe(0);
  });
});

test('a mebibyte of backslashes, quotes or brackets is read in one pass', () => {
  // Counts looks at characters instead of time: a pass that went back would look far more often.
  for (const unit of ['\\', '"', '\\"', '[', '{"', ':']) {
    const text = unit.repeat(2 ** 20 / unit.length);
    let looks = 0;
    const counting = {
      length: text.length,
      charCodeAt: (i: number) => (looks++, text.charCodeAt(i)),
      indexOf: (needle: string, from: number) => {
        const at = text.indexOf(needle, from);
        looks += (at === -1 ? text.length : at) - from;
        return at;
      },
    };
    try {
      // Stands in for a string: scan uses these three of its members.
      scan(counting as unknown as string, MESSAGE_LIMITS);
    } catch (error) {
      expect(error).toBeInstanceOf(ProtocolError);
    }
    expect(looks).toBeLessThan(4 * text.length);
  }
});
