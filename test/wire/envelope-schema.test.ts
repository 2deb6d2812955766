import { Ajv2020 } from 'ajv/dist/2020.js';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ProtocolError } from '../../src/errors/index.ts';
import { MESSAGE_LIMITS } from '../../src/limits.ts';
import { decodeRequest, decodeResponse } from '../../src/wire/index.ts';
import { REQUEST_SCHEMA, RESPONSE_SCHEMA } from '../../src/wire/envelope-schema.ts';
import { ED25519_SIGNATURE, REQUEST, RESPONSE, utf8 } from './samples.ts';

type Members = object;
type Accepts = (message: Members) => boolean;

/** Values that pass one member's rule, or just do not. */
const text = (sizes: readonly number[], letters: string, strays: string): fc.Arbitrary<string> =>
  fc
    .tuple(
      fc.constantFrom(...sizes),
      fc.constantFrom(...letters),
      fc.option(fc.constantFrom(...strays)),
      fc.nat(),
    )
    .map(([size, letter, stray, at]) => {
      const plain = letter.repeat(size);
      const i = at % (size + 1);
      return stray === null ? plain : `${plain.slice(0, i)}${stray}${plain.slice(i + 1)}`;
    });

const STRAYS = ' \n\t\u0000\u007fé€\u{1f602}"\\_:@+~!';
const SIZES = [0, 1, 2, 7, 8, 9, 63, 64, 65, 127, 128, 129];
/** Signatures of Ed25519, or nearly: 86 characters of which the last has its four low bits clear. */
const ed25519Form = fc
  .tuple(
    fc.constantFrom('ed25519:', 'ed25519:', 'ed25519:', 'Ed25519:', 'ed25519', ''),
    fc.constantFrom(85, 85, 85, 84, 86),
    fc.constantFrom(...Array.from('AZaz09-_+/= ')),
    fc.constantFrom(...Array.from('AQgwAQgwBPRfhvx-_9=\n')),
  )
  .map(([prefix, size, letter, last]) => `${prefix}${letter.repeat(size)}${last}`);
const nearMisses: Readonly<Record<string, fc.Arbitrary<unknown>>> = {
  v: fc.constantFrom('mcp/0.1', 'mcp/0.2', 'mcp/0.1\n', 'MCP/0.1'),
  request_id: text(SIZES, '!~a', STRAYS),
  ts_ms: fc.constantFrom(0, -0, 1, -1, 0.5, 1e12, 2 ** 53 - 1, 2 ** 53, -(2 ** 53), 1e300, 5e-324, '0'),
  client_id: text(SIZES, 'aZ0', `${STRAYS}.-/`),
  server_id: text(SIZES, 'aZ0', `${STRAYS}.-/`),
  tool: text(SIZES, 'aZ0_-./', STRAYS),
  args: fc.constantFrom({}, { a: null }, { v: 1 }, { length: 0 }),
  nonce: text(SIZES, '!~a', STRAYS),
  signature: fc.oneof(text(SIZES, '09af', 'AFgG \n-x'), ed25519Form),
  ok: fc.boolean(),
  status: fc.constantFrom('ok', 'accepted', 'running', 'done', 'error', 'failed', 'OK', ''),
  result: fc.constantFrom({}, null, { a: [] }),
  error: fc.constantFrom(null, '', 'busy: later', '\n'),
};
const anything = fc.constantFrom<unknown>(null, true, false, 0, 1, '', 'x', [], {}, ['mcp/0.1'], { a: 1 });
const anyName = fc.constantFrom('extra', '', 'V', 'args2', 'toString', 'constructor', 'length', 'signature ');

/** One of the valid messages with up to three changes, each of a kind that a sender could make. */
function almost(samples: readonly Members[]): fc.Arbitrary<Members> {
  const names = Object.keys(samples[0] ?? {});
  const change = fc.oneof(
    {
      weight: 8,
      arbitrary: fc
        .constantFrom(...names)
        .chain((name) => (nearMisses[name] ?? anything).map((value) => [name, value])),
    },
    { weight: 1, arbitrary: fc.tuple(fc.constantFrom(...names), anything) },
    { weight: 1, arbitrary: fc.tuple(fc.constantFrom(...names), fc.constant(undefined)) },
    { weight: 1, arbitrary: fc.tuple(anyName, anything) },
  );
  return fc
    .tuple(fc.constantFrom(...samples), fc.array(change, { maxLength: 3 }))
    .map(([sample, changes]) => {
      // As it stands on the wire: undefined members are gone.
      const written: unknown = JSON.parse(JSON.stringify({ ...sample, ...Object.fromEntries(changes) }));
      // An object was written, so an object was read.
      return written as Members;
    });
}

function decoderOf(decode: typeof decodeRequest | typeof decodeResponse): Accepts {
  return (message) => {
    try {
      decode(utf8(JSON.stringify(message)), MESSAGE_LIMITS);
      return true;
    } catch (error) {
      if (error instanceof ProtocolError && error.code === 'bad_envelope') return false;
      throw error;
    }
  };
}

function schemaOf(schema: object): Accepts {
  const validate = new Ajv2020({ strict: true, strictTypes: false, strictRequired: false }).compile(schema);
  return (message) => validate(message);
}

/** The schema with one word of it changed: a mistake that the comparison must find. */
function broken(schema: object, from: string, to: string): object {
  const changed = JSON.stringify(schema).replace(from, () => to);
  expect(changed).not.toBe(JSON.stringify(schema));
  return JSON.parse(changed);
}

interface Kind {
  readonly name: string;
  readonly samples: readonly Members[];
  readonly accepts: Accepts;
  readonly schema: object;
  /** Replacements in the text of the schema, each of which makes it wrong. */
  readonly mistakes: readonly (readonly [from: string, to: string])[];
}

const MESSAGES: readonly Kind[] = [
  {
    name: 'request',
    samples: [REQUEST, { ...REQUEST, signature: ED25519_SIGNATURE }],
    accepts: decoderOf(decodeRequest),
    schema: REQUEST_SCHEMA,
    mistakes: [
      ['"additionalProperties":false', '"additionalProperties":true'],
      ['"nonce","signature"]', '"signature"]'],
      ['"minLength":1,', '"minLength":2,'],
      ['"minLength":8,"maxLength":128', '"minLength":7,"maxLength":128'],
      ['"minLength":8,"maxLength":128', '"minLength":8,"maxLength":129'],
      ['"minimum":0', '"minimum":-1'],
      ['"maximum":9007199254740991', '"maximum":9007199254740992'],
      ['"integer"', '"number"'],
      ['{0,127}$', '{0,128}$'],
      ['^[A-Za-z0-9][A-Za-z0-9._:@/-]', '^[A-Za-z0-9._:@/-][A-Za-z0-9._:@/-]'],
      ['[A-Za-z0-9_./-]{1,128}', '[A-Za-z0-9_./:-]{1,128}'],
      ['^[!-~]*$', '^[ -~]*$'],
      ['^([0-9a-f]{64}|', '^([0-9a-fA-F]{64}|'],
      ['^([0-9a-f]{64}|', '^(|[0-9a-f]{64}|'],
      ['[AQgw])$', '[AQgw])'],
      ['[AQgw])$', '[A-Za-z0-9_-])$'],
      ['_-]{85}', '_-]{84,85}'],
      ['_-]{85}', '_/+-]{85}'],
      ['|ed25519:', '|(ed25519:)?'],
      ['|ed25519:', '|[Ee]d25519:'],
      ['"args":{"type":"object"}', '"args":{"type":["object","array"]}'],
    ],
  },
  {
    name: 'response',
    samples: [
      RESPONSE,
      { ...RESPONSE, status: 'error', error: 'job_failed: no', result: null },
      { ...RESPONSE, signature: ED25519_SIGNATURE },
      { ...RESPONSE, ok: false, status: 'error', error: 'busy: later', signature: '' },
    ],
    accepts: decoderOf(decodeResponse),
    schema: RESPONSE_SCHEMA,
    mistakes: [
      ['"ok":{"const":true}', '"ok":{}'],
      ['"error":{"type":"null"}', '"error":{}'],
      ['{"error":{"type":"string"}}', '{}'],
      ['[AQgw])?$', '[AQgw])$'],
      ['[AQgw])?$', '[A-Za-z0-9_-])?$'],
      ['"running",', ''],
      ['"result":{"type":["object","null"]}', '"result":{"type":"object"}'],
      ['"ok":{"type":"boolean"}', '"ok":{}'],
    ],
  },
];

describe.each(MESSAGES)(
  'the published schema of a $name and the check of its bytes',
  ({ samples, accepts, schema, mistakes }) => {
    const bySchema = schemaOf(schema);
    const agree = (other: Accepts) =>
      fc.property(almost(samples), (message) => accepts(message) === other(message));

    test('accept the samples and the very same changed messages', () => {
      for (const sample of samples) expect(accepts(sample) && bySchema(sample)).toBe(true);
      fc.assert(agree(bySchema), { numRuns: 10_000 });
    });

    test('are compared on messages that pass and on messages that fail, many of each', () => {
      const messages = fc.sample(almost(samples), 2_000);
      const passed = messages.filter(accepts).length;
      expect(passed).toBeGreaterThan(300);
      expect(messages.length - passed).toBeGreaterThan(300);
    });

    test.each(mistakes)('would be seen to differ if %s were %s', (from, to) => {
      const found = fc.check(agree(schemaOf(broken(schema, from, to))), { numRuns: 60_000 });
      expect(found.failed).toBe(true);
    });
  },
);
