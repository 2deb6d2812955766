import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ProtocolError } from '../../src/errors/index.ts';
import { MESSAGE_LIMITS } from '../../src/limits.ts';
import { decodeRequest, type JsonValue } from '../../src/wire/index.ts';
import { anyJson } from './arbitraries.ts';
import { REQUEST } from './samples.ts';

const READER = fileURLToPath(new URL('reader.py', import.meta.url));
const havePython = spawnSync('python3', ['--version']).status === 0;
if (!havePython) console.warn('SKIPPED: python3 is not installed (test/wire/differential.test.ts)');

/** A process that reads what it is given as long as the tests run. */
function startReader() {
  const child = spawn('python3', [READER], { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    /** What a client in Python signs for these bytes; null when it refuses them. */
    async read(bytes: Uint8Array): Promise<string | null> {
      child.stdin.write(`${Buffer.from(bytes).toString('hex')}\n`);
      const { value, done } = await lines.next();
      if (done === true) throw new Error('the reader has ended');
      return JSON.parse(value).text;
    },
    async end() {
      child.stdin.end();
      await once(child, 'exit');
    },
  };
}

/** The same here. */
function signedText(bytes: Uint8Array): string | null {
  try {
    return decodeRequest(bytes, MESSAGE_LIMITS).signedText;
  } catch (error) {
    expect(error).toBeInstanceOf(ProtocolError);
    return null;
  }
}

const envelope = (args: string): string =>
  JSON.stringify({ ...REQUEST, args: 'ARGS' }).replace('"ARGS"', () => args);

/** Which of several spellings a place gets. */
type Choice = (count: number) => number;

function chooser(seed: number): Choice {
  let state = seed >>> 0;
  return (count) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return (state >>> 16) % count;
  };
}

/** One of the many texts of a value. */
function spell(value: JsonValue, choose: Choice): string {
  const space = () => ['', '', '', ' ', '\n\t', '\r'][choose(6)] ?? '';
  const list = (items: readonly string[]) => items.map((item) => space() + item + space()).join(',');
  if (typeof value === 'string') return spellString(value, choose);
  if (typeof value === 'number') return spellNumber(value, choose);
  if (Array.isArray(value)) return `[${list(value.map((item: JsonValue) => spell(item, choose)))}]`;
  if (value === null || typeof value === 'boolean') return String(value);
  const members = Object.entries(value).map(
    ([name, member]) => `${spellString(name, choose)}${space()}:${spell(member, choose)}`,
  );
  return `{${list(choose(2) === 0 ? members : members.toReversed())}}`;
}

function spellString(text: string, choose: Choice): string {
  const units = Array.from({ length: text.length }, (_, i) => {
    const code = text.charCodeAt(i).toString(16).padStart(4, '0');
    return `\\u${choose(2) === 0 ? code : code.toUpperCase()}`;
  });
  const mixed = [...text].map((char) => {
    const plain = JSON.stringify(char).slice(1, -1);
    if (char === '/' && choose(2) === 0) return '\\/';
    return choose(4) === 0 && char.length === 1
      ? `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`
      : plain;
  });
  return `"${(choose(5) === 0 ? units : mixed).join('')}"`;
}

function spellNumber(number: number, choose: Choice): string {
  const plain = JSON.stringify(number);
  const spellings = [plain, number.toExponential(), number.toExponential().replace('e', 'E'), `${plain}e0`];
  // What has no fraction and no exponent may get one.
  if (/^-?\d+$/.test(plain)) spellings.push(`${plain}.0`, `${plain}.00E+00`);
  const spelled = spellings[choose(spellings.length)] ?? plain;
  return /e.*e/i.test(spelled) ? plain : spelled;
}

/** Pieces of which texts are made that are nearly JSON. */
const anyPiece = fc.constantFrom(
  ...[
    '{',
    '}',
    '[',
    ']',
    ',',
    ':',
    '"',
    '"a"',
    '"a":',
    '"\\u0061":',
    '"b":1',
    '"__proto__":',
    '"\\u005f_proto__":',
  ],
  ...[
    '1',
    '-0',
    '-',
    '01',
    '1.',
    '.5',
    '1e400',
    '-1e400',
    '1e-400',
    '9007199254740993',
    '123456789012345678901',
  ],
  ...[
    'true',
    'false',
    'null',
    'NaN',
    'Infinity',
    '-Infinity',
    'nul',
    ' ',
    '\n',
    '\u00a0',
    '\u0000',
    '\ufeff',
    '\v',
  ],
  ...[
    '"\\ud83d\\ude02"',
    '"\\ud83d"',
    '"\\ude02"',
    '"\\ud83d\\u0041"',
    '"\\x"',
    '"\\u12"',
    '"\t"',
    '"\u007f"',
    '//',
  ],
  ...[
    '1e21',
    '1e+21',
    '1E21',
    '0.000001',
    '1e-7',
    '٣',
    '1_000',
    '0x1',
    '+1',
    '"\\/"',
    "'a'",
    '[1,]',
    '{,}',
    '"\\',
  ],
); // prettier-ignore

describe.skipIf(!havePython)('a message means the same here and to a peer in Python', () => {
  let reader: ReturnType<typeof startReader>;
  beforeAll(() => {
    reader = startReader();
  });
  afterAll(() => reader.end());

  test('in whatever way its values are spelled', async () => {
    const anyArgs = fc.dictionary(fc.string({ unit: 'binary' }), anyJson, { maxKeys: 5 });
    await fc.assert(
      fc.asyncProperty(anyArgs, fc.integer(), async (args, seed) => {
        if (Object.hasOwn(args, '__proto__')) return;
        const spelled = spell(args, chooser(seed));
        const bytes = Buffer.from(envelope(spelled));
        const text = signedText(bytes);
        const read = await reader.read(bytes);
        expect(text).not.toBeNull();
        expect(read).toBe(text);
      }),
      { numRuns: 1_500 },
    );
  });

  test('or is refused by both, however broken it is', async () => {
    const counts = { taken: 0, refused: 0 };
    const anyArgs = fc.oneof(
      fc.array(anyPiece, { maxLength: 8 }).map((pieces) => pieces.join('')),
      anyPiece.map((piece) => `{"a":${piece}}`),
      fc.tuple(anyPiece, anyPiece).map(([a, b]) => `{"a":[${a}],${b}}`),
      fc.tuple(anyPiece, anyPiece).map(([a, b]) => `{"x":${a},"a":{"y":${b}}}`),
    );
    await fc.assert(
      fc.asyncProperty(anyArgs, async (args) => {
        const bytes = Buffer.from(envelope(args));
        const text = signedText(bytes);
        counts[text === null ? 'refused' : 'taken']++;
        expect({ args, text: await reader.read(bytes) }).toEqual({ args, text });
      }),
      { numRuns: 3_000 },
    );
    expect(Math.min(counts.taken, counts.refused)).toBeGreaterThan(100);
  });

  test('or is refused by both when bytes of it were changed', async () => {
    const text = Buffer.from(envelope('{"Zoë":["\\ud83d\\ude02 €",1.50,-0,{"b":1e3,"a":"\\n"}]}'));
    const start = text.indexOf('"args":') + '"args":'.length;
    const end = text.indexOf(',"nonce"');
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: start, max: end - 1 }), fc.nat(255), async (place, byte) => {
        const changed = Buffer.from(text);
        changed[place] = byte;
        expect(await reader.read(changed)).toBe(signedText(changed));
      }),
      { numRuns: 2_000 },
    );
  });

  test.each([
    ['nesting at the limit', `{"a":${'['.repeat(30)}${']'.repeat(30)}}`, true],
    ['nesting over it', `{"a":${'['.repeat(31)}${']'.repeat(31)}}`, false],
    ['members at the limit', `{${Array.from({ length: 19_991 }, (_, i) => `"${i}":0`).join()}}`, true],
    ['members over it', `{${Array.from({ length: 19_992 }, (_, i) => `"${i}":0`).join()}}`, false],
  ])('%s', async (_what, args, isTaken) => {
    const bytes = Buffer.from(envelope(args));
    expect(signedText(bytes) !== null).toBe(isTaken);
    expect(await reader.read(bytes)).toBe(signedText(bytes));
  });
});
