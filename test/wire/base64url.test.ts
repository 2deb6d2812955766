import fc from 'fast-check';
import { expect, test } from 'vitest';
import { fromBase64url, toBase64url } from '../../src/wire/base64url.ts';

test('bytes are written as Node writes them, and read back', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      const text = Buffer.from(bytes).toString('base64url');
      expect(toBase64url(bytes)).toBe(text);
      expect(fromBase64url(text)).toEqual(bytes);
    }),
  );
});

test('a text that is read is the one that is written', () => {
  const char = fc.constantFrom(...Array.from('AQgwBfz09_-+/= \n'));
  fc.assert(
    fc.property(fc.string({ unit: char, maxLength: 9 }), (text) => {
      const bytes = fromBase64url(text);
      expect(bytes === null ? text : toBase64url(bytes)).toBe(text);
    }),
  );
});

test.each(['A', 'AB', 'AAB', 'AA==', ' AA', 'A A', 'A+', '//', 'é', 'AA\n'])(
  '%j is no text of bytes',
  (text) => {
    expect(fromBase64url(text)).toBeNull();
  },
);
