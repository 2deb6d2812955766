import { createHash, generateKeyPairSync } from 'node:crypto';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  generateKeyPair,
  privateKeyOf,
  publicKeyOf,
  publicTextOf,
  readPublicKey,
  weaknessOfPublicKey,
} from '../../src/wire/ed25519.ts';
import { generateSecret, keyBytes, keyText } from '../../src/wire/secret.ts';
import { thrownBy } from './samples.ts';

const NO_POINT = 'is no point of Ed25519 that can be a public key';
const anySeed = fc.uint8Array({ minLength: 32, maxLength: 32 });
const publicText = (hex: string) => keyText('public', Buffer.from(hex, 'hex'));

describe('a key pair', () => {
  test('is wbs_ and wbp_, each with 32 bytes in base64url and a CRC-32, new each time', () => {
    const pairs = Array.from({ length: 50 }, () => generateKeyPair());
    for (const { privateKey, publicKey } of pairs) {
      for (const text of [privateKey, publicKey]) {
        const [, body = '', checksum] = /^wb[sp]_([A-Za-z0-9_-]{43})([0-9a-f]{8})$/.exec(text) ?? [];
        expect(Buffer.from(body, 'base64url')).toHaveLength(32);
        expect(checksum).toBe(crc32(body).toString(16).padStart(8, '0'));
      }
      expect(privateKey.slice(0, 4) + publicKey.slice(0, 4)).toBe('wbs_wbp_');
    }
    expect(new Set(pairs.flatMap(Object.values)).size).toBe(100);
  });

  test('follows from its seed, and its public half from its private one', () => {
    fc.assert(
      fc.property(anySeed, (seed) => {
        const pair = generateKeyPair(seed);
        expect(Buffer.from(keyBytes('private', pair.privateKey))).toEqual(Buffer.from(seed));
        expect(publicTextOf(pair.privateKey)).toBe(pair.publicKey);
        expect(weaknessOfPublicKey(pair.publicKey)).toBeNull();
        expect(readPublicKey(` ${pair.publicKey}\n`)).toBe(pair.publicKey);
      }),
      { numRuns: 50 },
    );
  });

  test('with one character of a text changed is known to be mistyped', () => {
    const { privateKey, publicKey } = generateKeyPair();
    for (const [text, use] of [
      [privateKey, privateKeyOf],
      [publicKey, publicKeyOf],
    ] as const) {
      for (let i = 4; i < text.length; i++) {
        const changed = `${text.slice(0, i)}${text[i] === 'a' ? 'b' : 'a'}${text.slice(i + 1)}`;
        const error = thrownBy(() => use(changed));
        expect(error).toBeInstanceOf(TypeError);
        expect(String(error)).not.toContain(changed.slice(4, 20));
      }
    }
  });

  test('has one spelling: bits behind the last byte are refused, also with a right checksum', () => {
    const { publicKey } = generateKeyPair();
    const body = publicKey.slice(4, -8);
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    const same = Array.from(alphabet).filter((last) => {
      const changed = body.slice(0, -1) + last;
      const text = `wbp_${changed}${crc32(changed).toString(16).padStart(8, '0')}`;
      return weaknessOfPublicKey(text) !== 'has the wrong length or characters for a wbp_ key';
    });
    expect(same.join('')).toBe('AEIMQUYcgkosw048');
  });
});

describe('the public key of a partner', () => {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString();

  test('may be the PEM that openssl writes', () => {
    const text = readPublicKey(pem);
    const raw = Buffer.from(publicKey.export({ format: 'jwk' }).x ?? '', 'base64url');
    expect(text).toBe(keyText('public', raw));
    expect(readPublicKey(pem.replaceAll('\n', '\r\n'))).toBe(text);
    expect(publicKeyOf(text).equals(publicKey)).toBe(true);
  });

  const pair = generateKeyPair();
  const pkcs8 = { type: 'pkcs8', format: 'pem' } as const;
  const spki = { type: 'spki', format: 'pem' } as const;
  test.each([
    ['a private key in PEM', privateKey.export(pkcs8).toString(), 'the key is a private key: it stays with'],
    [
      'a private key',
      pair.privateKey,
      'the key is a private key (wbs_), where a public key (wbp_) must stand',
    ],
    ['a shared secret', generateSecret(), 'the key is a shared secret (wb_), where a public key'],
    [
      'another kind of key',
      generateKeyPairSync('x25519').publicKey.export(spki).toString(),
      'the key is of x25519, not of ed25519',
    ],
    ['a cut PEM', pem.replace(/[A-Za-z0-9+/]{8}=?=?\n/, '\n'), 'the key is a PEM that cannot be read'],
    ['another PEM', pem.replaceAll('PUBLIC KEY', 'CERTIFICATE'), 'the key is not a PEM PUBLIC KEY'],
    ['a mistyped key', pair.publicKey.replace(/.$/, 'x'), 'the key has the wrong length or characters'],
    ['nothing', '', 'the key is not a public key (wbp_)'],
    ['32 bytes that are no point', publicText(`02${'00'.repeat(31)}`), `the key ${NO_POINT}`],
    ['a point of small order in PEM', pemOf('00'.repeat(32)), `the key ${NO_POINT}`],
  ])('is refused when it is %s, and not shown', (_what, text, why) => {
    const error = thrownBy(() => readPublicKey(text));
    expect(error).toBeInstanceOf(TypeError);
    expect(String(error)).toContain(why);
    if (text !== '') expect(String(error)).not.toContain(text.slice(8, 40));
  });

  // Encodings of y, little end first; the first bit of the last byte is the sign of x.
  const SMALL = {
    'order 1': `01${'00'.repeat(31)}`,
    'order 2': `ec${'ff'.repeat(30)}7f`,
    'order 4': '00'.repeat(32),
    'order 4, negative': `${'00'.repeat(31)}80`,
    'order 8': 'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
    'order 8, negative': 'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa',
    'order 8, the other': '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
    'order 8, the other, negative': '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85',
    'order 1, written as p + 1': `ee${'ff'.repeat(30)}7f`,
    'order 4, written as p': `ed${'ff'.repeat(30)}7f`,
  };

  test.each(Object.entries(SMALL))('is refused when it is a point of %s', (_order, hex) => {
    expect(weaknessOfPublicKey(publicText(hex))).toBe(NO_POINT);
  });

  test('is a point: about every second text of 32 bytes is', () => {
    const texts = Array.from({ length: 200 }, (_, i) =>
      keyText('public', createHash('sha256').update(`${i}`).digest()),
    );
    const points = texts.filter((text) => weaknessOfPublicKey(text) === null);
    expect(points.length).toBeGreaterThan(80);
    expect(points.length).toBeLessThan(120);
  });
});

function pemOf(hex: string): string {
  const der = Buffer.from(`302a300506032b6570032100${hex}`, 'hex').toString('base64');
  return `-----BEGIN PUBLIC KEY-----\n${der}\n-----END PUBLIC KEY-----\n`;
}
