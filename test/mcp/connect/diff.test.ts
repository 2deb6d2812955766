import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CONNECT_LIMITS } from '../../../src/limits.ts';
import type { ToolInfo } from '../../../src/mcp/backend.ts';
import { definitionsOf } from '../../../src/mcp/connect/definition.ts';
import { diff, diffLines } from '../../../src/mcp/connect/diff.ts';
import { canonicalText } from '../../support/signing.ts';
import { anyJson } from '../../wire/arbitraries.ts';
import { offered } from './offered.ts';

const between = (before: readonly ToolInfo[], now: readonly ToolInfo[]) =>
  diff(definitionsOf(before), definitionsOf(now));
const linesBetween = (before: ToolInfo, now: ToolInfo) => diffLines(between([before], [now]));

describe('what differs between approved and offered tools', () => {
  test('is told by tool and member, old and new', () => {
    const before = [offered('kept'), offered('sum'), offered('gone')];
    const now = [
      offered('kept'),
      offered('sum', {
        description: 'Adds.',
        annotations: { destructiveHint: true },
        inputSchema: { type: 'object', properties: { numbers: { type: 'array', minItems: 2 } } },
      }),
      offered('born', { description: 'New here.' }),
    ];
    expect(diffLines(between(before, now))).toEqual([
      '+ born: new',
      '    annotations: added {"readOnlyHint":true}',
      '    description: added "New here."',
      '    inputSchema: added {"properties":{"numbers":{"minItems":1,"type":"array"}},"type":"object"}',
      '    outputSchema: added {"type":"object"}',
      '- gone: removed',
      '~ sum: changed',
      '    annotations.destructiveHint: added true',
      '    annotations.readOnlyHint: removed true',
      '    description: "The tool sum." → "Adds."',
      '    inputSchema.properties.numbers.minItems: 1 → 2',
    ]);
  });

  test('is nothing when only the order of members, or what nobody approves, differs', () => {
    const before = offered('sum', { outputSchema: { a: 1, b: 2 }, job: false });
    expect(between([before], [offered('sum', { outputSchema: { b: 2, a: 1 }, job: true })])).toEqual([]);
  });

  test('shows characters that show as nothing, or move the cursor', () => {
    const hidden = 'safe\u200b\u202e\u{e0041}\u001b[2K\u2028\ufe0f\u3164\nend';
    const [, line = ''] = linesBetween(
      offered('sum', { description: 'safe' }),
      offered('sum', { description: hidden }),
    );
    expect(line).toBe(
      '    description: "safe" → "safe\\u{200b}\\u{202e}\\u{e0041}\\u001b[2K\\u{2028}\\u{fe0f}\\u{3164}\\nend"',
    );
  });

  test('cuts a long text around what differs, and counts the rest', () => {
    const long = 'x'.repeat(5_000);
    const [, line = ''] = linesBetween(
      offered('sum', { description: `${long}old${long}` }),
      offered('sum', { description: `${long}new${long}` }),
    );
    expect(line).toContain('old');
    expect(line).toContain('new');
    expect(line).toMatch(/…\d+ more/);
    expect(line.length).toBeLessThan(3 * CONNECT_LIMITS.maxDiffChars);
  });

  test('has a bound on its lines, and names the number of the others', () => {
    const many = Array.from({ length: CONNECT_LIMITS.maxDiffLines }, (_, i) => offered(`tool_${i}`));
    const lines = diffLines(between([], many));
    expect(lines).toHaveLength(CONNECT_LIMITS.maxDiffLines + 1);
    expect(lines.at(-1)).toBe(`… and ${4 * CONNECT_LIMITS.maxDiffLines} lines more`);
  });

  test('is told for every change of a schema, and never in more than one line each', () => {
    const anySchema = anyJson.map((value) => ({ type: 'object', value }));
    fc.assert(
      fc.property(anySchema, anySchema, (before, now) => {
        const changes = between(
          [offered('sum', { inputSchema: before })],
          [offered('sum', { inputSchema: now })],
        );
        const same = canonicalText(before) === canonicalText(now);
        expect(changes.length).toBe(same ? 0 : 1);
        if (!same) expect(changes[0]?.members.length).toBeGreaterThan(0);
        for (const line of diffLines(changes)) expect(line).not.toMatch(/(?! )[\p{C}\p{Z}]/u);
      }),
    );
  });
});
