import { ProtocolError } from '../errors/index.ts';
import { CanonicalJsonError, type MemberCount } from './canonical-json.ts';
import { NO_REQUEST_ID, type RequestMessage, type ResponseMessage, type Unsigned } from './envelope.ts';
import { isObject } from './json.ts';
import type { MessageLimits } from '../limits.ts';
import { mcp01 } from './mcp-0.1.ts';
import { parseJson } from './parse-json.ts';
import { scan } from './scan.ts';

/** What one value of `v` means: the members of its messages and the text that is signed. */
export interface Codec {
  readonly v: string;
  isRequestId(value: unknown): value is string;
  /** @throws ProtocolError `bad_envelope` */
  checkRequest(value: Record<string, unknown>): RequestMessage;
  /** @throws ProtocolError `bad_envelope` */
  checkResponse(value: Record<string, unknown>): ResponseMessage;
  /** Canonical text without `signature`; `count` grows by all members, the signature's included. */
  requestText(message: Unsigned<RequestMessage>, count: MemberCount): string;
  responseText(message: Unsigned<ResponseMessage>, count: MemberCount): string;
  /** The canonical text of `args`, cut out of what `requestText` gave. */
  argsText(signedText: string): string;
}

const CODECS: ReadonlyMap<unknown, Codec> = new Map([[mcp01.v, mcp01]]);

/** The versions this build speaks, newest last. */
export const VERSIONS: readonly string[] = [mcp01.v];

/** The codec used when nobody has said which: for what a client sends first, and for refusals of bytes without `v`. */
export const DEFAULT_CODEC: Codec = mcp01;

/** A well-formed message and the text its signature covers; nothing about it is proven yet. */
export interface Decoded<Message> {
  readonly codec: Codec;
  readonly message: Message;
  readonly signedText: string;
}

/**
 * Bytes → a strict request, not yet authenticated (docs/protocol.md §4, steps 1 to 5 and JCS).
 *
 * @throws ProtocolError `too_large`, `bad_envelope`
 */
export function decodeRequest(bytes: Uint8Array, limits: MessageLimits): Decoded<RequestMessage> {
  return withSignedText(readRequest(bytes, limits));
}

/** A strict request, whose signed text is yet to be written. */
export interface ReadRequest {
  readonly codec: Codec;
  readonly message: RequestMessage;
  /** As many as its bytes write. */
  readonly members: number;
}

/** The first half of `decodeRequest`, for who lets others work in between. */
export function readRequest(bytes: Uint8Array, limits: MessageLimits): ReadRequest {
  const { value, members } = parse(bytes, limits);
  try {
    const codec = codecOf(value);
    return { codec, message: codec.checkRequest(value), members };
  } catch (error) {
    throw envelopeError(error, value['request_id']);
  }
}

/** The second half. */
export function withSignedText({ codec, message, members }: ReadRequest): Decoded<RequestMessage> {
  try {
    return { codec, message, signedText: textOf(members, (count) => codec.requestText(message, count)) };
  } catch (error) {
    throw envelopeError(error, message.request_id);
  }
}

function envelopeError(error: unknown, requestId: unknown): unknown {
  return error instanceof ProtocolError ? new EnvelopeError(error, requestId) : error;
}

/** A refusal of bytes that still showed which request they meant to be. */
export class EnvelopeError extends ProtocolError {
  /** The request's own id if it is well-formed, else `-`. */
  readonly requestId: string;

  constructor(error: ProtocolError, requestId: unknown) {
    super(error.code, error.message, error.result);
    this.requestId = DEFAULT_CODEC.isRequestId(requestId) ? requestId : NO_REQUEST_ID;
  }
}

/** The same for a response. @throws ProtocolError `too_large`, `bad_envelope` */
export function decodeResponse(bytes: Uint8Array, limits: MessageLimits): Decoded<ResponseMessage> {
  const { value, members } = parse(bytes, limits);
  const codec = codecOf(value);
  const message = codec.checkResponse(value);
  return { codec, message, signedText: textOf(members, (count) => codec.responseText(message, count)) };
}

/** The wire text: the signed text with the signature appended as the last member (§2). */
export function withSignature(signedText: string, signature: string): string {
  return `${signedText.slice(0, -1)},"signature":"${signature}"}`;
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function parse(
  bytes: Uint8Array,
  limits: MessageLimits,
): { value: Record<string, unknown>; members: number } {
  if (bytes.byteLength > limits.maxMessageBytes) {
    throw new ProtocolError('too_large', `a message may have at most ${limits.maxMessageBytes} bytes`);
  }
  const text = decodeUtf8(bytes);
  const members = scan(text, limits);
  let value: unknown;
  try {
    value = parseJson(text);
  } catch {
    // The parser's own message quotes the input; ours never does.
    throw new ProtocolError('bad_envelope', '$: is not JSON');
  }
  if (!isObject(value)) throw new ProtocolError('bad_envelope', '$: must be an object');
  return { value, members };
}

function decodeUtf8(bytes: Uint8Array): string {
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) {
    throw new ProtocolError('bad_envelope', '$: starts with a byte-order mark');
  }
  try {
    return utf8.decode(bytes);
  } catch {
    throw new ProtocolError('bad_envelope', '$: is not UTF-8');
  }
}

function codecOf(value: Record<string, unknown>): Codec {
  const codec = CODECS.get(value['v']);
  if (codec !== undefined) return codec;
  const what = Object.hasOwn(value, 'v') ? `must be one of ${VERSIONS.join(', ')}` : 'is missing';
  throw new ProtocolError('bad_envelope', `v: ${what}`);
}

/** The signed text of a received message; both ways in which it can differ from what was sent are refused. */
function textOf(members: number, write: (count: MemberCount) => string): string {
  const count: MemberCount = { members: 0 };
  let text: string;
  try {
    text = write(count);
  } catch (error) {
    if (error instanceof CanonicalJsonError) throw new ProtocolError('bad_envelope', visible(error.message));
    throw error;
  }
  if (count.members !== members)
    throw new ProtocolError('bad_envelope', '$: a member name stands twice in one object');
  return text;
}

/** Paths are made of the sender's own names: cut and cleaned before they are printed. */
function visible(text: string): string {
  return text.slice(0, 256).replace(/[^ -~]/g, '?');
}
