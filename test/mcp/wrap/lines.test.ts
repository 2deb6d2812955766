import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createLineReader } from '../../../src/mcp/wrap/lines.ts';

const MAX_BYTES = 8;

test('bytes become the same lines however they are cut into chunks, and no line is longer than it may be', () => {
  const byte = fc.oneof(fc.constantFrom(10, 10, 13, 97, 0xc3, 0xa9), fc.integer({ min: 0, max: 255 }));
  const cuts = fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1 });
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 200 }).chain((bytes) => fc.tuple(fc.constant(bytes), fc.array(byte))),
      cuts,
      ([first, rest], sizes) => {
        const bytes = Buffer.from([...first, ...rest]);
        const lines: [string, boolean][] = [];
        const reader = createLineReader(MAX_BYTES, (line, cut) => lines.push([line, cut]));
        for (let at = 0, i = 0; at < bytes.length; i++) {
          const size = sizes[i % sizes.length] ?? 1;
          reader.push(bytes.subarray(at, at + size));
          at += size;
        }
        expect(lines).toEqual(expected(bytes));
      },
    ),
  );
});

/** A whole line, or the beginning of one that is too long: that is told before its end has come. */
function expected(bytes: Buffer): [string, boolean][] {
  const parts: Buffer[] = [];
  for (let start = 0; ; ) {
    const end = bytes.indexOf(10, start);
    parts.push(bytes.subarray(start, end === -1 ? undefined : end));
    if (end === -1) break;
    start = end + 1;
  }
  return parts.flatMap((part, i): [string, boolean][] => {
    if (part.length > MAX_BYTES) return [[text(part.subarray(0, MAX_BYTES)), true]];
    return i === parts.length - 1 ? [] : [[text(part), false]];
  });
}

function text(bytes: Buffer): string {
  return bytes.toString('utf8').replace(/\r$/, '');
}
