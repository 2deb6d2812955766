import { ProtocolError } from '../errors/index.ts';
import type { Decoded, RequestMessage } from '../wire/index.ts';
import { sign, verify as verifySignature } from '../wire/signature.ts';
import type { ClientKeys, KeyRing } from './key-ring.ts';

/** Keys that a slot holds at most (docs/protocol.md §3). */
const MAX_KEYS = 2;

declare const verified: unique symbol;

/** A message whose MAC holds: what it says, its client said. */
export interface Verified {
  readonly [verified]: true;
  readonly codec: Decoded<RequestMessage>['codec'];
  readonly message: RequestMessage;
  readonly keys: ClientKeys;
}

/**
 * Step 2 (docs/protocol.md §3, §4).
 *
 * @throws ProtocolError `bad_signature`: one constant for an unknown client and a wrong MAC
 */
export function verify({ codec, message, signedText }: Decoded<RequestMessage>, ring: KeyRing): Verified {
  const { keys, known } = ring.find(message.client_id);
  const { request } = keys;
  const holds = verifySignature(signedText, message.signature, request);
  // A client in the middle of a rotation has two keys: each refusal takes as long as its, or the time would
  // tell that there is such a client.
  if (!holds) for (let i = request.length; i < MAX_KEYS; i++) sign(signedText, keys.response[0]);
  if (!holds || !known) throw new ProtocolError('bad_signature', 'unknown client or wrong signature');
  // The only place that makes a Verified, and the MAC has just held.
  return { codec, message, keys } as Verified;
}
