import { ProtocolError } from '../errors/index.ts';
import type { Decoded, RequestMessage } from '../wire/index.ts';
import { verify as verifySignature } from '../wire/signature.ts';
import type { ClientKeys, KeyRing } from './key-ring.ts';

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
  const holds = verifySignature(signedText, message.signature, keys.request);
  if (!holds || !known) throw new ProtocolError('bad_signature', 'unknown client or wrong signature');
  // The only place that makes a Verified, and the MAC has just held.
  return { codec, message, keys } as Verified;
}
