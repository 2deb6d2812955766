import { createHmac, createSecretKey, sign } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { auditKeyOf, auditKeys } from '../../src/audit/keys.ts';
import { holds } from '../../src/wire/ed25519.ts';
import { keyText } from '../../src/wire/secret.ts';

const BYTES = Buffer.alloc(32, 3);
const MASTER = createSecretKey(BYTES);

describe('the audit key', () => {
  test('is the same for all who have the master key, and another for another', () => {
    const { publicText } = auditKeys(MASTER);
    expect(publicText).toMatch(/^wbp_[A-Za-z0-9_-]{43}[0-9a-f]{8}$/);
    expect(auditKeys(createSecretKey(BYTES)).publicText).toBe(publicText);
    expect(auditKeys(createSecretKey(Buffer.alloc(32, 4))).publicText).not.toBe(publicText);
  });

  test('has HMAC-SHA256(master key, "waybill audit key") as its seed', () => {
    const seed = createHmac('sha256', BYTES).update('waybill audit key').digest();
    const { privateKey } = auditKeys(MASTER);
    expect(privateKey.export({ format: 'jwk' })).toMatchObject({
      crv: 'Ed25519',
      d: seed.toString('base64url'),
    });
  });

  test('verifies by its text what the private half has signed', () => {
    const { privateKey, publicText } = auditKeys(MASTER);
    const signature = `ed25519:${sign(null, Buffer.from('text'), privateKey).toString('base64url')}`;
    const key = auditKeyOf(publicText);
    expect(key !== null && holds('text', signature, key)).toBe(true);
  });

  test.each([
    ['a mistyped text', auditKeys(MASTER).publicText.replace(/.$/, 'x')],
    ['another kind of text', 'hello'],
    ['no text', 7],
    // The neutral element: one signature would fit everything.
    ['a point of small order', keyText('public', Uint8Array.of(1, ...new Uint8Array(31)))],
  ])('is not %s', (_what, text) => {
    expect(auditKeyOf(text)).toBeNull();
  });
});
