import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { REQUIREMENTS } from './requirements.ts';

const SECTIONS = Array.from({ length: 11 }, (_, index) => `§${index + 1}`);

/** The text of a file below test/; empty if there is none. */
function sourceOf(file: string): string {
  try {
    return readFileSync(fileURLToPath(new URL(`../${file}`, import.meta.url)), 'utf8');
  } catch {
    return '';
  }
}

/** Does the file have a test of this title? Titles are written as one string, in quotes of any kind. */
function hasTest(file: string, title: string): boolean {
  const source = sourceOf(file);
  if (file.endsWith('.json')) return source.includes(`"name": ${JSON.stringify(title)}`);
  return ["'", '"', '`'].some((quote) => {
    return source.includes(`${quote}${title.replaceAll(quote, `\\${quote}`)}${quote}`);
  });
}

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
