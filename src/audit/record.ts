import { hash, type KeyObject } from 'node:crypto';
import { holds } from '../wire/ed25519.ts';
import { isObject } from '../wire/index.ts';

/** A call that was authenticated, and how it was answered. Neither its arguments nor its result. */
export interface CallRecord {
  readonly type: 'call';
  readonly client: string;
  readonly wire: 'mcp/0.1' | 'mcp';
  /** Which key was used: fingerprint of the request key, or the first 16 characters of the token's hash. */
  readonly key: string;
  readonly requestId: string;
  readonly tool: string;
  /** `digestOf` the request's signed text; on /mcp of the canonical `{args, tool}`. */
  readonly request: string;
  /** `digestOf` the reply's signed text; on /mcp of the canonical `{error, ok, result, status}`. */
  readonly reply: string;
  /** `ok`, `accepted`, `running`, `done`, or the error code. */
  readonly outcome: string;
  readonly job?: string | undefined;
}

/** Refusals of one client that have no record of their own. */
export interface RefusalsRecord {
  readonly type: 'refusals';
  readonly client: string;
  readonly count: number;
  /** Start of the minute in which the first one came, in milliseconds since 1970. */
  readonly fromMs: number;
}

/** A job that has changed its state. */
export interface JobStateRecord {
  readonly type: 'job';
  readonly job: string;
  readonly client: string;
  readonly tool: string;
  readonly state: 'queued' | 'running' | 'succeeded' | 'failed' | 'cancelled' | 'expired';
  readonly attempt?: number;
}

/** The last record of another chain, as it stood when a chain was opened. */
export interface Link {
  readonly chain: string;
  readonly seq: number;
  readonly hash: string;
}

/** The first record of a chain. */
export interface OpenRecord {
  readonly type: 'open';
  readonly chain: string;
  readonly serverId: string;
  /** The public audit key as text. */
  readonly key: string;
  readonly links: readonly Link[];
}

/** A signature over everything before it; `close` is the one with which a chain ends in order. */
export interface HeadRecord {
  readonly type: 'head' | 'close';
  /** Ed25519 over the text of the line without its last two members. */
  readonly sign: (text: string) => string;
}

/** What happened: all but a chain's own. */
export type EventRecord = CallRecord | RefusalsRecord | JobStateRecord;

export type AuditRecord = OpenRecord | EventRecord | HeadRecord;

/** Where a record stands in its chain. */
export interface Place {
  /** Hash of the line before. */
  readonly prev: string;
  readonly seq: number;
  readonly ms: number;
}

/** One record as it is kept: JSON without a line feed. */
export interface Line {
  readonly text: string;
  readonly hash: string;
}

/** `prev` of the first record of a chain. */
export const NO_PREV = 'A'.repeat(43);

/** `,"hash":"` + 43 characters + `"}`. */
const TAIL_CHARS = 54;

/** SHA-256 of the UTF-8 of a text, as 43 characters of base64url. */
export function digestOf(text: string): string {
  return hash('sha256', text, 'base64url');
}

/** The hash that belongs to a line, whatever hash stands in it. */
export function hashOf(line: string): string {
  return digestOf(`${line.slice(0, -TAIL_CHARS)}}`);
}

/**
 * Writes a record as the line at its place. By hand, since every call waits for its own: 1.4 µs with the hash,
 * where JSON.stringify without one takes 1 µs.
 */
export function writeLine(record: AuditRecord, { prev, seq, ms }: Place): Line {
  const start = `{"prev":"${prev}","seq":${seq},"ms":${ms},"type":"${record.type}"`;
  return withHash(start + membersOf(record, start));
}

function membersOf(record: AuditRecord, start: string): string {
  if (record.type === 'call') return callMembers(record);
  if (record.type === 'job') return jobMembers(record);
  if (record.type === 'refusals') return refusalsMembers(record);
  if (record.type === 'open') return openMembers(record);
  return `,"signature":${quoted(record.sign(`${start}}`))}`;
}

function callMembers({
  client,
  wire,
  key,
  requestId,
  tool,
  request,
  reply,
  outcome,
  job,
}: CallRecord): string {
  return (
    `,"client":${quoted(client)},"wire":"${wire}","key":${quoted(key)},"request_id":${quoted(requestId)}` +
    `,"tool":${quoted(tool)},"request":"${request}","reply":"${reply}","outcome":${quoted(outcome)}` +
    (job === undefined ? '' : `,"job":${quoted(job)}`)
  );
}

function jobMembers({ job, client, tool, state, attempt }: JobStateRecord): string {
  return (
    `,"job":${quoted(job)},"client":${quoted(client)},"tool":${quoted(tool)},"state":"${state}"` +
    (attempt === undefined ? '' : `,"attempt":${attempt}`)
  );
}

function refusalsMembers({ client, count, fromMs }: RefusalsRecord): string {
  return `,"client":${quoted(client)},"count":${count},"from_ms":${fromMs}`;
}

function openMembers({ chain, serverId, key, links }: OpenRecord): string {
  return (
    `,"chain":${quoted(chain)},"server_id":${quoted(serverId)},"key":"${key}"` +
    `,"links":[${links.map(linkText).join()}]`
  );
}

function linkText({ chain, seq, hash: digest }: Link): string {
  return `{"chain":${quoted(chain)},"seq":${seq},"hash":"${digest}"}`;
}

function withHash(start: string): Line {
  const digest = digestOf(`${start}}`);
  return { text: `${start},"hash":"${digest}"}`, hash: digest };
}

/** Visible ASCII without quote and backslash stands for itself: nearly every value. */
const PLAIN = /^[ !#-[\]-~]*$/;

function quoted(value: string): string {
  return PLAIN.test(value) ? `"${value}"` : JSON.stringify(value);
}

/** What every record has, read from its line. */
export interface SeenRecord extends Place {
  readonly type: string;
  readonly hash: string;
  /** The line, a character for each byte. */
  readonly text: string;
}

/** The same with everything that its type has. */
export interface ParsedRecord extends SeenRecord {
  readonly members: Readonly<Record<string, unknown>>;
}

/** Why a line is not a record. */
export type Damage = 'not_json' | 'cut_off' | 'changed';

/**
 * Reads the record of a line of text.
 *
 * @param line without its line feed
 */
export function parseLine(line: string): ParsedRecord | Damage {
  const bytes = Buffer.from(line);
  const record = readRecord(bytes, 0, bytes.length);
  return typeof record === 'string' ? record : { ...record, members: readMembers(record) };
}

/** All members of a record. */
export function readMembers({ text }: SeenRecord): Readonly<Record<string, unknown>> {
  // Its line was found to be an object when it was read.
  return objectOf(Buffer.from(text, 'latin1').toString('utf8')) ?? {};
}

const START = '{"prev":"';
const PREV_END = START.length + NO_PREV.length;
const SEQ = '","seq":';
const HASH = ',"hash":"';
const COMMA = 0x2c;
const CLOSE_BRACE = 0x7d;
const SEQ_MS_TYPE = /^","seq":(0|[1-9]\d{0,15}),"ms":(0|[1-9]\d{0,15}),"type":"([a-z]+)"/;
/** JSON without anything that needs a parser: nearly every line, at a third of its time. */
const FLAT = /^\{(?:"[a-z_]+":(?:[1-9]\d{0,15}|0|"[ !#-[\]-~]*"),)*"hash":"[^"\\]{43}"\}$/;
/** What the first expression can need at most: two numbers and a type that is one of ours. */
const PLACE_CHARS = 80;

/**
 * The same from the bytes between `start` and `end`, which are written to and put back. Its own hash holds;
 * nothing is said about the records around it.
 */
export function readRecord(bytes: Buffer, start: number, end: number): SeenRecord | Damage {
  const text = bytes.toString('latin1', start, end);
  const tail = text.length - TAIL_CHARS;
  const isWhole = tail >= PREV_END && text.startsWith(HASH, tail) && text.endsWith('"}');
  if (!isWhole || !text.startsWith(START)) return damageOf(text);
  const ownHash = text.slice(tail + HASH.length, -2);
  if (hashOfBytes(bytes, start, start + tail) !== ownHash) return 'changed';
  if (!text.startsWith(SEQ, PREV_END)) return damageOf(text);
  const place = SEQ_MS_TYPE.exec(text.slice(PREV_END, PREV_END + PLACE_CHARS));
  if (place === null || !(FLAT.test(text) || objectOf(text) !== null)) return damageOf(text);
  return {
    prev: text.slice(START.length, PREV_END),
    seq: Number(place[1]),
    ms: Number(place[2]),
    // The expression has matched, and so has its last group.
    type: place[3] as string,
    hash: ownHash,
    text,
  };
}

/** The hashed text ends with the brace that stands after the hash: for a moment it is put before it. */
function hashOfBytes(bytes: Buffer, start: number, tail: number): string {
  bytes[tail] = CLOSE_BRACE;
  const digest = hash('sha256', bytes.subarray(start, tail + 1), 'base64url');
  bytes[tail] = COMMA;
  return digest;
}

function damageOf(text: string): Damage {
  if (objectOf(text) !== null) return 'changed';
  return text.startsWith(START) && !text.endsWith('}') ? 'cut_off' : 'not_json';
}

/** The JSON object of a text, or `null` if it is none. */
export function objectOf(text: string): Readonly<Record<string, unknown>> | null {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : null;
  } catch {
    return null;
  }
}

const TAIL = /,"hash":"[^"]{43}"\}$/;

/** Was this line a record, before it was damaged? */
export function looksLikeRecord(line: string): boolean {
  return line.startsWith(START) || TAIL.test(line);
}

const SIGNED = /^(.*),"signature":"([^"]*)","hash":"[^"]*"\}$/;

/** The signature of a head if it holds, else `null`. */
export function signatureOf({ text }: SeenRecord, publicKey: KeyObject): string | null {
  const [, start, signature] = SIGNED.exec(text) ?? [];
  if (start === undefined || signature === undefined) return null;
  return holds(`${start}}`, signature, publicKey) ? signature : null;
}
