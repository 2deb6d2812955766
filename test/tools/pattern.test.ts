import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { matcherOf } from '../../src/tools/index.ts';

describe('a pattern of tool names', () => {
  /** By its definition, trying everything. */
  function fits(pattern: string, name: string): boolean {
    if (pattern === '') return name === '';
    if (pattern.startsWith('*'))
      return fits(pattern.slice(1), name) || (name !== '' && fits(pattern, name.slice(1)));
    return name.startsWith(pattern.charAt(0)) && fits(pattern.slice(1), name.slice(1));
  }

  test('matches what it says, with * for any run of characters', () => {
    const letters = (maxLength: number, ...of: readonly string[]) =>
      fc.array(fc.constantFrom(...of), { maxLength }).map((all) => all.join(''));
    let matched = 0;
    fc.assert(
      fc.property(letters(7, 'a', 'b', '.', '*', '*'), letters(9, 'a', 'b', '.'), (pattern, name) => {
        const expected = fits(pattern, name);
        if (expected) matched++;
        expect(matcherOf(pattern)(name)).toBe(expected);
      }),
      { numRuns: 20_000 },
    );
    expect(matched).toBeGreaterThan(500);
  });

  test.each([
    ['reports.*', 'reports.', true],
    ['reports.*', 'reportsX', false],
    ['a*a', 'a', false],
    ['a*a', 'aa', true],
    ['*', '', true],
    ['a.b', 'axb', false],
    ['[a]', 'a', false],
  ])('%s against %j: %s', (pattern, name, expected) => {
    expect(matcherOf(pattern)(name)).toBe(expected);
  });

  test('of nothing but traps ends against a name that nearly fits', () => {
    const matches = matcherOf(`${'*a'.repeat(63)}*b`);
    expect(matches('a'.repeat(128))).toBe(false);
    expect(matches(`${'a'.repeat(127)}b`)).toBe(true);
  });
});
