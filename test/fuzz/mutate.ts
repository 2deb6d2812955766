import type { Random } from '../support/random.ts';

/** Changes a template; the others of the corpus are material. */
type Mutation = (bytes: Buffer, random: Random, others: readonly Buffer[]) => Buffer;

/** Far below the limit: most inputs should cost little. Only some of those below go over it. */
const MAX_BYTES = 1_200_000;

const NUMBERS = [
  '0',
  '-0',
  '0.0',
  '-1',
  '1e21',
  '1E+21',
  '1e-7',
  '5e-324',
  '1e308',
  '1e309',
  '-1e400',
  '1e-400',
  '9007199254740991',
  '9007199254740992',
  '9007199254740993',
  '-9007199254740993',
  '18446744073709551616',
  '01',
  '1.',
  '.5',
  '+1',
  '0x10',
  '1e',
  'NaN',
  'Infinity',
  '-',
  '2147483648',
  '4294967296',
  '1795219200000',
  '253402300800000',
  '0.1',
  '1e1000000',
  `1${'0'.repeat(400)}`,
  `0.${'0'.repeat(400)}1`,
]; // prettier-ignore

const STRINGS = [
  '""',
  '"\\ud800"',
  '"\\udc00\\ud800"',
  '"\\ud83d\\ude00"',
  '"\\u0000"',
  '"\\u0061"',
  '"\\/"',
  '"\u2028\u2029"',
  '"\ufeff"',
  '"\u202e"',
  '"e\u0301"',
  '"é"',
  '"__proto__"',
  '"constructor"',
  '"toString"',
  '"\\x41"',
  '"\\u12"',
  '"',
  '"\n"',
  '"\u007f"',
  '"../../etc/passwd"',
  '"\'; DROP TABLE jobs; --"',
  '"%s%n"',
  '"mcp/0.2"',
  '"agent-b"',
  '"nobody"',
  '"srv-1"',
  '"job"',
  '"echo"',
  '"poll_job"',
  '"list_jobs"',
  '"tools/call"',
  '"tasks/get"',
  '"2026-07-28"',
  '"2025-11-25"',
  `"${'x'.repeat(129)}"`,
  `"${'a'.repeat(30_000)}!"`,
  `"${'\\u0041'.repeat(2_000)}"`,
  `"${'\u{1f602}'.repeat(500)}"`,
]; // prettier-ignore

const VALUES = [
  'null',
  'true',
  'false',
  '{}',
  '[]',
  '[[]]',
  '{"":{}}',
  '{"__proto__":{"ok":true}}',
  '{"\\u005f_proto__":1}',
  '{"a":1,"a":2}',
  '{"a":1,"\\u0061":1}',
  '{"constructor":{"prototype":{"x":1}}}',
  '{"toJSON":1}',
  '{"then":1}',
  '{"length":4294967295}',
  '{"10":1,"9":2,"-1":3}',
  '{"\ufb33":1,"\u{1f602}":2}',
  '[,]',
  '[1,]',
  '{,}',
  '//',
  'undefined',
]; // prettier-ignore

/** Texts that are dear: one of them now and then. */
const BOMBS: readonly ((random: Random) => string)[] = [
  (random) => nested('[', '1', ']', random.integer(30, 34)),
  (random) => nested('{"a":', '1', '}', random.integer(30, 34)),
  () => nested('[', '', '', 200_000),
  () => nested('[', '', ']', 5_000),
  (random) => `{${times(random.integer(19_980, 20_001), (i) => `"k${i}":0`)}}`,
  () => `{${times(20_000, (i) => `"${20_000 - i}":${i}`)}}`,
  () => `[${times(500_000, () => '0')}]`,
  () => `[${times(170_000, () => '{}')}]`,
  () => `[${times(170_000, () => '[]')}]`,
  () => `[${times(100_000, () => '[[]]')}]`,
  () => `[${times(100_000, () => '1e20')}]`,
  () => `"${'\\'.repeat(400_000)}"`,
  () => `"${'\\u00e9'.repeat(100_000)}"`,
  () => `"${'\u0001'.repeat(10_000)}"`,
  () => `"${'é'.repeat(400_000)}"`,
  () => '9'.repeat(300_000),
  () => `0.${'1'.repeat(300_000)}`,
  () => ' '.repeat(500_000),
  () => `{${times(3_000, (i) => `"${'n'.repeat(100)}${i}":1`)}}`,
  () => `{${times(19_980, (i) => `"${(i * 7_919) % 19_980}${'n'.repeat(30)}":1`)}}`,
];

function nested(open: string, inner: string, close: string, depth: number): string {
  return open.repeat(depth) + inner + close.repeat(depth);
}

function times(count: number, text: (i: number) => string): string {
  return Array.from({ length: count }, (_, i) => text(i)).join();
}

const pickText = (texts: readonly string[], random: Random): string => random.pick(texts) ?? '';

function anyText(random: Random): string {
  const kind = random.integer(0, 99);
  if (kind < 30) return pickText(NUMBERS, random);
  if (kind < 65) return pickText(STRINGS, random);
  return kind < 97 ? pickText(VALUES, random) : (random.pick(BOMBS)?.(random) ?? '');
}

const at = (bytes: Buffer, random: Random): number => random.integer(0, bytes.length);

function slice(bytes: Buffer, random: Random): Buffer {
  const start = at(bytes, random);
  return bytes.subarray(start, start + random.integer(1, 1 << random.integer(0, 10)));
}

function replaced(bytes: Buffer, start: number, end: number, by: Buffer | string): Buffer {
  return Buffer.concat([bytes.subarray(0, start), Buffer.from(by), bytes.subarray(end)]);
}

/** A value or a name in JSON, wherever it stands. */
const PIECE = /"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|true|false|null|\{\}|\[\]/g;

/** Where the arguments of a call stand. */
function argumentsOf(text: string): readonly [start: number, end: number] {
  const start = text.search(/"(args|arguments)":/);
  const end = text.indexOf('"client_id"', start);
  return start === -1 ? [0, 0] : [text.indexOf(':', start), end === -1 ? text.length : end];
}

/** Puts another text in the place of a value or a name. */
const changePiece: Mutation = (bytes, random) => {
  // Latin 1, so that places are those of bytes.
  const text = bytes.toString('latin1');
  const all = [...text.matchAll(PIECE)];
  // Mostly of the arguments: a change elsewhere is mostly refused at once.
  const [start, end] = argumentsOf(text);
  const inside = all.filter(({ index }) => index >= start && index < end);
  const piece = random.pick(inside.length > 0 && random.chance(0.7) ? inside : all);
  if (piece === undefined) return bytes;
  return replaced(bytes, piece.index, piece.index + piece[0].length, anyText(random));
};

/** Adds a member, in front of another or behind it: names of the envelope too. */
const addMember: Mutation = (bytes, random) => {
  const text = bytes.toString('latin1');
  const [start, end] = argumentsOf(text);
  const all = [...text.matchAll(/[{,]/g)];
  const inside = all.filter(({ index }) => index >= start && index < end - 1);
  const brace = random.pick(inside.length > 0 && random.chance(0.7) ? inside : all);
  if (brace === undefined) return bytes;
  const name = random.chance(0.4) ? pickText(STRINGS, random) : pickText(NAMES, random);
  const member = `${name}:${anyText(random)}`;
  const place = brace.index + 1;
  return replaced(bytes, place, place, text[place] === '}' ? member : `${member},`);
};

const NAMES = [
  '"args"',
  '"v"',
  '"signature"',
  '"nonce"',
  '"tool"',
  '"id"',
  '"method"',
  '"params"',
  '"_meta"',
  '"n"',
];

/** A member or an item goes. */
const dropMember: Mutation = (bytes, random) => {
  const member = random.pick([
    ...bytes.toString('latin1').matchAll(/,?"[^"]*":("[^"]*"|[^,{}[\]"]*|\{\}|\[\])|,[^,"{}[\]]+/g),
  ]);
  return member === undefined ? bytes : replaced(bytes, member.index, member.index + member[0].length, '');
};

const MUTATIONS: readonly Mutation[] = [
  changePiece,
  changePiece,
  changePiece,
  addMember,
  addMember,
  dropMember,
  function flipBit(bytes, random) {
    const changed = Buffer.from(bytes);
    const place = at(bytes, random) % Math.max(1, bytes.length);
    changed[place] = (bytes[place] ?? 0) ^ (1 << random.integer(0, 7));
    return changed;
  },
  function anyByte(bytes, random) {
    const place = at(bytes, random);
    return replaced(bytes, place, place + random.integer(0, 1), Buffer.from([random.integer(0, 255)]));
  },
  (bytes, random) => bytes.subarray(0, at(bytes, random)),
  (bytes, random) => bytes.subarray(at(bytes, random)),
  function insert(bytes, random) {
    const place = at(bytes, random);
    return replaced(bytes, place, place, anyText(random));
  },
  function duplicate(bytes, random) {
    const place = at(bytes, random);
    return replaced(bytes, place, place, slice(bytes, random));
  },
  function splice(bytes, random, others) {
    const place = at(bytes, random);
    return replaced(bytes, place, place, slice(random.pick(others) ?? bytes, random));
  },
  function cross(bytes, random, others) {
    const other = random.pick(others) ?? bytes;
    return Buffer.concat([bytes.subarray(0, at(bytes, random)), other.subarray(at(other, random))]);
  },
];

/** Is the body, which stands behind the headers if there are some, JSON? */
function isJson(template: Buffer): boolean {
  try {
    JSON.parse(template.subarray(template.indexOf('\n\n') + 1).toString('utf8'));
    return true;
  } catch {
    return false;
  }
}

/** Some changes to a template; what is no JSON any more is mostly thrown away, for it does not get far. */
export function mutate(template: Buffer, random: Random, others: readonly Buffer[]): Buffer {
  let changed = changeSome(template, random, others);
  for (let i = 0; i < 3 && !isJson(changed) && !random.chance(0.2); i++)
    changed = changeSome(template, random, others);
  return changed;
}

/** One to four changes. */
function changeSome(template: Buffer, random: Random, others: readonly Buffer[]): Buffer {
  let changed = template;
  // Most of what is changed more than once is refused for the first of the changes.
  const count = random.chance(0.7) ? 1 : random.integer(2, 4);
  for (let i = 0; i < count; i++) changed = (random.pick(MUTATIONS) ?? changePiece)(changed, random, others);
  return changed.subarray(0, MAX_BYTES);
}
