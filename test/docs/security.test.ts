import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { hasTest } from '../support/titles.ts';

const TEXT = readFileSync(fileURLToPath(new URL('../../SECURITY.md', import.meta.url)), 'utf8');

interface Row {
  readonly threat: string;
  readonly defence: string;
  readonly proof: string;
}

/** The rows of all tables; a cell never holds a bar. */
const ROWS: readonly Row[] = TEXT.split('\n')
  .filter((line) => /^\|(?! Threat |-)/.test(line))
  .map((line) => line.slice(1, -1).split('|'))
  .map(([threat = '', defence = '', proof = '', ...more]) => {
    expect(more).toEqual([]);
    return { threat: threat.trim(), defence: defence.trim(), proof: proof.trim() };
  });

/** `file` “title of a test” */
const PROOF = /`([\w./-]+)` “([^”]+)”/g;

describe('the threat model in SECURITY.md', () => {
  test('has all its rows read, each threat once', () => {
    expect(ROWS.length).toBeGreaterThan(40);
    expect(new Set(ROWS.map(({ threat }) => threat)).size).toBe(ROWS.length);
  });

  test.each(ROWS)('$threat', ({ defence, proof }) => {
    expect(defence).not.toBe('');
    const tests = [...proof.matchAll(PROOF)];
    expect(tests.filter(([, file = '', title = '']) => !hasTest(file, title)).map(([all]) => all)).toEqual(
      [],
    );
    // Nothing but tests: a word beside them would be a proof that nobody runs.
    expect(proof.replaceAll(PROOF, '').replaceAll(/[, ]/g, '')).toBe('');
    expect(tests).not.toEqual([]);
  });
});
