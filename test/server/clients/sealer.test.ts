import { createSecretKey } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SetupError } from '../../../src/errors/index.ts';
import { createSealer, isSealed, type Slot } from '../../../src/server/clients/sealer.ts';

const sealerOf = (master: string) => createSealer(createSecretKey(Buffer.from(master)));
const SEALER = sealerOf('the master key of these tests ...');

const anyText = fc.string({ unit: 'grapheme' });
const anyId = fc.stringMatching(/^[A-Za-z0-9._:-]{1,20}$/);
const anySlot = fc.constantFrom<Slot>('request', 'response');

describe('a sealed text', () => {
  test('opens in its place, whatever it is, and shows nothing of itself', () => {
    fc.assert(
      fc.property(anyText, anyId, anySlot, (text, id, slot) => {
        const sealed = SEALER.seal(id, slot, text);
        expect(sealed).toMatch(/^sealed\.1\.[A-Za-z0-9_-]+$/);
        expect(isSealed(sealed)).toBe(true);
        expect(SEALER.open(id, slot, sealed)).toBe(text);
        if (text.length > 3) expect(Buffer.from(sealed.slice(9), 'base64url').includes(text)).toBe(false);
      }),
    );
  });

  test('is another one each time', () => {
    const sealed = new Set(Array.from({ length: 1_000 }, () => SEALER.seal('a', 'request', 'text')));
    expect(sealed.size).toBe(1_000);
  });

  test('opens for no other client and in no other slot', () => {
    fc.assert(
      fc.property(anyText, anyId, anyId, anySlot, anySlot, (text, id, otherId, slot, otherSlot) => {
        fc.pre(id !== otherId || slot !== otherSlot);
        const sealed = SEALER.seal(id, slot, text);
        expect(() => SEALER.open(otherId, otherSlot, sealed)).toThrow(SetupError);
      }),
    );
  });

  test('opens under no other master key', () => {
    const sealed = SEALER.seal('a', 'request', 'the text');
    expect(() => sealerOf('another master key ..............').open('a', 'request', sealed)).toThrow(
      SetupError,
    );
  });

  test('with any bit flipped does not open, and the refusal shows nothing of it', () => {
    const bytes = Buffer.from(SEALER.seal('a', 'request', 'the secret').slice(9), 'base64url');
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const changed = Buffer.from(bytes);
      changed.writeUInt8(changed.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      const sealed = `sealed.1.${changed.toString('base64url')}`;
      expect(() => SEALER.open('a', 'request', sealed)).toThrow(
        new SetupError('the request key of client a does not open: its record was changed'),
      );
    }
  });

  test('that was cut anywhere, or is nothing, does not open', () => {
    const sealed = SEALER.seal('a', 'request', 'the secret');
    for (let length = 'sealed.1.'.length; length < sealed.length - 1; length++)
      expect(() => SEALER.open('a', 'request', sealed.slice(0, length))).toThrow(SetupError);
  });
});

test('a text that was never sealed is given back', () => {
  fc.assert(
    fc.property(anyText, (text) => {
      fc.pre(!isSealed(text));
      expect(SEALER.open('a', 'request', text)).toBe(text);
    }),
  );
});

test('the mark names the master key and is no part of it', () => {
  expect(SEALER.mark).toMatch(/^[0-9a-f]{32}$/);
  expect(sealerOf('the master key of these tests ...').mark).toBe(SEALER.mark);
  expect(sealerOf('another master key ..............').mark).not.toBe(SEALER.mark);
});
