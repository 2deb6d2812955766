import { createHmac, randomUUID } from 'node:crypto';
import canonicalize from 'canonicalize';
import type { Credential } from '../../src/transports/index.ts';
import type { JsonObject, RequestMessage, ResponseMessage } from '../../src/wire/index.ts';

/**
 * Messages signed and verified without the code under test: node:crypto for the MAC and another
 * library for the canonical form.
 */

export type Members = Partial<RequestMessage>;

/** A signed request. `members` take the place of the defaults and are signed; `signature` is not. */
export function request(credential: Credential, tool: string, args: JsonObject, members: Members): Buffer {
  const { client_id, server_id } = credential;
  const { signature, ...rest } = members;
  const call = {
    v: 'mcp/0.1',
    request_id: randomUUID(),
    client_id,
    server_id,
    tool,
    args,
    nonce: randomUUID(),
  };
  const message = { ...call, ...rest };
  return Buffer.from(
    JSON.stringify({ ...message, signature: signature ?? macOf(message, credential.request_key) }),
  );
}

/** @throws unless the reply is signed right and answers for this server */
export function verifiedReply(body: string, credential: Credential): ResponseMessage {
  const { signature, ...message } = JSON.parse(body) as ResponseMessage;
  if (signature !== macOf(message, credential.response_key)) throw new Error(`not signed right: ${body}`);
  if (message.server_id !== credential.server_id) throw new Error(`of another server: ${body}`);
  return { ...message, signature };
}

/** @throws unless the reply is an unsigned refusal */
export function unsignedReply(body: string): ResponseMessage {
  const message = JSON.parse(body) as ResponseMessage;
  if (message.signature !== '' || message.ok) throw new Error(`not an unsigned refusal: ${body}`);
  return message;
}

export function macOf(message: object, key: string): string {
  return createHmac('sha256', key).update(canonicalText(message)).digest('hex');
}

export function canonicalText(value: object): string {
  const text = canonicalize(value);
  if (text === undefined) throw new TypeError('has no canonical form');
  return text;
}
