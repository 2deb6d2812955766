import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import oracle from 'canonicalize';
import { describe, expect, test } from 'vitest';
import { MESSAGE_LIMITS } from '../../src/limits.ts';
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
  const decode = ({ message }: Signed, text: string) =>
    (message === 'request' ? decodeRequest : decodeResponse)(utf8(text), MESSAGE_LIMITS);

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
