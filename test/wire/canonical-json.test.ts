import { readdirSync, readFileSync } from 'node:fs';
import oracle from 'canonicalize';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { canonicalize, CanonicalJsonError } from '../../src/wire/index.ts';
import { anyFiniteNumber, anyJson, anyText } from './arbitraries.ts';
import { haveVectors, thrownBy, utf8, VECTORS } from './samples.ts';

/** The double with these 64 bits. */
function double(hex: string): number {
  return Buffer.from(hex, 'hex').readDoubleBE();
}

/** `depth` objects, one inside the other. */
function nested(depth: number): unknown {
  return depth === 0 ? 1 : { a: nested(depth - 1) };
}

describe.skipIf(!haveVectors)('RFC 8785 test data (../shared/vectors/jcs)', () => {
  const files = haveVectors ? readdirSync(new URL('jcs/input/', VECTORS)) : [];
  const read = (path: string): string => readFileSync(new URL(`jcs/${path}`, VECTORS), 'utf8');

  test('has its six files', () => {
    expect(files).toHaveLength(6);
  });

  test.each(files)('%s gives exactly the published bytes', (file) => {
    const text = canonicalize(JSON.parse(read(`input/${file}`)));
    expect(text).toBe(read(`output/${file}`).trimEnd());
    const hex = read(`outhex/${file.replace('.json', '.txt')}`).replace(/\s/g, '');
    expect(Buffer.from(utf8(text)).toString('hex')).toBe(hex);
  });
});

describe('numbers are written as ECMAScript writes them (RFC 8785 appendix B)', () => {
  test.each([
    ['0000000000000000', '0'],
    ['8000000000000000', '0'],
    ['0000000000000001', '5e-324'],
    ['8000000000000001', '-5e-324'],
    ['7fefffffffffffff', '1.7976931348623157e+308'],
    ['ffefffffffffffff', '-1.7976931348623157e+308'],
    ['4340000000000000', '9007199254740992'],
    ['c340000000000000', '-9007199254740992'],
    ['4430000000000000', '295147905179352830000'],
    ['44b52d02c7e14af5', '9.999999999999997e+22'],
    ['44b52d02c7e14af6', '1e+23'],
    ['44b52d02c7e14af7', '1.0000000000000001e+23'],
    ['444b1ae4d6e2ef4e', '999999999999999700000'],
    ['444b1ae4d6e2ef4f', '999999999999999900000'],
    ['444b1ae4d6e2ef50', '1e+21'],
    ['3eb0c6f7a0b5ed8c', '9.999999999999997e-7'],
    ['3eb0c6f7a0b5ed8d', '0.000001'],
    ['41b3de4355555553', '333333333.3333332'],
    ['41b3de4355555554', '333333333.33333325'],
    ['41b3de4355555555', '333333333.3333333'],
    ['41b3de4355555556', '333333333.3333334'],
    ['41b3de4355555557', '333333333.33333343'],
    ['becbf647612f3696', '-0.0000033333333333333333'],
    ['43143ff3c1cb0959', '1424953923781206.2'],
  ])('%s → %s', (bits, text) => {
    expect(canonicalize(double(bits))).toBe(text);
  });

  test.each(['7fffffffffffffff', '7ff0000000000000', 'fff0000000000000'])('%s is refused', (bits) => {
    expect(() => canonicalize([double(bits)])).toThrow('[0]: is not a finite number');
  });

  test('any finite double comes back from its text', () => {
    fc.assert(
      fc.property(anyFiniteNumber, (number) => Number(canonicalize(number)) === number),
      { numRuns: 2_000 },
    );
  });
});

describe('the canonical text of any value', () => {
  test('is the one of an independent implementation', () => {
    fc.assert(
      fc.property(anyJson, (value) => {
        expect(canonicalize(value)).toBe(oracle(value));
      }),
      { numRuns: 2_000 },
    );
  });

  test('does not depend on the order in which members were written', () => {
    fc.assert(
      fc.property(fc.uniqueArray(anyText, { maxLength: 8 }), fc.nat(), (names, seed) => {
        const members = names.filter((name) => name !== '__proto__').map((name, i) => [name, i] as const);
        const turned = members.map((_, i) => members[(i + seed) % members.length] ?? ['', 0]);
        expect(canonicalize(Object.fromEntries(turned))).toBe(canonicalize(Object.fromEntries(members)));
      }),
    );
  });

  test('orders names by UTF-16 code units, not by code points or bytes of UTF-8', () => {
    // U+1F602 is above U+FB33, yet its first code unit D83D is below it.
    expect(canonicalize({ '\ufb33': 1, '\u{1f602}': 2, '€': 3, z: 4, '': 5 })).toBe(
      '{"":5,"z":4,"€":3,"\u{1f602}":2,"\ufb33":1}',
    );
    fc.assert(
      fc.property(fc.uniqueArray(anyText), (names) => {
        const object = Object.fromEntries(
          names.filter((name) => name !== '__proto__').map((name) => [name, 0]),
        );
        const written = [...canonicalize(object).matchAll(/"(?:[^"\\]|\\.)*"/g)].map(([text]) =>
          JSON.parse(text),
        );
        const units = (name: string): Buffer => Buffer.from(name, 'utf16le').swap16();
        const sorted = Object.keys(object).sort((a, b) => Buffer.compare(units(a), units(b)));
        expect(written).toEqual(sorted);
      }),
    );
  });

  test('orders integer-like names as text, although objects enumerate them as numbers', () => {
    expect(canonicalize({ 10: 'a', 9: 'b', '-1': 'c', 1: 'd' })).toBe('{"-1":"c","1":"d","10":"a","9":"b"}');
  });

  test('escapes only what it must, in the shortest way', () => {
    expect(canonicalize('\b\t\n\f\r"\\/\u0000\u001f\u007f\u0080\u2028é')).toBe(
      '"\\b\\t\\n\\f\\r\\"\\\\/\\u0000\\u001f\u007f\u0080\u2028é"',
    );
  });

  test('of a list is that of its items, whatever methods the list was given', () => {
    const items = [1, 'a', null, true, -0, '\u2028', 1e21];
    const text = '1,"a",null,true,0,"\u2028",1e+21';
    for (const [times, list] of [1, 10].map(
      (n) => [n, Array.from({ length: n }, () => items).flat()] as const,
    )) {
      expect(canonicalize(list)).toBe(`[${Array.from({ length: times }, () => text).join()}]`);
      expect(canonicalize(Object.assign([...list], { toJSON: () => 'other' }))).toBe(canonicalize(list));
    }
    const zeros = Array.from({ length: 100 }, () => 0);
    for (const wrong of [Number.NaN, '\ud800', undefined, 1n])
      expect(() => canonicalize([...zeros, wrong])).toThrow('[100]: ');
    expect(() => canonicalize(Object.assign([...zeros], { length: 101 }))).toThrow('[100]: is undefined');
    const within = (depth: number): unknown => (depth === 0 ? zeros : [within(depth - 1)]);
    expect(canonicalize(within(31))).toContain('[[0,0');
    expect(() => canonicalize(within(32))).toThrow('is nested too deep');
  });

  test('takes objects without a prototype', () => {
    expect(canonicalize(Object.assign(Object.create(null), { b: 1, a: {} }))).toBe('{"a":{},"b":1}');
  });

  test('counts every member it wrote', () => {
    const count = { members: 0 };
    canonicalize({ a: [{ b: 1 }, { c: 2, d: {} }], e: null }, count);
    expect(count.members).toBe(5);
  });
});

describe('what JSON cannot say is refused, with its path', () => {
  class Money {
    readonly cents = 5;
  }
  const cyclic: Record<string, unknown> = {};
  cyclic['self'] = cyclic;

  test.each<[string, unknown, string]>([
    ['undefined', undefined, 'is undefined, which JSON cannot say'],
    ['undefined in an object', { a: { b: undefined } }, 'a.b: is undefined, which JSON cannot say'],
    ['undefined in an array', { a: [1, undefined] }, 'a[1]: is undefined, which JSON cannot say'],
    [
      'a hole in an array',
      { rows: [{ cells: Object.assign([], { length: 1 }) }] },
      'rows[0].cells[0]: is undefined, which JSON cannot say',
    ],
    ['a bigint', { a: { b: [0, { c: 1n }] } }, 'a.b[1].c: is bigint, which JSON cannot say'],
    ['a symbol', [[Symbol('x')]], '[0][0]: is symbol, which JSON cannot say'],
    ['a function', { toJSON: () => 1 }, 'toJSON: is function, which JSON cannot say'],
    ['NaN', { a: Number.NaN }, 'a: is not a finite number'],
    ['Infinity', [Number.POSITIVE_INFINITY], '[0]: is not a finite number'],
    ['a date', { at: new Date(0) }, 'at: is not a plain object'],
    ['a map', { m: new Map() }, 'm: is not a plain object'],
    ['a typed array', { bytes: new Uint8Array(2) }, 'bytes: is not a plain object'],
    ['an instance of a class', [new Money()], '[0]: is not a plain object'],
    ['a boxed number', [Object(1)], '[0]: is not a plain object'],
    ['a lone high surrogate', { a: ['x\ud800'] }, 'a[0]: has a lone surrogate'],
    ['a lone low surrogate', { a: '\udc00x' }, 'a: has a lone surrogate'],
    ['surrogates in the wrong order', ['\udc00\ud800'], '[0]: has a lone surrogate'],
    ['a lone surrogate in a name', { a: { '\ud800': 1 } }, 'a.\ud800: has a lone surrogate'],
    ['a member without name', { a: { '': undefined } }, 'a."": is undefined, which JSON cannot say'],
    ['__proto__', JSON.parse('{"a":{"__proto__":1}}'), 'a.__proto__: is a forbidden name'],
  ])('%s', (_, value, message) => {
    const error = thrownBy(() => canonicalize(value));
    expect(error).toBeInstanceOf(CanonicalJsonError);
    expect(error).toMatchObject({ message });
  });

  test('nesting over 32, and so a value that contains itself', () => {
    expect(canonicalize(nested(32))).toHaveLength(32 * 6 + 1);
    expect(() => canonicalize(nested(33))).toThrow('is nested too deep');
    const list = (depth: number): unknown => (depth === 0 ? 1 : [list(depth - 1)]);
    expect(canonicalize(list(32))).toHaveLength(32 * 2 + 1);
    expect(() => canonicalize(list(33))).toThrow('is nested too deep');
    expect(() => canonicalize(cyclic)).toThrow('self.self.self');
  });

  test('an error of a getter is not taken for one of ours', () => {
    const broken = Object.defineProperty({}, 'a', {
      enumerable: true,
      get() {
        throw new RangeError('getter');
      },
    });
    expect(() => canonicalize({ list: [broken] })).toThrow(new RangeError('getter'));
  });
});
