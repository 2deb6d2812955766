import { ClientError, codeOf, ProtocolError } from '../errors/index.ts';
import { CLIENT_LIMITS, MESSAGE_LIMITS } from '../limits.ts';
import { type Decoded, decodeResponse } from '../wire/codec.ts';
import type { ResponseMessage } from '../wire/envelope.ts';
import type { Signer } from './signer.ts';

/** What a reply must be to be an answer. */
export interface Expected {
  readonly requestId: string;
  readonly serverId: string;
  /** The server's time as this client knows it, milliseconds since 1970. */
  readonly nowMs: number;
  /** May `ts_ms` of a `stale` refusal be far off? It is how clocks that differ are noticed. */
  readonly clockUnknown: boolean;
}

/**
 * Believes a reply only if it verifies under the response key, answers the outstanding `request_id`,
 * comes from the expected server and is fresh (docs/protocol.md §8, last line). A reply to an earlier
 * transmission of the same call is an honest answer to the call.
 *
 * @throws ClientError `reply_unverified`
 */
export async function verifyReply(
  bytes: Uint8Array,
  expected: Expected,
  signer: Signer,
): Promise<ResponseMessage> {
  const { message, signedText } = decode(bytes);
  if (message.signature === '') {
    const text = printable(message.error ?? message.status);
    throw unverified(`the server answered unsigned, which proves nothing, "${text}"`);
  }
  if (!(await signer.verify(signedText, message.signature))) {
    throw unverified('the signature of the reply is wrong: not this server, or another response_key');
  }
  if (message.server_id !== expected.serverId) {
    throw unverified(`the reply comes from server ${message.server_id} instead of ${expected.serverId}`);
  }
  if (message.request_id !== expected.requestId) throw unverified('the reply answers another request');
  const skewMs = Math.abs(message.ts_ms - expected.nowMs);
  if (skewMs > CLIENT_LIMITS.maxReplySkewMs && !(expected.clockUnknown && isStale(message))) {
    throw unverified(`the reply is not fresh: its time is ${skewMs} ms away`);
  }
  return message;
}

function decode(bytes: Uint8Array): Decoded<ResponseMessage> {
  try {
    return decodeResponse(bytes, MESSAGE_LIMITS);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    throw unverified(`the reply is no message of the protocol: ${error.message}`);
  }
}

function unverified(message: string): ClientError {
  return new ClientError('reply_unverified', message);
}

/** Anybody can send an unsigned text: it must not be long or steer a terminal. */
function printable(text: string): string {
  return text.slice(0, 256).replace(/[^ -~]/g, '?');
}

function isStale(reply: ResponseMessage): boolean {
  return !reply.ok && codeOf(reply.error ?? '') === 'stale';
}

/**
 * The `code: message` of a verified reply as an error. A code that this version does not know becomes
 * `internal`, with the whole text as its message.
 */
export function errorOf({ error, result }: ResponseMessage): ProtocolError {
  const text = error ?? '';
  const code = codeOf(text);
  if (code === null) return new ProtocolError('internal', text, result);
  return new ProtocolError(code, text.slice(code.length + 1).trimStart(), result);
}
