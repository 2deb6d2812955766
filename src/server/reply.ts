import type { KeyObject } from 'node:crypto';
import type { MessageLimits } from '../limits.ts';
import type { Outcome } from '../store/index.ts';
import { type Codec, DEFAULT_CODEC, NO_REQUEST_ID, withSignature } from '../wire/index.ts';
import { sign } from '../wire/signature.ts';
import { httpStatusOf } from './outcome.ts';

/** What goes back on the wire. */
export interface Reply {
  /** The message as text; a transport sends it as UTF-8. */
  readonly body: string;
  /** For transports that have a status (docs/protocol.md §9). */
  readonly httpStatus: number;
}

/** Where a reply goes: what it echoes, and the key that signs it; `null` before the MAC holds. */
export interface Addressee {
  readonly codec: Codec;
  readonly requestId: string;
  readonly key: KeyObject | null;
}

/** Of whoever sent bytes that show no request_id. */
export const STRANGER: Addressee = { codec: DEFAULT_CODEC, requestId: NO_REQUEST_ID, key: null };

/**
 * Outcome → signed bytes (docs/protocol.md §2).
 *
 * @throws CanonicalJsonError, RangeError for a result that no message can carry
 */
export function reply(
  outcome: Outcome,
  { codec, requestId, key }: Addressee,
  serverId: string,
  nowMs: number,
  limits: MessageLimits,
): Reply {
  const { ok, status, result, error } = outcome;
  const message = {
    v: codec.v,
    request_id: requestId,
    ts_ms: nowMs,
    server_id: serverId,
    ok,
    status,
    result,
    error,
  };
  const count = { members: 0 };
  const text = codec.responseText(message, count);
  if (count.members > limits.maxMembers) throw new RangeError(`the result has ${count.members} members`);
  const body = withSignature(text, key === null ? '' : sign(text, key));
  // UTF-8 takes at most three bytes for a UTF-16 unit: most replies need no count.
  if (body.length * 3 > limits.maxMessageBytes && Buffer.byteLength(body) > limits.maxMessageBytes) {
    throw new RangeError(`the result makes a message of ${Buffer.byteLength(body)} bytes`);
  }
  return { body, httpStatus: httpStatusOf(outcome) };
}
