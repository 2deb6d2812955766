import { createHmac, createPrivateKey, createPublicKey, sign as signBytes, verify } from 'node:crypto';
import { readFileSync } from 'node:fs';
import oracle from 'canonicalize';
import { describe, expect, test } from 'vitest';
import { MESSAGE_LIMITS } from '../../src/limits.ts';
import { ALGORITHMS } from '../../src/wire/algorithms.ts';
import { privateKeyOf, sign as signEd25519 } from '../../src/wire/ed25519.ts';
import { canonicalize, decodeRequest, decodeResponse, withSignature } from '../../src/wire/index.ts';
import { fingerprint, holds, keyOf, sign } from '../../src/wire/signature.ts';

interface Part {
  readonly text?: string;
  readonly hex?: string;
  readonly times?: number;
}

/** The vectors are ours; a file of another shape fails the tests below. */
function read<T>(file: string): T {
  return JSON.parse(readFileSync(new URL(`../../conformance/${file}`, import.meta.url), 'utf8')) as T;
}

function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function bytesOf(parts: readonly Part[]): Uint8Array {
  return Buffer.concat(
    parts.map(({ text = '', hex, times = 1 }) =>
      hex === undefined ? Buffer.from(text.repeat(times)) : Buffer.from(hex.repeat(times), 'hex'),
    ),
  );
}

function assertNamesAreUnique(cases: readonly { readonly name: string }[]): void {
  expect(new Set(cases.map(({ name }) => name)).size).toBe(cases.length);
}

describe('canonical.json', () => {
  const { cases } = read<{ cases: readonly { name: string; input: string; canonical: string }[] }>(
    'canonical.json',
  );

  test('names each case once', () => {
    assertNamesAreUnique(cases);
  });

  test.each(cases)('$name: an independent implementation agrees with the vector', ({ input, canonical }) => {
    expect(oracle(JSON.parse(input))).toBe(canonical);
  });

  test.each(cases)('$name', ({ input, canonical }) => {
    expect(canonicalize(JSON.parse(input))).toBe(canonical);
    expect(canonicalize(JSON.parse(canonical))).toBe(canonical);
  });
});

interface Signed {
  readonly name: string;
  readonly message: 'request' | 'response';
  readonly secret: string;
  readonly wire: string;
}

const decode = ({ message }: Pick<Signed, 'message'>, text: string) =>
  (message === 'request' ? decodeRequest : decodeResponse)(utf8(text), MESSAGE_LIMITS);

interface Signatures {
  readonly cases: readonly (Signed & {
    readonly signed_text: string;
    readonly signature: string;
    readonly also_valid?: readonly string[];
  })[];
  readonly must_not_verify: readonly Signed[];
  readonly fingerprints: readonly { readonly response_key: string; readonly fingerprint: string }[];
}

describe('signatures.json', () => {
  const vectors = read<Signatures>('signatures.json');
  const hmac = (secret: string, text: string): string =>
    createHmac('sha256', Buffer.from(secret, 'utf8')).update(text, 'utf8').digest('hex');

  test('names each case once', () => {
    assertNamesAreUnique([...vectors.cases, ...vectors.must_not_verify]);
  });

  test.each(vectors.cases)('$name: independent implementations agree with the vector', (vector) => {
    const { signature, ...unsigned } = JSON.parse(vector.wire);
    expect(oracle(unsigned)).toBe(vector.signed_text);
    expect(hmac(vector.secret, vector.signed_text)).toBe(vector.signature);
    expect(signature).toBe(vector.signature);
  });

  test.each(vectors.cases)('$name: is signed and written so', (vector) => {
    expect(sign(vector.signed_text, keyOf(vector.secret))).toBe(vector.signature);
    expect(withSignature(vector.signed_text, vector.signature)).toBe(vector.wire);
  });

  test.each(vectors.cases)('$name: verifies in every spelling', (vector) => {
    for (const text of [vector.wire, ...(vector.also_valid ?? [])]) {
      const { signedText, message } = decode(vector, text);
      expect(signedText).toBe(vector.signed_text);
      expect(holds(signedText, message.signature, keyOf(vector.secret))).toBe(true);
    }
  });

  test.each(vectors.must_not_verify)('$name: does not verify', (vector) => {
    const { signature, ...unsigned } = JSON.parse(vector.wire);
    expect(hmac(vector.secret, oracle(unsigned) ?? '')).not.toBe(signature);
    const { signedText, message } = decode(vector, vector.wire);
    expect(holds(signedText, message.signature, keyOf(vector.secret))).toBe(false);
  });

  test.each(vectors.fingerprints)('fingerprint $fingerprint', ({ response_key, fingerprint: hex }) => {
    expect(hmac(response_key, 'mcp fingerprint').slice(0, 32)).toBe(hex);
    expect(fingerprint(keyOf(response_key))).toBe(hex);
  });
});

interface Ed25519 {
  readonly cases: readonly (Omit<Signed, 'secret'> & {
    readonly private_key: string;
    readonly public_key: string;
    readonly signed_text: string;
    readonly signature: string;
    readonly also_valid?: readonly string[];
  })[];
  readonly must_not_verify: readonly (Omit<Signed, 'secret'> & { readonly public_key: string })[];
  readonly no_public_keys: readonly { readonly name: string; readonly public_key: string }[];
}

describe('ed25519.json', () => {
  const vectors = read<Ed25519>('ed25519.json');
  const { holds: holdsFor, verifyingKey, weaknessOf } = ALGORITHMS.ed25519;
  /** The pairs of RFC 8032 §7.1, tests 1 and 2, by their public halves. */
  const RFC_8032: Readonly<Record<string, string>> = {
    d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a:
      '9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60',
    '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c':
      '4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb',
  };
  /** Not by our own code: what stands between the prefix and the checksum. */
  const bytesIn = (key: string) => Buffer.from(key.slice(4, -8), 'base64url');
  const jwk = (publicKey: string) => ({ kty: 'OKP', crv: 'Ed25519', x: publicKey.slice(4, -8) });

  test('names each case once', () => {
    assertNamesAreUnique([...vectors.cases, ...vectors.must_not_verify, ...vectors.no_public_keys]);
  });

  test.each(vectors.cases)('$name: independent implementations agree with the vector', (vector) => {
    const { private_key, public_key, signed_text, wire } = vector;
    expect(RFC_8032[bytesIn(public_key).toString('hex')]).toBe(bytesIn(private_key).toString('hex'));
    const { signature, ...unsigned } = JSON.parse(wire);
    expect(oracle(unsigned)).toBe(signed_text);
    const key = createPrivateKey({ key: { ...jwk(public_key), d: private_key.slice(4, -8) }, format: 'jwk' });
    const bytes = signBytes(null, Buffer.from(signed_text), key);
    expect(signature).toBe(`ed25519:${bytes.toString('base64url')}`);
    expect(vector.signature).toBe(signature);
    expect(
      verify(null, Buffer.from(signed_text), createPublicKey({ key: jwk(public_key), format: 'jwk' }), bytes),
    ).toBe(true);
  });

  test.each(vectors.cases)('$name: is signed and written so, and verifies in every spelling', (vector) => {
    expect(signEd25519(vector.signed_text, privateKeyOf(vector.private_key))).toBe(vector.signature);
    expect(withSignature(vector.signed_text, vector.signature)).toBe(vector.wire);
    for (const text of [vector.wire, ...(vector.also_valid ?? [])]) {
      const { signedText, message } = decode(vector, text);
      expect(signedText).toBe(vector.signed_text);
      expect(holdsFor(signedText, message.signature, verifyingKey(vector.public_key))).toBe(true);
    }
  });

  test.each(vectors.must_not_verify)('$name: does not verify', (vector) => {
    const { signature, ...unsigned } = JSON.parse(vector.wire);
    const key = verifyingKey(vector.public_key);
    expect(holdsFor(oracle(unsigned) ?? '', signature, key)).toBe(false);
  });

  test.each(vectors.no_public_keys)('$name: is not taken as a public key', ({ public_key }) => {
    expect(weaknessOf(public_key, 'request')).not.toBeNull();
  });
});

describe('refused.json', () => {
  const { cases } = read<{ cases: readonly { name: string; code: string; body: readonly Part[] }[] }>(
    'refused.json',
  );
  const codeOfDecoding = (bytes: Uint8Array): string => {
    try {
      decodeRequest(bytes, MESSAGE_LIMITS);
      // A well-formed message of a client that nobody has.
      return 'bad_signature';
    } catch (error) {
      expect(error).toMatchObject({ name: 'ProtocolError' });
      return String(Object(error).code);
    }
  };

  test('names each case once, and every code of refusals before the MAC that bytes can bring about', () => {
    assertNamesAreUnique(cases);
    expect(new Set(cases.map(({ code }) => code))).toEqual(
      new Set(['bad_envelope', 'too_large', 'bad_signature']),
    );
  });

  test.each(cases)('$name: $code', ({ code, body }) => {
    expect(codeOfDecoding(bytesOf(body))).toBe(code);
  });
});
