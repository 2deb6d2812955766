import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ProtocolError } from '../../src/errors/index.ts';
import { MESSAGE_LIMITS } from '../../src/limits.ts';
import {
  canonicalize,
  DEFAULT_CODEC,
  decodeRequest,
  decodeResponse,
  EnvelopeError,
  type JsonObject,
  NO_REQUEST_ID,
  VERSIONS,
  withSignature,
} from '../../src/wire/index.ts';
import { canonicalText } from '../support/signing.ts';
import { anyJson } from './arbitraries.ts';
import { ED25519_SIGNATURE, REQUEST, RESPONSE, thrownBy, utf8 } from './samples.ts';

const request = (bytes: Uint8Array | string) =>
  decodeRequest(typeof bytes === 'string' ? utf8(bytes) : bytes, MESSAGE_LIMITS);
const response = (text: string) => decodeResponse(utf8(text), MESSAGE_LIMITS);

/** A request whose `args` are written as given; the other eight members are fine. */
function withArgs(args: string): string {
  return JSON.stringify({ ...REQUEST, args: 'ARGS' }).replace('"ARGS"', () => args);
}

function refusal(bytes: Uint8Array | string): ProtocolError {
  const error = thrownBy(() => request(bytes));
  expect(error).toBeInstanceOf(ProtocolError);
  // Just checked.
  return error as ProtocolError;
}

function assertRefused(bytes: Uint8Array | string, message: string): void {
  const error = refusal(bytes);
  expect(error.text).toBe(`bad_envelope: ${message}`);
}

describe('a well-formed request', () => {
  test('gives its values as they were sent and the text that is signed', () => {
    const decoded = request(JSON.stringify(REQUEST));
    const { signature: _, ...unsigned } = REQUEST;
    expect(decoded.message).toEqual(REQUEST);
    expect(decoded.codec.v).toBe('mcp/0.1');
    expect(decoded.signedText).toBe(canonicalize(unsigned));
  });

  test('may be written in any order, with any white space and any escapes', () => {
    const { signedText } = request(JSON.stringify(REQUEST));
    const turned = JSON.stringify(Object.fromEntries(Object.entries(REQUEST).toReversed()), null, '\t');
    expect(request(` \r\n${turned}\n`).signedText).toBe(signedText);
    expect(request(JSON.stringify(REQUEST).replace('"tool":"b', '"\\u0074ool":"\\u0062')).signedText).toBe(
      signedText,
    );
  });

  test('signs the parsed numbers: other spellings of a double give the same text, -0 gives 0', () => {
    expect(request(withArgs('{"n":[1.0,1E2,0.1e1,-0,9007199254740993,1e-7]}')).signedText).toContain(
      '"args":{"n":[1,100,1,0,9007199254740992,1e-7]}',
    );
  });

  test('has the canonical text of an independent path, for any args', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string({ unit: 'binary' }), anyJson, { maxKeys: 4 }), (args) => {
        if (Object.hasOwn(args, '__proto__')) return;
        const { signature: _, ...unsigned } = { ...REQUEST, args, request_id: '"\\!', nonce: '\\"\\"\\"\\"' };
        expect(request(JSON.stringify({ ...unsigned, signature: REQUEST.signature })).signedText).toBe(
          canonicalize(unsigned),
        );
      }),
    );
  });

  test('goes on the wire as its signed text with the signature as the last member', () => {
    const { signedText } = request(JSON.stringify(REQUEST));
    const wire = withSignature(signedText, 'a'.repeat(64));
    expect(wire).toBe(`${signedText.slice(0, -1)},"signature":"${'a'.repeat(64)}"}`);
    expect(request(wire)).toMatchObject({ signedText, message: { signature: 'a'.repeat(64) } });
  });

  test('shows the canonical text of its args, whatever they and the members behind them hold', () => {
    const trap = ',"client_id":"x"';
    const args = fc.record({ a: fc.oneof(anyJson, fc.constant(trap)), [trap]: fc.constant(trap) });
    fc.assert(
      fc.property(args, fc.constantFrom('nonce-0001', trap), (given, visible) => {
        const message = { ...REQUEST, args: given, nonce: visible, request_id: visible };
        const { codec, signedText } = request(JSON.stringify(message));
        expect(codec.argsText(signedText)).toBe(canonicalText(given));
      }),
    );
  });
});

describe('bytes that are not one JSON object in UTF-8', () => {
  const json = JSON.stringify(REQUEST);
  const inside = (hex: string): Uint8Array => {
    const [before = '', after = ''] = withArgs('{"a":"MARK"}').split('MARK');
    return Buffer.concat([Buffer.from(before), Buffer.from(hex, 'hex'), Buffer.from(after)]);
  };

  test.each<[string, Uint8Array | string, string]>([
    ['nothing', '', '$: is not JSON'],
    ['white space', ' \n', '$: is not JSON'],
    ['a word', 'hello', '$: is not JSON'],
    ['a cut message', json.slice(0, -1), '$: is not JSON'],
    ['two messages', json + json, '$: is not JSON'],
    ['a trailing comma', json.replace('}', ',}'), '$: is not JSON'],
    ['a comment', `/* hi */${json}`, '$: is not JSON'],
    ['single quotes', json.replaceAll('"', "'"), '$: is not JSON'],
    ['NaN', withArgs('{"a":NaN}'), '$: is not JSON'],
    ['a leading zero', withArgs('{"a":01}'), '$: is not JSON'],
    ['a raw line feed in a string', withArgs('{"a":"\n"}'), '$: is not JSON'],
    ['an unknown escape', withArgs('{"a":"\\x41"}'), '$: is not JSON'],
    ['a closing bracket too many', `]${json}`, '$: is not JSON'],
    ['null', 'null', '$: must be an object'],
    ['an array', `[${json}]`, '$: must be an object'],
    ['a string', '"x"', '$: must be an object'],
    ['a number', '1', '$: must be an object'],
    ['a byte-order mark', `\ufeff${json}`, '$: starts with a byte-order mark'],
    ['UTF-16', Buffer.from(json, 'utf16le'), '$: is not JSON'],
    ['a byte outside UTF-8', inside('ff'), '$: is not UTF-8'],
    ['a lonely continuation byte', inside('80'), '$: is not UTF-8'],
    ['an overlong slash', inside('c0af'), '$: is not UTF-8'],
    ['a surrogate as UTF-8', inside('eda080'), '$: is not UTF-8'],
    ['a pair of surrogates as UTF-8', inside('eda0bdedb882'), '$: is not UTF-8'],
    ['a code point over U+10FFFF', inside('f4908080'), '$: is not UTF-8'],
    ['a cut character in a string', inside('e282'), '$: is not UTF-8'],
    [
      'a cut character at the end',
      Buffer.concat([Buffer.from(json), Buffer.from('e282', 'hex')]),
      '$: is not UTF-8',
    ],
  ])('%s', (_, bytes, message) => {
    assertRefused(bytes, message);
    // A decoder that failed must not carry anything into the next message.
    expect(request(json).message).toEqual(REQUEST);
  });

  test('the message never quotes the input', () => {
    expect(refusal('{"secret":tru3}').message).not.toContain('secret');
  });
});

describe('values whose signed and executed forms could differ', () => {
  const d = JSON.stringify(REQUEST);
  const TWICE = '$: a member name stands twice in one object';

  test.each<[string, string, string]>([
    ['a doubled name in args', withArgs('{"a":1,"a":1}'), TWICE],
    ['a doubled name, once escaped', withArgs('{"a":1,"\\u0061":2}'), TWICE],
    ['a doubled name, twice escaped', withArgs('{"\\u0061":1,"\\u0061":2}'), TWICE],
    ['a doubled empty name', withArgs('{"":1,"":2}'), TWICE],
    ['a doubled name deep inside', withArgs('{"x":[[{"y":{"a":1,"b":2,"a":3}}]]}'), TWICE],
    [
      'a doubled name whose first value holds members',
      withArgs('{"a":{"b":1,"c":2},"a":{"b":1,"c":2}}'),
      TWICE,
    ],
    ['doubled escapes of one character', withArgs('{"/":1,"\\/":2}'), TWICE],
    ['a doubled pair of surrogates', withArgs('{"\u{1f602}":1,"\\ud83d\\ude02":2}'), TWICE],
    ['a doubled member of the message', d.replace('{', '{"tool":"other",'), TWICE],
    ['a doubled, escaped member of the message', d.replace('{', '{"\\u0074ool":"other",'), TWICE],
    ['doubled args', d.replace('{', '{"args":{},'), TWICE],
    ['a doubled signature', d.replace('{', `{"signature":"${'1'.repeat(64)}",`), TWICE],
    ['__proto__ in args', withArgs('{"__proto__":{"a":1}}'), 'args.__proto__: is a forbidden name'],
    ['__proto__ with a plain value', withArgs('{"__proto__":1}'), 'args.__proto__: is a forbidden name'],
    ['__proto__ as null', withArgs('{"__proto__":null}'), 'args.__proto__: is a forbidden name'],
    ['an escaped __proto__', withArgs('{"\\u005f_proto__":{}}'), 'args.__proto__: is a forbidden name'],
    [
      '__proto__ deep inside',
      withArgs('{"a":[0,{"b":{"__proto__":[]}}]}'),
      'args.a[1].b.__proto__: is a forbidden name',
    ],
    [
      '__proto__ beside the nine',
      d.replace('{', '{"__proto__":{},'),
      '__proto__: is not a member of this message',
    ],
    ['__proto__ that would stand in for args', d.replace('"args"', '"__proto__"'), 'args: is missing'],
    ['a number over every double', withArgs('{"a":[1e400]}'), 'args.a[0]: is not a finite number'],
    ['a negative number over every double', withArgs('{"a":-1e400}'), 'args.a: is not a finite number'],
    [
      'digits that no double can hold',
      withArgs(`{"a":${'9'.repeat(400)}}`),
      'args.a: is not a finite number',
    ],
    [
      'a time over every double',
      d.replace(/"ts_ms":\d+/, '"ts_ms":1e400'),
      'ts_ms: must be milliseconds since 1970 as a non-negative safe integer',
    ],
    ['a lone surrogate', withArgs('{"a":"\\ud800"}'), 'args.a: has a lone surrogate'],
    ['surrogates in the wrong order', withArgs('{"a":"\\ude02\\ud83d"}'), 'args.a: has a lone surrogate'],
    ['a lone surrogate in a name', withArgs('{"\\udc00":1}'), 'args.?: has a lone surrogate'],
  ])('%s', (_, text, message) => {
    assertRefused(text, message);
  });

  test('the same name in different objects is fine', () => {
    expect(request(withArgs('{"a":{"a":1},"b":[{"a":1},{"a":1}]}')).message.args).toEqual({
      a: { a: 1 },
      b: [{ a: 1 }, { a: 1 }],
    });
  });

  test('names of Object.prototype are ordinary names', () => {
    const args = '{"constructor":1,"hasOwnProperty":2,"toJSON":3,"toString":4}';
    expect(request(withArgs(args)).signedText).toContain(`{"args":${args},`);
  });

  test('a path is made of the sender’s names, but short and of printable ASCII', () => {
    const long = refusal(withArgs(`{"${'n'.repeat(5_000)}":1e400}`)).message;
    expect(long.length).toBeLessThanOrEqual(256);
    expect(refusal(withArgs('{"\\u001b[31m\\n":1e400}')).message).toBe('args.?[31m?: is not a finite number');
    expect(refusal(JSON.stringify({ ...REQUEST, '\u001b\né': 1 })).message).toBe(
      '???: is not a member of this message',
    );
  });

  test('any doubled member is refused, wherever it stands', () => {
    fc.assert(
      fc.property(anyJson, anyJson, fc.string({ unit: 'binary' }), fc.boolean(), (one, two, name, inList) => {
        if (name === '__proto__') return;
        const quoted = JSON.stringify(name);
        const object = `{${quoted}:${JSON.stringify(one)},${quoted}:${JSON.stringify(two)}}`;
        const { message } = refusal(withArgs(`{"x":${inList ? `[${object}]` : object}}`));
        expect(['$: nested more than 32 deep', TWICE]).toContain(message);
      }),
    );
  });
});

describe('limits', () => {
  const deep = (levels: number): string =>
    withArgs(`{"a":${'['.repeat(levels - 2)}${']'.repeat(levels - 2)}}`);
  // Eight members beside args, args itself, and these.
  const many = (members: number): string =>
    withArgs(`{${Array.from({ length: members - 9 }, (_, i) => `"${i}":0`).join(',')}}`);
  const large = (bytes: number): string => {
    const empty = withArgs('{"a":""}');
    return withArgs(`{"a":"${'x'.repeat(bytes - empty.length)}"}`);
  };

  test('nesting: 32 passes, 33 is refused', () => {
    expect(request(deep(32)).message.tool).toBe(REQUEST.tool);
    assertRefused(deep(33), '$: nested more than 32 deep');
  });

  test('members: 20000 pass, 20001 are refused', () => {
    expect(Object.keys(request(many(20_000)).message.args)).toHaveLength(19_991);
    assertRefused(many(20_001), '$: more than 20000 object members');
  });

  test('size: 1 MiB passes, one byte more is too_large whatever the bytes are', () => {
    expect(utf8(large(1_048_576))).toHaveLength(1_048_576);
    expect(request(large(1_048_576)).message.tool).toBe(REQUEST.tool);
    expect(refusal(large(1_048_577)).text).toBe('too_large: a message may have at most 1048576 bytes');
    expect(refusal(Buffer.alloc(1_048_577, 0xff)).code).toBe('too_large');
  });

  test('size is counted in bytes, not in characters', () => {
    expect(refusal(withArgs(`{"a":"${'é'.repeat(600_000)}"}`)).code).toBe('too_large');
  });

  test('a mebibyte of brackets is refused before JSON.parse', () => {
    assertRefused('['.repeat(1_048_576), '$: nested more than 32 deep');
  });

  test('tighter limits of an operator hold', () => {
    const limits = { maxMessageBytes: 1_000, maxDepth: 2, maxMembers: 10 };
    const decode = (args: string) => decodeRequest(utf8(withArgs(args)), limits);
    expect(decode('{"a":1}').message.args).toEqual({ a: 1 });
    expect(() => decode('{"a":[]}')).toThrow('$: nested more than 2 deep');
    expect(() => decode('{"a":1,"b":2}')).toThrow('$: more than 10 object members');
    expect(() => decode(`{"a":"${'x'.repeat(1_000)}"}`)).toThrow('a message may have at most 1000 bytes');
  });
});

const ID = 'must be 1-128 of A-Z a-z 0-9 . _ : @ / -, first a letter or digit';
const VISIBLE = 'must be 1-128 visible ASCII characters';
const TIME = 'must be milliseconds since 1970 as a non-negative safe integer';
const TOOL = 'must be 1-128 of A-Z a-z 0-9 _ - . /';
const NONCE = 'must be 8-128 visible ASCII characters';
/** Cut, too long, padded, in another alphabet, with a bit behind the last byte, without its prefix. */
const BAD_ED25519 = [
  'ed25519:',
  ED25519_SIGNATURE.slice(0, -1),
  `${ED25519_SIGNATURE}A`,
  `${ED25519_SIGNATURE}==`,
  `${ED25519_SIGNATURE}\n`,
  ED25519_SIGNATURE.replaceAll('_', '/').replaceAll('-', '+'),
  ED25519_SIGNATURE.replace(/w$/, 'x'),
  ED25519_SIGNATURE.replace('ed25519:', ''),
  ED25519_SIGNATURE.replace('ed25519:', 'Ed25519:'),
  ED25519_SIGNATURE.replace('ed25519:', 'hmac-sha256:'),
];
const SIGNATURE = 'must be 64 lower-case hex digits, or ed25519: and 86 characters of base64url';
const ALL_VISIBLE = Array.from({ length: 94 }, (_, i) => String.fromCharCode(33 + i)).join('');
const BAD_TEXTS = [null, 1, true, [], ['a'], {}, ''];

/** member → [what the refusal says, values at the bounds that pass, values just outside]. */
type Rules = Readonly<
  Record<string, readonly [what: string, good: readonly unknown[], bad: readonly unknown[]]>
>;

const ID_VALUES = [
  ['a', 'Z', '0', 'a'.repeat(128), 'aZ9._:@/-'],
  [
    ...BAD_TEXTS,
    'a'.repeat(129),
    '.a',
    '_a',
    '-a',
    '/a',
    ':a',
    '@a',
    'a b',
    'a\n',
    'é',
    'a\u0000',
    'a+b',
    'a"',
  ],
] as const;

const SHARED: Rules = {
  request_id: [
    VISIBLE,
    ['!', '~', ALL_VISIBLE, 'x'.repeat(128)],
    [...BAD_TEXTS, 'x'.repeat(129), ' ', 'a b', 'a\n', '\u007f', 'é'],
  ],
  ts_ms: [TIME, [0, 1, Number.MAX_SAFE_INTEGER], [-1, 0.5, 2 ** 53, 1e300, '1', null, true, [1], {}]],
  server_id: [ID, ...ID_VALUES],
};

const REQUEST_RULES: Rules = {
  ...SHARED,
  client_id: [ID, ...ID_VALUES],
  tool: [
    TOOL,
    ['a', '_', '-', '.', '/', '__proto__', 'x'.repeat(128)],
    [...BAD_TEXTS, 'x'.repeat(129), 'a b', 'a:b', 'a@b', 'a\n', 'é'],
  ],
  args: ['must be an object', [{}, { a: null }], [null, [], '', 'x', 1, true]],
  nonce: [
    NONCE,
    ['!~!~!~!~', ALL_VISIBLE, 'x'.repeat(128)],
    [...BAD_TEXTS, 'x'.repeat(7), 'x'.repeat(129), 'x'.repeat(8) + ' ', 'éééééééé'],
  ],
  signature: [
    SIGNATURE,
    ['0123456789abcdef'.repeat(4), ED25519_SIGNATURE],
    [
      ...BAD_TEXTS,
      ...BAD_ED25519,
      'a'.repeat(63),
      'a'.repeat(65),
      'A'.repeat(64),
      `${'a'.repeat(63)}g`,
      `${'a'.repeat(63)}\n`,
      `0x${'a'.repeat(62)}`,
    ],
  ],
};

const RESPONSE_RULES: Rules = {
  ...SHARED,
  ok: ['must be true or false', [true], [null, 0, 1, 'true', [], {}]],
  status: [
    'must be ok, accepted, running, done or error',
    ['ok', 'accepted', 'running', 'done'],
    [...BAD_TEXTS, 'OK', 'failed', 'ok '],
  ],
  result: ['must be an object or null', [null, {}, { a: 1 }], [[], '', 'x', 0, false]],
  error: ['must be a string or null', [null], [0, false, [], {}]],
  signature: [
    SIGNATURE,
    ['', '0123456789abcdef'.repeat(4), ED25519_SIGNATURE],
    [...BAD_ED25519, null, 1, 'a'.repeat(63), 'A'.repeat(64), ' ', '\n'],
  ],
};

describe.each<[kind: string, JsonObject, Rules, (text: string) => { message: object }]>([
  ['request', { ...REQUEST }, REQUEST_RULES, request],
  ['response', { ...RESPONSE }, RESPONSE_RULES, response],
])('the members of a %s', (_kind, sample, rules, decode) => {
  const names = Object.keys(sample);
  const messageOf = (value: object): string => {
    const error = thrownBy(() => decode(JSON.stringify(value)));
    expect(error).toMatchObject({ name: 'ProtocolError', code: 'bad_envelope' });
    return error instanceof Error ? error.message : '';
  };

  test('are nine, each with a rule that is tested here', () => {
    expect(names).toHaveLength(9);
    expect(['v', ...Object.keys(rules)].toSorted()).toEqual(names.toSorted());
  });

  test.each(names)('%s is required', (name) => {
    const { [name]: _, ...rest } = sample;
    expect(messageOf(rest)).toBe(`${name}: is missing`);
  });

  test.each(['extra', 'V', 'Args', 'v ', 'toString', 'constructor'])(
    '"%s" beside them is refused',
    (name) => {
      const shown = name.replace(' ', '?');
      expect(messageOf({ ...sample, [name]: 1 })).toBe(`${shown}: is not a member of this message`);
    },
  );

  test('a member without name is refused', () => {
    expect(messageOf({ ...sample, '': 1 })).toBe('"": is not a member of this message');
  });

  test.each(['mcp/0.2', 'mcp/0.10', 'MCP/0.1', 'mcp/0.1 ', '', null, 1, ['mcp/0.1'], {}, true])(
    'v: %j is refused',
    (v) => {
      expect(messageOf({ ...sample, v })).toBe('v: must be one of mcp/0.1');
    },
  );

  test.each(Object.keys(rules))('%s follows its rule at its bounds', (name) => {
    const [what, good, bad] = rules[name] ?? ['', [], []];
    for (const value of good) {
      const message = { ...sample, [name]: value };
      expect(decode(JSON.stringify(message)).message).toEqual(message);
    }
    for (const value of bad) expect(messageOf({ ...sample, [name]: value })).toBe(`${name}: ${what}`);
    expect(good.length * bad.length).toBeGreaterThan(0);
  });
});

describe('a response', () => {
  test('gives its values as they were sent and the text that is signed', () => {
    const { signature: _, ...unsigned } = RESPONSE;
    expect(response(JSON.stringify(RESPONSE))).toMatchObject({
      message: RESPONSE,
      signedText: canonicalize(unsigned),
    });
  });

  test('has the canonical text of an independent path, for any result and any error', () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.string({ unit: 'binary' }), anyJson, { maxKeys: 4 }),
        fc.string({ unit: 'binary' }),
        (result, error) => {
          if (Object.hasOwn(result, '__proto__')) return;
          const { signature, ...unsigned } = { ...RESPONSE, status: 'error', error, result };
          expect(response(JSON.stringify({ ...unsigned, signature })).signedText).toBe(
            canonicalize(unsigned),
          );
        },
      ),
    );
  });

  test.each([
    [{ status: 'error', error: null }, 'error: must be a string exactly when status is error'],
    [{ status: 'ok', error: 'x: y' }, 'error: must be a string exactly when status is error'],
    [{ ok: false, status: 'ok' }, 'status: must be error when ok is false'],
    [{ ok: false, status: 'running' }, 'status: must be error when ok is false'],
  ])('%j is refused: %s', (change, message) => {
    expect(() => response(JSON.stringify({ ...RESPONSE, ...change }))).toThrow(
      new ProtocolError('bad_envelope', message),
    );
  });

  test.each([
    { ok: false, status: 'error', error: 'busy: later' },
    { ok: true, status: 'error', error: 'job_failed: no' },
    { ok: true, status: 'done' },
  ])('%j is fine', (change) => {
    expect(response(JSON.stringify({ ...RESPONSE, ...change })).message).toMatchObject(change);
  });

  test.each([
    ['a doubled name in result', '{"a":1,"\\u0061":1}', '$: a member name stands twice in one object'],
    ['__proto__ in result', '{"__proto__":1}', 'result.__proto__: is a forbidden name'],
    ['1e400 in result', '{"a":[1e400]}', 'result.a[0]: is not a finite number'],
  ])('%s is refused', (_, result, message) => {
    const text = JSON.stringify({ ...RESPONSE, result: 'RESULT' }).replace('"RESULT"', () => result);
    expect(() => response(text)).toThrow(new ProtocolError('bad_envelope', message));
  });

  test('a lone surrogate in error is refused', () => {
    const text = JSON.stringify({ ...RESPONSE, status: 'error', error: '\ud800' });
    expect(() => response(text)).toThrow('has a lone surrogate');
  });

  test('a request is no response and a response is no request', () => {
    expect(() => response(JSON.stringify(REQUEST))).toThrow('ok: is missing');
    expect(() => request(JSON.stringify(RESPONSE))).toThrow('client_id: is missing');
  });
});

describe('a refusal names the request it refuses', () => {
  const requestIdOf = (value: unknown): unknown => {
    const error = thrownBy(() => request(JSON.stringify(value)));
    expect(error).toBeInstanceOf(EnvelopeError);
    // Just checked.
    return (error as EnvelopeError).requestId;
  };

  test('by its own request_id when that is well-formed', () => {
    expect(requestIdOf({ ...REQUEST, tool: '' })).toBe(REQUEST.request_id);
    expect(requestIdOf({ request_id: 'only-this' })).toBe('only-this');
    expect(requestIdOf({ ...REQUEST, v: 'mcp/9' })).toBe(REQUEST.request_id);
    expect(requestIdOf({ ...REQUEST, args: JSON.parse('{"__proto__":1}') })).toBe(REQUEST.request_id);
  });

  test.each([undefined, null, 7, '', 'a b', 'x'.repeat(129), '\ud800', {}])(
    'by "-" when it is %j',
    (request_id) => {
      expect(requestIdOf({ ...REQUEST, request_id })).toBe(NO_REQUEST_ID);
    },
  );

  test('and "-" is itself a request_id, so that the refusal is a well-formed response', () => {
    expect(DEFAULT_CODEC.isRequestId(NO_REQUEST_ID)).toBe(true);
  });

  test('not at all when the bytes are no object', () => {
    expect(refusal('[]')).not.toBeInstanceOf(EnvelopeError);
    expect(refusal('x')).not.toBeInstanceOf(EnvelopeError);
  });
});

test('mcp/0.1 is the version this build speaks', () => {
  expect(VERSIONS).toEqual(['mcp/0.1']);
  expect(DEFAULT_CODEC.v).toBe('mcp/0.1');
});
