import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { eachLine, type Rest } from '../../src/audit/lines.ts';
import { AUDIT_LIMITS } from '../../src/audit/limits.ts';
import { pieces } from './bundles.ts';

async function read(text: string, pieceBytes: number): Promise<{ lines: string[]; rest: Rest }> {
  const lines: string[] = [];
  const rest = await eachLine(pieces(text, pieceBytes), (bytes, start, end) => {
    lines.push(bytes.toString('utf8', start, end));
    return true;
  });
  return { lines, rest };
}

describe('lines that come in pieces', () => {
  test('are the same wherever a piece ends', async () => {
    const anyText = fc.array(fc.constantFrom('a', 'é', '\r', '\n', '{}')).map((parts) => parts.join(''));
    await fc.assert(
      fc.asyncProperty(anyText, fc.integer({ min: 1, max: 9 }), async (text, pieceBytes) => {
        const { lines, rest } = await read(text, pieceBytes);
        const expected = text.split('\n');
        expect(rest.why).toBe('end');
        expect(Buffer.from(rest.cut, 'latin1').toString('utf8')).toBe(expected.pop());
        expect(lines).toEqual(expected);
      }),
    );
  });

  test('are read no further than they are wanted', async () => {
    const seen: number[] = [];
    const rest = await eachLine(pieces('a\nb\nc\n', 2), (_bytes, start) => seen.push(start) < 2);
    expect(rest).toEqual({ why: 'stopped', cut: '' });
    expect(seen).toHaveLength(2);
  });

  test.each([
    ['with its end', '\n'],
    ['without an end', ''],
  ])('are not kept when one is too long, %s', async (_what, end) => {
    const long = 'x'.repeat(AUDIT_LIMITS.maxLineBytes + 1);
    const { lines, rest } = await read(`a\n${long}${end}`, 1_048_576);
    expect({ lines, rest }).toEqual({ lines: ['a'], rest: { why: 'too_long', cut: '' } });
  });
});
