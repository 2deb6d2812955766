import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { canonicalize, checkCarried } from '../../src/wire/index.ts';

/** What is thrown, or null. */
function problemOf(work: () => unknown): unknown {
  try {
    work();
    return null;
  } catch (error) {
    return error;
  }
}

describe('what a message can carry', () => {
  test('is what has a canonical form, and the reason is the same', () => {
    const odd = fc.constantFrom<unknown>(
      undefined,
      1n,
      Number.NaN,
      Number.POSITIVE_INFINITY,
      '\ud800',
      new Date(0),
      new Map(),
      () => {},
      JSON.parse('{"__proto__":1}'),
      // A hole.
      Array.from({ length: 1 }).concat([1]),
    );
    const value = fc.letrec((tie) => ({
      any: fc.oneof({ maxDepth: 4 }, fc.jsonValue(), odd, tie('list'), tie('object')),
      list: fc.array(tie('any'), { maxLength: 3 }),
      object: fc.dictionary(fc.string({ unit: 'binary', maxLength: 3 }), tie('any'), { maxKeys: 3 }),
    })).any;
    fc.assert(
      fc.property(value, (each) => {
        expect(problemOf(() => checkCarried(each))).toEqual(problemOf(() => canonicalize(each)));
      }),
      { numRuns: 1_000 },
    );
  });

  test('is not nested deeper than a message', () => {
    const nested = (depth: number): unknown => (depth === 0 ? 1 : [nested(depth - 1)]);
    expect(problemOf(() => checkCarried(nested(32)))).toBeNull();
    expect(problemOf(() => checkCarried(nested(33)))).not.toBeNull();
  });
});
