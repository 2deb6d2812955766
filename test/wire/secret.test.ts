import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { generateSecret, weaknessOf } from '../../src/wire/index.ts';
import { generateToken, mistakeIn } from '../../src/wire/secret.ts';

const LENGTH = 'has the wrong length or characters for a wb_ secret';
const CHECKSUM = 'has a wrong checksum: it was mistyped or cut';
const SHORT = 'is shorter than 32 bytes';
const REPEATS = 'repeats itself too much to be random';

describe('a generated secret', () => {
  test('is wb_, 32 bytes in base64url and a CRC-32, so that scanners can find it', () => {
    for (let i = 0; i < 200; i++) {
      const secret = generateSecret();
      const [, body = '', checksum] = /^wb_([A-Za-z0-9_-]{43})([0-9a-f]{8})$/.exec(secret) ?? [];
      expect(Buffer.from(body, 'base64url')).toHaveLength(32);
      expect(Buffer.from(body, 'base64url').toString('base64url')).toBe(body);
      expect(checksum).toBe(crc32(body).toString(16).padStart(8, '0'));
      expect(weaknessOf(secret)).toBeNull();
    }
  });

  test('is new each time', () => {
    expect(new Set(Array.from({ length: 200 }, generateSecret)).size).toBe(200);
  });

  test('with one character changed is known to be mistyped', () => {
    const secret = generateSecret();
    for (let i = 3; i < secret.length; i++) {
      const changed = `${secret.slice(0, i)}${secret[i] === 'a' ? 'b' : 'a'}${secret.slice(i + 1)}`;
      expect(weaknessOf(changed)).toBe(CHECKSUM);
    }
  });

  test('with two neighbours swapped is known to be mistyped', () => {
    const secret = generateSecret();
    let swapped = 0;
    for (let i = 3; i < 45; i++) {
      const [a, b] = [secret[i], secret[i + 1]];
      if (a === b) continue;
      swapped++;
      expect(weaknessOf(`${secret.slice(0, i)}${b}${a}${secret.slice(i + 2)}`)).toBe(CHECKSUM);
    }
    expect(swapped).toBeGreaterThan(0);
  });

  test('that is cut, extended or holds other characters is refused', () => {
    const secret = generateSecret();
    for (const wrong of [
      'wb_',
      secret.slice(0, -1),
      `${secret}0`,
      `${secret}\n`,
      `${secret} `,
      secret.replace(/.$/, 'G'),
    ]) {
      expect(weaknessOf(wrong)).toBe(LENGTH);
    }
  });
});

describe('a secret brought by an operator', () => {
  test.each([
    ['', SHORT],
    ['password', SHORT],
    ['x7Gq-2hTbV9rKe4LpZs8WmYc6NdUaF1', SHORT],
    ['a'.repeat(64), REPEATS],
    ['ab'.repeat(32), REPEATS],
    ['0123456789'.repeat(3) + '01', REPEATS],
    ['password'.repeat(5), REPEATS],
    ['6f1ed002ab5595859014ebf0951522d9', REPEATS],
  ])('%s: %s', (secret, reason) => {
    expect(weaknessOf(secret)).toBe(reason);
  });

  test.each([
    'x7Gq-2hTbV9rKe4LpZs8WmYc6NdUaF1j',
    '6f1ed002ab5595859014ebf0951522d96f4e1b2c7a90d3385c1be8f7a2d40917',
    'correct horse battery staple, and some more of it',
    'Zwölf Boxkämpfer jagen Viktor quer über',
    'WB_x7Gq-2hTbV9rKe4LpZs8WmYc6NdUaF1j',
  ])('%s is taken', (secret) => {
    expect(weaknessOf(secret)).toBeNull();
  });

  test('length is counted in bytes', () => {
    const secret = 'abcdefghijklmnopqrstäöüßéèàâ';
    expect(secret).toHaveLength(28);
    expect(weaknessOf(secret)).toBeNull();
  });

  test('the reason never holds the secret', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ minLength: 6 }),
          fc.string({ minLength: 6 }).map((text) => `wb_${text}`),
        ),
        (secret) => {
          expect(weaknessOf(secret) ?? '').not.toContain(secret);
        },
      ),
    );
  });
});

describe('a bearer token', () => {
  test('is wbt_, 32 bytes in base64url and a CRC-32, new each time', () => {
    const tokens = Array.from({ length: 200 }, generateToken);
    for (const token of tokens) {
      const [, body = '', checksum] = /^wbt_([A-Za-z0-9_-]{43})([0-9a-f]{8})$/.exec(token) ?? [];
      expect(Buffer.from(body, 'base64url')).toHaveLength(32);
      expect(checksum).toBe(crc32(body).toString(16).padStart(8, '0'));
      expect(mistakeIn(token, 'token')).toBeNull();
    }
    expect(new Set(tokens).size).toBe(tokens.length);
  });

  test('with one character changed, cut or extended is none', () => {
    const token = generateToken();
    for (let i = 0; i < token.length; i++) {
      expect(
        mistakeIn(`${token.slice(0, i)}${token[i] === 'a' ? 'b' : 'a'}${token.slice(i + 1)}`, 'token'),
      ).not.toBeNull();
      expect(mistakeIn(token.slice(0, i), 'token')).not.toBeNull();
    }
    for (const wrong of [`${token}0`, `${token}\n`, ` ${token}`, token.toUpperCase()])
      expect(mistakeIn(wrong, 'token')).not.toBeNull();
  });

  test('is not a secret, nor a secret a token', () => {
    const [secret, token] = [generateSecret(), generateToken()];
    expect(mistakeIn(secret, 'token')).not.toBeNull();
    expect(mistakeIn(secret.replace(/^wb_/, 'wbt_'), 'token')).toBeNull();
    expect(weaknessOf(token.replace(/^wbt_/, 'wb_'))).toBeNull();
  });

  test('is no other text, whatever it holds', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(mistakeIn(text, 'token')).not.toBeNull();
        expect(mistakeIn(`wbt_${text}`, 'token')).not.toBeNull();
      }),
    );
  });
});
