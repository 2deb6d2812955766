import { describe, expect, test } from 'vitest';
import { hasTest } from '../support/titles.ts';
import { REQUIREMENTS } from './requirements.ts';

const SECTIONS = Array.from({ length: 11 }, (_, index) => `§${index + 1}`);

describe('the required behaviours of docs/protocol.md', () => {
  test('are listed for every section, each rule once', () => {
    const rules = REQUIREMENTS.map(({ rule }) => rule);
    expect(new Set(rules).size).toBe(rules.length);
    expect(new Set(REQUIREMENTS.map(({ section }) => section))).toEqual(new Set(SECTIONS));
  });

  const named = REQUIREMENTS.map(({ section, rule, tests }) => [`${section} ${rule}`, tests] as const);
  test.each(named)('%s', (_rule, tests) => {
    const missing = tests.filter(([file, title]) => !hasTest(file, title));
    expect(missing).toEqual([]);
    expect(tests.length).toBeGreaterThan(0);
  });
});
