import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { CODES } from '../../src/errors/index.ts';

const yesNo = (value: boolean) => (value ? 'yes' : 'no');

/** Rows of the first table, as arrays of cells. */
function documentedCodes(): string[][] {
  const [, table = ''] = readFileSync(
    new URL('../../docs/reference/errors.md', import.meta.url),
    'utf8',
  ).split('|---|---|---|---|---|\n');
  const rows = table.split('\n\n')[0]?.split('\n') ?? [];
  return rows.map((row) =>
    row
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

describe('docs/reference/errors.md', () => {
  it('says of every code what the table of codes says, and of no other', () => {
    const fromCode = Object.entries(CODES).map(([code, { httpStatus, retryable, signed, meaning }]) => [
      `\`${code}\``,
      String(httpStatus),
      yesNo(retryable),
      yesNo(signed),
      meaning,
    ]);
    expect(documentedCodes()).toEqual(fromCode);
  });
});
