import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CODES } from '../../src/errors/index.ts';
import { MESSAGE_LIMITS } from '../../src/limits.ts';
import { canonicalize, decodeRequest, decodeResponse } from '../../src/wire/index.ts';
import { anyFiniteNumber, anyJson, anyText } from '../wire/arbitraries.ts';
import { hasPython, type Python, startPython } from './python.ts';

const JCS_VECTORS = fileURLToPath(new URL('../../../shared/vectors/jcs', import.meta.url));

interface Part {
  readonly text?: string;
  readonly hex?: string;
  readonly times?: number;
}

interface Signed {
  readonly name: string;
  readonly secret: string;
  readonly wire: string;
}

/** The vectors are ours; a file of another shape fails the tests below. */
function read<T>(file: string): T {
  return JSON.parse(readFileSync(new URL(`../../conformance/${file}`, import.meta.url), 'utf8')) as T;
}

function bytesOf(parts: readonly Part[]): Buffer {
  return Buffer.concat(
    parts.map(({ text = '', hex, times = 1 }) =>
      hex === undefined ? Buffer.from(text.repeat(times)) : Buffer.from(hex.repeat(times), 'hex'),
    ),
  );
}

/** The text of what was decoded, or why it was refused. */
function attempt(decode: () => { readonly signedText: string }): {
  readonly text?: string;
  readonly why?: string;
} {
  try {
    return { text: decode().signedText };
  } catch (error) {
    return { why: error instanceof Error ? error.message : String(error) };
  }
}

describe.skipIf(!hasPython)('JSON and signatures of the client in Python', () => {
  let python: Python;
  const valueOf = async (op: string, args: Readonly<Record<string, unknown>>): Promise<unknown> => {
    const { value, error } = await python.run(op, args);
    if (error !== undefined) throw new Error(`${op}: ${error.text}`);
    return value;
  };
  const canonicalOf = (value: unknown) => valueOf('canonical', { text: JSON.stringify(value) });

  beforeAll(() => {
    python = startPython();
  });
  afterAll(async () => {
    expect(await python.end()).toBe('');
  });

  describe('canonical.json', () => {
    const { cases } = read<{ cases: readonly { name: string; input: string; canonical: string }[] }>(
      'canonical.json',
    );
    test.each(cases)('$name', async ({ input, canonical }) => {
      expect(await valueOf('canonical', { text: input })).toBe(canonical);
      expect(await valueOf('canonical', { text: canonical })).toBe(canonical);
    });
  });

  describe('signatures.json', () => {
    const vectors = read<{
      cases: readonly (Signed & { signed_text: string; also_valid?: readonly string[] })[];
      must_not_verify: readonly Signed[];
    }>('signatures.json');

    test.each(vectors.cases)('$name: is signed and written so', async ({ signed_text, secret, wire }) => {
      expect(await valueOf('sign', { text: signed_text, secret })).toBe(wire);
    });

    test.each(vectors.cases)(
      '$name: verifies in every spelling',
      async ({ wire, also_valid = [], secret }) => {
        for (const text of [wire, ...also_valid])
          expect(await valueOf('verify', { text, secret })).toBe(true);
      },
    );

    test.each(vectors.must_not_verify)('$name: does not verify', async ({ wire, secret }) => {
      expect(await valueOf('verify', { text: wire, secret })).toBe(false);
    });
  });

  describe('refused.json', () => {
    const { cases } = read<{ cases: readonly { name: string; code: string; body: readonly Part[] }[] }>(
      'refused.json',
    );
    // The client reads no requests: of their refusals it knows those that are about JSON.
    const ABOUT_JSON =
      /^\$: (is not|starts|nested|more than|a member name)|forbidden name|surrogate|finite|bytes$/;
    const ofJson = cases.flatMap(({ name, body }) => {
      const bytes = bytesOf(body);
      const { text, why = '' } = attempt(() => decodeRequest(bytes, MESSAGE_LIMITS));
      return text !== undefined || ABOUT_JSON.test(why) ? [{ name, bytes, text, why }] : [];
    });

    test('has many cases that are about JSON, of both kinds', () => {
      expect(ofJson.filter(({ text }) => text !== undefined).length).toBeGreaterThan(10);
      expect(ofJson.filter(({ text }) => text === undefined).length).toBeGreaterThan(60);
    });

    test.each(ofJson)('$name: $why', async ({ bytes, text }) => {
      const { value, error } = await python.run('parse', { base64_bytes: bytes.toString('base64') });
      if (text === undefined) expect(error?.type).toBe('JsonError');
      else
        expect(
          canonicalize({ ...JSON.parse(text), signature: Object(JSON.parse(String(value))).signature }),
        ).toBe(value);
    });
  });

  test.skipIf(!existsSync(JCS_VECTORS))('the test data of RFC 8785', async () => {
    const names = readdirSync(join(JCS_VECTORS, 'input'));
    expect(names.length).toBeGreaterThan(3);
    for (const name of names) {
      const text = readFileSync(join(JCS_VECTORS, 'input', name), 'utf8');
      const wanted = readFileSync(join(JCS_VECTORS, 'output', name), 'utf8').trimEnd();
      expect(await valueOf('canonical', { text })).toBe(wanted);
    }
  });

  test('Node and Python write the same canonical text for any value', async () => {
    await fc.assert(
      fc.asyncProperty(anyJson, async (value) => {
        expect(await canonicalOf(value)).toBe(canonicalize(value));
      }),
      { numRuns: 1_500 },
    );
  });

  test('Node and Python write the same canonical text for any double', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyFiniteNumber, { minLength: 20, maxLength: 40 }), async (numbers) => {
        expect(await canonicalOf(numbers)).toBe(canonicalize(numbers));
      }),
      { numRuns: 300 },
    );
  });

  test('Node and Python believe the same bytes to be a reply, and sign the same text', async () => {
    const mostly = <T>(good: fc.Arbitrary<T>, ...bad: T[]) =>
      fc.oneof({ arbitrary: good, weight: 12 }, { arbitrary: fc.constantFrom(...bad), weight: 1 });
    const ending = fc.constantFrom(
      { ok: true, status: 'ok', error: null },
      { ok: true, status: 'error', error: 'job_failed: Zoë' },
      { ok: false, status: 'error', error: '' },
      { ok: false, status: 'ok', error: null },
      { ok: true, status: 'done', error: 'busy: later' },
      { ok: true, status: 'never', error: null },
    );
    const members = fc.record({
      v: mostly(fc.constant('mcp/0.1'), 'mcp/0.2'),
      request_id: mostly(fc.constant('id'), '', 'a b', 'id\n'),
      ts_ms: mostly(fc.constantFrom(0, 1_795_219_200_000), 1.5, -1, 1e300),
      server_id: mostly(fc.constant('acme'), '', 'a b', 'acme\n'),
      result: fc.oneof(fc.constant(null), anyJson, fc.dictionary(anyText, anyJson)),
      signature: mostly(fc.constantFrom('', '0'.repeat(64)), 'F'.repeat(64), `${'0'.repeat(64)}\n`),
    });
    const reply = fc.tuple(members, ending).map(([most, end]) => Object.assign(most, end));
    // Pieces of JSON, good and bad, put where they may or may not belong.
    const piece = fc.constantFrom(
      ...[
        '"',
        '\\',
        '\\ud800',
        '\\u0000',
        '{',
        ']',
        ',',
        ':',
        '1e400',
        '-0',
        '01',
        'NaN',
        '-Infinity',
        ' ',
        '\n',
        '\ufeff',
      ],
      ...[
        '"__proto__":1,',
        '"ok":true,',
        '9007199254740993',
        '1.0',
        '\u00a0',
        '\u0001',
        'é',
        '1E5',
        '/**/',
        '\\/',
      ],
    );
    const bytes = fc
      .tuple(reply, fc.option(fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), piece), { freq: 1 }))
      .map(([value, change]) => {
        const text = JSON.stringify(value);
        if (change === null) return text;
        const at = Math.floor(change[0] * text.length);
        return text.slice(0, at) + change[1] + text.slice(at);
      });
    let believed = 0;
    await fc.assert(
      fc.asyncProperty(bytes, async (text) => {
        const wanted = attempt(() => decodeResponse(Buffer.from(text), MESSAGE_LIMITS)).text;
        const base64_bytes = Buffer.from(text).toString('base64');
        const { value, error } = await python.run('read_reply', { base64_bytes });
        expect(value ?? error?.type).toBe(wanted ?? 'JsonError');
        if (wanted !== undefined) believed++;
      }),
      { numRuns: 1_500, examples: [['{"v":"mcp/0.1"}']] },
    );
    expect(believed).toBeGreaterThan(50);
  });

  test.each([
    'float("nan")',
    'float("-inf")',
    '{"a": "\\ud800"}',
    '{"\\udfff": 1}',
    '{1: 2}',
    '{"__proto__": 1}',
    '2**53 + 1',
    '-(2**2000)',
    'b"bytes"',
    '{1, 2}',
    '(lambda loop: (loop.append(loop), loop)[1])([])',
  ])('%s has no canonical form', async (text) => {
    expect((await python.run('evaluate', { text })).error?.type).toBe('JsonError');
  });

  test('tuples are arrays, and an integer that a double holds is that double', async () => {
    const text = '[(1, True), 2**60, -(2**53), 10**21, 1e-05, 1.0, -0.0, "\\x7f\\u2028"]';
    const same = [[1, true], 2 ** 60, -(2 ** 53), 1e21, 1e-5, 1, -0, '\u007f\u2028'];
    expect(await valueOf('evaluate', { text })).toBe(canonicalize(same));
  });

  test('is written in the Python of version 3.9', async () => {
    expect(await valueOf('parses_as', { version: [3, 9] })).toBe(true);
  });

  test('knows the codes of the table, and which a retry can help', async () => {
    const wanted = Object.entries(CODES).map(([code, { retryable }]) => [code, retryable]);
    expect(await valueOf('codes', {})).toEqual(Object.fromEntries(wanted));
  });
});
