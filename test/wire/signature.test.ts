import { createHmac, createSecretKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fingerprint, holds, keyOf, sign } from '../../src/wire/signature.ts';
import { haveVectors, VECTORS } from './samples.ts';

const SECRET = 'wb_a-secret-of-the-tests-with-32-bytes-or-more';
const KEY = keyOf(SECRET);
const TEXT = '{"args":{},"v":"mcp/0.1"}';
const SIGNATURE = createHmac('sha256', SECRET).update(TEXT).digest('hex');

interface Wycheproof {
  readonly testGroups: readonly {
    readonly tagSize: number;
    readonly tests: readonly {
      readonly tcId: number;
      readonly key: string;
      readonly msg: string;
      readonly tag: string;
      readonly result: string;
    }[];
  }[];
}

describe.skipIf(!haveVectors)('Wycheproof HMAC-SHA256 (../shared/vectors/wycheproof)', () => {
  // The file is published in this shape; a wrong one fails the count below.
  const file = haveVectors
    ? (JSON.parse(readFileSync(new URL('wycheproof/hmac_sha256_test.json', VECTORS), 'utf8')) as Wycheproof)
    : { testGroups: [] };
  const cases = file.testGroups.filter(({ tagSize }) => tagSize === 256).flatMap(({ tests }) => tests);

  test('has valid and invalid tags of 256 bits', () => {
    expect(new Set(cases.map(({ result }) => result))).toEqual(new Set(['valid', 'invalid']));
  });

  test.each(cases)('case $tcId is $result', ({ key, msg, tag, result }) => {
    // Vectors have raw keys and messages; ours are text, so only messages that are text can be signed as such.
    const secret = createSecretKey(Buffer.from(key, 'hex'));
    const bytes = Buffer.from(msg, 'hex');
    const mac = createHmac('sha256', secret).update(bytes).digest('hex');
    expect(mac === tag).toBe(result === 'valid');
    const text = bytes.toString('utf8');
    if (Buffer.from(text, 'utf8').equals(bytes)) {
      expect(sign(text, secret)).toBe(mac);
      expect(holds(text, tag, secret)).toBe(result === 'valid');
    }
  });

  test('enough of its messages are text', () => {
    const texts = cases.filter(
      ({ msg }) => Buffer.from(Buffer.from(msg, 'hex').toString('utf8')).toString('hex') === msg,
    );
    expect(texts.length).toBeGreaterThan(5);
  });
});

describe('a signature', () => {
  test('is HMAC-SHA256 over UTF-8 under the UTF-8 bytes of the secret as printed, in lower-case hex', () => {
    // Computed with Python: hmac.new("schlüssel-🔑".encode(), "Zoë €\U0001f602".encode(), "sha256").hexdigest()
    expect(sign('Zoë €\u{1f602}', keyOf('schlüssel-🔑'))).toBe(
      '3e473dde6c1c91dc8a860f02dbf1cc91586cd75163414dccc12da53dcc80792a',
    );
    expect(sign(TEXT, KEY)).toBe(SIGNATURE);
    expect(SIGNATURE).toMatch(/^[0-9a-f]{64}$/);
  });

  test('of any text under any secret is the one of node:crypto on the bytes', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary' }),
        fc.string({ unit: 'binary', minLength: 1 }),
        (text, secret) => {
          const mac = createHmac('sha256', Buffer.from(secret, 'utf8'))
            .update(Buffer.from(text, 'utf8'))
            .digest('hex');
          expect(sign(text, keyOf(secret))).toBe(mac);
          expect(holds(text, mac, keyOf(secret))).toBe(true);
        },
      ),
    );
  });

  test('holds under its key and under no other', () => {
    expect(holds(TEXT, SIGNATURE, KEY)).toBe(true);
    expect(holds(TEXT, SIGNATURE, keyOf('another secret of the tests'))).toBe(false);
  });

  test('with any bit of its digits flipped does not hold', () => {
    for (let bit = 0; bit < 256; bit++) {
      const bytes = Buffer.from(SIGNATURE, 'hex');
      bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(holds(TEXT, bytes.toString('hex'), KEY)).toBe(false);
    }
  });

  test('does not hold for a text with any bit flipped', () => {
    for (let i = 0; i < TEXT.length; i++) {
      for (let bit = 0; bit < 7; bit++) {
        const flipped = `${TEXT.slice(0, i)}${String.fromCharCode(TEXT.charCodeAt(i) ^ (1 << bit))}${TEXT.slice(i + 1)}`;
        expect(holds(flipped, SIGNATURE, KEY)).toBe(false);
      }
    }
  });

  test('is spelled in one way only', () => {
    expect(holds(TEXT, SIGNATURE.toUpperCase(), KEY)).toBe(false);
  });

  test('that is empty, cut or too long never holds, not even after one that did', () => {
    for (const signature of [
      '',
      SIGNATURE.slice(0, 63),
      SIGNATURE.slice(0, 2),
      `${SIGNATURE}0`,
      `${SIGNATURE}${SIGNATURE}`,
    ]) {
      expect(holds(TEXT, SIGNATURE, KEY)).toBe(true);
      expect(holds(TEXT, signature, KEY)).toBe(false);
    }
  });
});

test('the fingerprint is the first 32 hex digits of a MAC under the response key', () => {
  expect(fingerprint(KEY)).toBe(
    createHmac('sha256', SECRET).update('mcp fingerprint').digest('hex').slice(0, 32),
  );
  expect(fingerprint(KEY)).not.toBe(fingerprint(keyOf('another secret of the tests')));
});
