import { ProtocolError } from '../errors/index.ts';
import { canonicalize, type MemberCount } from './canonical-json.ts';
import type { Codec } from './codec.ts';
import { ID_RULE, isId, type RequestMessage, type ResponseMessage, type Unsigned } from './envelope.ts';
import { isObject } from './json.ts';
import { isSignature } from './signature-form.ts';

/** Names of the members of each message, and what each must be (docs/protocol.md §1). */
type Rules = Readonly<Record<string, readonly [test: (value: unknown) => boolean, what: string]>>;

const TOOL = /^[A-Za-z0-9_./-]{1,128}$/;
const REQUEST_ID = /^[!-~]{1,128}$/;
const NONCE = /^[!-~]{8,128}$/;
const STATUSES: ReadonlySet<unknown> = new Set(['ok', 'accepted', 'running', 'done', 'error']);

const V = 'mcp/0.1';

function text(pattern: RegExp): (value: unknown) => boolean {
  return (value) => typeof value === 'string' && pattern.test(value);
}

const isVersion = (value: unknown): boolean => value === V;
const isTime = (value: unknown): boolean => Number.isSafeInteger(value) && Number(value) >= 0;
const isBoolean = (value: unknown): boolean => typeof value === 'boolean';
const isSigned = (value: unknown): boolean => typeof value === 'string' && isSignature(value);
const SIGNATURE_RULE = 'must be 64 lower-case hex digits, or ed25519: and 86 characters of base64url';
const TIME_RULE = 'must be milliseconds since 1970 as a non-negative safe integer';

const REQUEST_RULES: Rules = {
  v: [isVersion, `must be "${V}"`],
  request_id: [isRequestId, 'must be 1-128 visible ASCII characters'],
  ts_ms: [isTime, TIME_RULE],
  client_id: [isId, `must be ${ID_RULE}`],
  server_id: [isId, `must be ${ID_RULE}`],
  tool: [text(TOOL), 'must be 1-128 of A-Z a-z 0-9 _ - . /'],
  args: [isObject, 'must be an object'],
  nonce: [text(NONCE), 'must be 8-128 visible ASCII characters'],
  signature: [isSigned, SIGNATURE_RULE],
};

const RESPONSE_RULES: Rules = {
  v: [isVersion, `must be "${V}"`],
  request_id: [isRequestId, 'must be 1-128 visible ASCII characters'],
  ts_ms: [isTime, TIME_RULE],
  server_id: [isId, `must be ${ID_RULE}`],
  ok: [isBoolean, 'must be true or false'],
  status: [(value) => STATUSES.has(value), 'must be ok, accepted, running, done or error'],
  result: [(value) => value === null || isObject(value), 'must be an object or null'],
  error: [(value) => value === null || typeof value === 'string', 'must be a string or null'],
  // Empty on the refusals that are sent before the MAC holds (§8).
  signature: [(value) => value === '' || isSigned(value), SIGNATURE_RULE],
};

const REQUEST_ENTRIES = Object.entries(REQUEST_RULES);
const RESPONSE_ENTRIES = Object.entries(RESPONSE_RULES);

/** All members, no others, each as its rule says. */
function check(value: Record<string, unknown>, rules: typeof REQUEST_ENTRIES): void {
  for (const [name, [test, what]] of rules) {
    if (test(value[name])) continue;
    throw new ProtocolError('bad_envelope', `${name}: ${Object.hasOwn(value, name) ? what : 'is missing'}`);
  }
  const names = Object.keys(value);
  if (names.length === rules.length) return;
  const extra = names.find((name) => !rules.some(([known]) => known === name));
  throw new ProtocolError('bad_envelope', `${quoteName(extra ?? '')}: is not a member of this message`);
}

/** A stranger's name, made safe to print: short and visible ASCII only. */
function quoteName(name: string): string {
  if (name === '') return '""';
  return name.slice(0, 64).replace(/[^!-~]/g, '?');
}

function checkRequest(value: Record<string, unknown>): RequestMessage {
  check(value, REQUEST_ENTRIES);
  // Every member has just been checked against its rule.
  return value as unknown as RequestMessage;
}

function checkResponse(value: Record<string, unknown>): ResponseMessage {
  check(value, RESPONSE_ENTRIES);
  // Every member has just been checked against its rule.
  const message = value as unknown as ResponseMessage;
  if ((message.status === 'error') !== (message.error !== null)) {
    throw new ProtocolError('bad_envelope', 'error: must be a string exactly when status is error');
  }
  if (!message.ok && message.status !== 'error') {
    throw new ProtocolError('bad_envelope', 'status: must be error when ok is false');
  }
  return message;
}

// The names below stand in their canonical order, so only values need work. Values whose rule
// allows neither quote, backslash nor anything outside ASCII are written as they are.

function requestText(m: Unsigned<RequestMessage>, count: MemberCount): string {
  count.members += 8;
  const args = canonicalize({ args: m.args }, count).slice(0, -1);
  return `${args},"client_id":"${m.client_id}","nonce":${JSON.stringify(m.nonce)},"request_id":${JSON.stringify(m.request_id)},"server_id":"${m.server_id}","tool":"${m.tool}","ts_ms":${m.ts_ms},"v":"${V}"}`;
}

/** `args` stands first, and in a text no quote is left unescaped that could pass for the end of it. */
function argsText(signedText: string): string {
  return signedText.slice('{"args":'.length, signedText.lastIndexOf(',"client_id":"'));
}

function responseText(m: Unsigned<ResponseMessage>, count: MemberCount): string {
  count.members += 8;
  const error = canonicalize(m.error);
  const result = canonicalize({ result: m.result }, count).slice(1, -1);
  return `{"error":${error},"ok":${m.ok},"request_id":${JSON.stringify(m.request_id)},${result},"server_id":"${m.server_id}","status":"${m.status}","ts_ms":${m.ts_ms},"v":"${V}"}`;
}

function isRequestId(value: unknown): value is string {
  return typeof value === 'string' && REQUEST_ID.test(value);
}

/** Version mcp/0.1, frozen at these members (docs/protocol.md §10). */
export const mcp01: Codec = {
  v: V,
  isRequestId,
  checkRequest,
  checkResponse,
  requestText,
  responseText,
  argsText,
};
