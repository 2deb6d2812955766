import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { tempFolder } from '../support/temp.ts';
import { bundleOf, CALL, linesOf, makeChains, textOf } from './bundles.ts';

const PAGE = readFileSync(new URL('../../docs/reference/audit.md', import.meta.url), 'utf8');
const [, PROGRAM = ''] = /```python\n([\s\S]*?)```/.exec(PAGE) ?? [];

const hasPython = spawnSync('python3', ['--version']).status === 0;
if (!hasPython)
  console.warn('SKIPPED: python3 is not installed, so the example of docs/reference/audit.md was not run');

const LINES = linesOf(
  await bundleOf(makeChains([[{ ...CALL, requestId: '"\\' }, 'head', CALL, 'close'], [CALL]])),
);
const { chain: FIRST } = LINES[1] ?? { chain: '' };

/** What the example of the page says of a bundle; nothing if it holds. */
function saidOf(bundle: string): string {
  const path = join(tempFolder(), 'bundle.jsonl');
  writeFileSync(path, bundle);
  const { status, stderr } = spawnSync('python3', ['-', path], { input: PROGRAM, encoding: 'utf8' });
  expect(status).toBe(stderr === '' ? 0 : 1);
  return stderr.replace(`${path}: `, '').trimEnd();
}

describe.skipIf(!hasPython)('the verifier in docs/reference/audit.md', () => {
  test('finds nothing in a bundle that holds', () => {
    expect(saidOf(textOf(LINES))).toBe('');
    expect(PROGRAM.split('\n').length).toBeLessThan(40);
  });

  test.each([
    ['changed', LINES.with(3, { ...LINES[3], text: LINES[3]?.text.replace('"seq":2', '"seq":9') } as never)],
    ['removed', LINES.toSpliced(3, 1)],
    ['reordered', [...LINES.slice(0, 3), ...LINES.slice(3, 5).toReversed(), ...LINES.slice(5)]],
    ['cut off', LINES.toSpliced(3, 1, { text: LINES[3]?.text.slice(0, 90) ?? '', chain: null, seq: null })],
  ])('names the place of a record that was %s', (_what, lines) => {
    expect(saidOf(textOf(lines))).toContain(`line 4, chain ${FIRST} after record 1`);
  });

  test.each([
    ['without its last line', textOf(LINES.slice(0, -1))],
    ['without a chain', textOf(LINES.filter(({ chain }) => chain !== FIRST))],
    ['without its last line feed', textOf(LINES).slice(0, -1)],
    ['with something behind it', `${textOf(LINES)}{}\n`],
    ['without its first line', textOf(LINES.slice(1))],
    ['of nothing', ''],
  ])('does not take a bundle %s', (_what, bundle) => {
    expect(saidOf(bundle)).not.toBe('');
  });
});
