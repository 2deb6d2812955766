import { ProtocolError } from '../errors/index.ts';
import type { Decoded, RequestMessage } from '../wire/index.ts';
import { verifyAmong } from '../wire/algorithms.ts';
import type { Client, Generation, KeyRing } from './clients/key-ring.ts';

declare const verified: unique symbol;

/** A message whose MAC holds: what it says, its client said. */
export interface Verified {
  readonly [verified]: true;
  readonly codec: Decoded<RequestMessage>['codec'];
  readonly message: RequestMessage;
  readonly signedText: string;
  readonly client: Client;
  /** The one that the message was signed under. */
  readonly generation: Generation;
}

/**
 * Step 2 (docs/protocol.md §3, §4).
 *
 * @throws ProtocolError `bad_signature`: one constant, after the same time, for an unknown client and a wrong MAC
 */
export function verify({ codec, message, signedText }: Decoded<RequestMessage>, ring: KeyRing): Verified {
  const client = ring.find(message.client_id);
  const { requestKeys, algorithm } = client ?? NOBODY;
  // Always: what stands behind `client?.` would be left out for an unknown client, and the time would tell.
  const fitting = verifyAmong(signedText, message.signature, requestKeys, algorithm);
  const generation = client?.generations[fitting];
  if (client === null || generation === undefined) {
    throw new ProtocolError('bad_signature', 'unknown client or wrong signature');
  }
  // The only place that makes a Verified, and the MAC has just held.
  return { codec, message, signedText, client, generation } as Verified;
}

const NOBODY: Pick<Client, 'requestKeys' | 'algorithm'> = { requestKeys: [], algorithm: 'hmac-sha256' };
