import type { AuditLog } from '../audit/index.ts';
import type { ProtocolError } from '../errors/index.ts';
import type { Outcome } from '../store/index.ts';
import { inTurns } from '../turns.ts';
import { EnvelopeError, readRequest, type ReadRequest, withSignedText } from '../wire/index.ts';
import { type AdmitContext, admit } from './admit.ts';
import { recordReply, refuseUnaudited, unaudited } from './audit-calls.ts';
import { authorize, type Policy } from './authorize.ts';
import { type DispatchContext, dispatch } from './dispatch.ts';
import { type FlightLimits, isFlood, refuseWhenBusy } from './flights.ts';
import type { KeyRing } from './clients/key-ring.ts';
import { knownError } from './known-error.ts';
import { refused } from './outcome.ts';
import { isRefusal } from './refusal.ts';
import { type Addressee, type Reply, reply, type Signed, STRANGER } from './reply.ts';
import { type Verified, verify } from './verify.ts';

export interface HandleContext extends AdmitContext, DispatchContext, FlightLimits {
  readonly keyRing: KeyRing;
  readonly policy: Policy | null;
  /** `null`: nothing is recorded. */
  readonly audit: AuditLog | null;
}

/** Who is answered, as far as it is known. */
interface Peer {
  to: Addressee;
  /** `null` before the MAC holds. */
  verified: Verified | null;
  /** Was the call refused before anything of it was done? */
  isRefused: boolean;
  /** Has it a place in the audit? */
  isRecorded: boolean;
}

export interface Pipeline {
  /** One message in, one message out; never rejects. */
  handle(bytes: Uint8Array): Promise<Reply>;
  /** The unsigned reply to something that is not a message, such as a body of another media type. */
  refuse(error: ProtocolError): Reply;
}

/** The way of a request (docs/protocol.md §4). Each step takes only what the step before returns. */
export function createPipeline(context: HandleContext): Pipeline {
  const { keyRing, messageLimits, flights, log, audit } = context;

  async function handle(bytes: Uint8Array): Promise<Reply> {
    const peer: Peer = { to: STRANGER, verified: null, isRefused: false, isRecorded: false };
    flights.open++;
    try {
      const signed = await answerTo(bytes, peer);
      const { to, verified, isRefused, isRecorded } = peer;
      if (audit === null || verified === null || !isRecorded) return signed.reply;
      if (isRefused && !audit.admitsRefusal(verified.client.id)) return signed.reply;
      try {
        // The last step: a reply leaves when it is in the audit, and no earlier.
        await recordReply(audit, verified, signed);
        return signed.reply;
      } catch {
        return refuse(unaudited(), to).reply;
      }
    } finally {
      flights.open--;
    }
  }

  function read(bytes: Uint8Array, peer: Peer): ReadRequest {
    const received = readRequest(bytes, messageLimits);
    const { codec, message } = received;
    peer.to = { codec, requestId: message.request_id, signer: null };
    return received;
  }

  function authenticate(received: ReadRequest, peer: Peer): Verified {
    const verified = verify(withSignedText(received), keyRing);
    const { codec, message, generation } = verified;
    peer.verified = verified;
    peer.to = { codec, requestId: message.request_id, signer: generation };
    return verified;
  }

  async function answerTo(bytes: Uint8Array, peer: Peer): Promise<Signed> {
    try {
      const verifying = inTurns(
        bytes.byteLength,
        () => read(bytes, peer),
        (received) => authenticate(received, peer),
      );
      // Small ones are let in in the order in which they came.
      const verified = verifying instanceof Promise ? await verifying : verifying;
      // Nothing is waited for between the two: such a call has done nothing.
      peer.isRecorded = !isFlood(context);
      refuseWhenBusy(context);
      if (audit?.isDown === true) await refuseUnaudited(audit);
      const fresh = await admit(verified, context);
      const outcome = fresh.known ?? (await dispatch(await authorize(fresh.call, context), context));
      return answer(outcome, peer.to);
    } catch (error) {
      if (error instanceof EnvelopeError) peer.to = { ...peer.to, requestId: error.requestId };
      peer.isRefused = isRefusal(error);
      return refuse(error, peer.to);
    }
  }

  /** A refusal holds words of a tool or a policy, which no reply may be able to carry: then it is `internal`. */
  function refuse(error: unknown, to: Addressee): Signed {
    try {
      return answer(refused(knownError(error, log, to.requestId)), to);
    } catch (unsendable) {
      return answer(refused(knownError(unsendable, log, to.requestId)), to);
    }
  }

  function answer(outcome: Outcome, to: Addressee): Signed {
    return reply(outcome, to, context.serverId, context.now(), messageLimits);
  }

  return { handle, refuse: (error) => answer(refused(error), STRANGER).reply };
}
