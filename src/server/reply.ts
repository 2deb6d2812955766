import type { MessageLimits } from '../limits.ts';
import type { Outcome } from '../store/index.ts';
import { type Codec, DEFAULT_CODEC, NO_REQUEST_ID, withSignature } from '../wire/index.ts';
import type { Generation } from './clients/key-ring.ts';
import { httpStatusOf } from './outcome.ts';

/** What goes back on the wire. */
export interface Reply {
  /** The message as text; a transport sends it as UTF-8. */
  readonly body: string;
  /** For transports that have a status (docs/protocol.md §9). */
  readonly httpStatus: number;
}

/** A reply, and what the audit holds of it. */
export interface Signed {
  readonly reply: Reply;
  readonly outcome: Outcome;
  /** What its signature covers. */
  readonly text: string;
}

/** Where a reply goes: what it echoes, and who signs it; `null` before the MAC holds. */
export interface Addressee {
  readonly codec: Codec;
  readonly requestId: string;
  readonly signer: Pick<Generation, 'sign'> | null;
}

/** Of whoever sent bytes that show no request_id. */
export const STRANGER: Addressee = { codec: DEFAULT_CODEC, requestId: NO_REQUEST_ID, signer: null };

/**
 * Outcome → signed bytes (docs/protocol.md §2).
 *
 * @throws CanonicalJsonError, RangeError for a result that no message can carry
 */
export function reply(
  outcome: Outcome,
  { codec, requestId, signer }: Addressee,
  serverId: string,
  nowMs: number,
  limits: MessageLimits,
): Signed {
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
  const body = withSignature(text, signer === null ? '' : signer.sign(text));
  // UTF-8 takes at most three bytes for a UTF-16 unit: most replies need no count.
  if (body.length * 3 > limits.maxMessageBytes && Buffer.byteLength(body) > limits.maxMessageBytes) {
    throw new RangeError(`the result makes a message of ${Buffer.byteLength(body)} bytes`);
  }
  return { reply: { body, httpStatus: httpStatusOf(outcome) }, outcome, text };
}
