import type { ProtocolError } from '../errors/index.ts';
import type { Outcome } from '../store/index.ts';
import { decodeRequest, EnvelopeError } from '../wire/index.ts';
import { type AdmitContext, admit } from './admit.ts';
import { authorize, type Policy } from './authorize.ts';
import { type DispatchContext, dispatch } from './dispatch.ts';
import { type FlightLimits, refuseWhenBusy } from './flights.ts';
import type { KeyRing } from './key-ring.ts';
import { knownError } from './known-error.ts';
import { refused } from './outcome.ts';
import { type Addressee, type Reply, reply, STRANGER } from './reply.ts';
import { verify } from './verify.ts';

export interface HandleContext extends AdmitContext, DispatchContext, FlightLimits {
  readonly keyRing: KeyRing;
  readonly policy: Policy | null;
}

export interface Pipeline {
  /** One message in, one message out; never rejects. */
  handle(bytes: Uint8Array): Promise<Reply>;
  /** The unsigned reply to something that is not a message, such as a body of another media type. */
  refuse(error: ProtocolError): Reply;
}

/** The way of a request (docs/protocol.md §4). Each step takes only what the step before returns. */
export function createPipeline(context: HandleContext): Pipeline {
  const { keyRing, registry, policy, messageLimits, flights, log } = context;

  async function handle(bytes: Uint8Array): Promise<Reply> {
    let to = STRANGER;
    flights.open++;
    try {
      const received = decodeRequest(bytes, messageLimits);
      to = { codec: received.codec, requestId: received.message.request_id, key: null };
      const verified = verify(received, keyRing);
      to = { ...to, key: verified.keys.response[0] };
      refuseWhenBusy(context);
      const fresh = await admit(verified, context);
      const outcome = fresh.known ?? (await dispatch(await authorize(fresh.call, policy, registry), context));
      return answer(outcome, to);
    } catch (error) {
      if (error instanceof EnvelopeError) to = { ...to, requestId: error.requestId };
      return refuse(error, to);
    } finally {
      flights.open--;
    }
  }

  /** A refusal holds words of a tool or a policy, which no reply may be able to carry: then it is `internal`. */
  function refuse(error: unknown, to: Addressee): Reply {
    try {
      return answer(refused(knownError(error, log, to.requestId)), to);
    } catch (unsendable) {
      return answer(refused(knownError(unsendable, log, to.requestId)), to);
    }
  }

  function answer(outcome: Outcome, to: Addressee): Reply {
    return reply(outcome, to, context.serverId, context.now(), messageLimits);
  }

  return { handle, refuse: (error) => answer(refused(error), STRANGER) };
}
