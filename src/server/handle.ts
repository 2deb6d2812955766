import { randomUUID } from 'node:crypto';
import { busy, ProtocolError, StoreError } from '../errors/index.ts';
import type { Outcome } from '../store/index.ts';
import { decodeRequest, EnvelopeError } from '../wire/index.ts';
import { type AdmitContext, admit } from './admit.ts';
import { authorize, type Policy } from './authorize.ts';
import { type DispatchContext, dispatch } from './dispatch.ts';
import type { KeyRing } from './key-ring.ts';
import { refused } from './outcome.ts';
import { type Addressee, type Reply, reply, STRANGER } from './reply.ts';
import { verify } from './verify.ts';

export interface HandleContext extends AdmitContext, DispatchContext {
  readonly keyRing: KeyRing;
  readonly policy: Policy | null;
  readonly maxCallsInFlight: number;
}

export interface Pipeline {
  /** One message in, one message out; never rejects. */
  handle(bytes: Uint8Array): Promise<Reply>;
  /** The unsigned reply to something that is not a message, such as a body of another media type. */
  refuse(error: ProtocolError): Reply;
  /** Calls under way. */
  readonly inFlight: number;
}

/** The way of a request (docs/protocol.md §4). Each step takes only what the step before returns. */
export function createPipeline(context: HandleContext): Pipeline {
  const { keyRing, registry, policy, messageLimits } = context;
  let inFlight = 0;

  async function handle(bytes: Uint8Array): Promise<Reply> {
    let to = STRANGER;
    inFlight++;
    try {
      const received = decodeRequest(bytes, messageLimits);
      to = { codec: received.codec, requestId: received.message.request_id, key: null };
      const verified = verify(received, keyRing);
      to = { ...to, key: verified.keys.response[0] };
      if (context.draining.aborted) throw busy('the server is shutting down', 1_000);
      if (inFlight > context.maxCallsInFlight) throw busy('too many calls at once', 1_000);
      const fresh = await admit(verified, context);
      const outcome = fresh.known ?? (await dispatch(await authorize(fresh, policy, registry), context));
      return answer(outcome, to);
    } catch (error) {
      if (error instanceof EnvelopeError) to = { ...to, requestId: error.requestId };
      return refuse(error, to);
    } finally {
      inFlight--;
    }
  }

  /** A refusal holds words of a tool or a policy, which no reply may be able to carry: then it is `internal`. */
  function refuse(error: unknown, to: Addressee): Reply {
    try {
      return answer(refused(protocolErrorOf(error, to)), to);
    } catch (unsendable) {
      return answer(refused(protocolErrorOf(unsendable, to)), to);
    }
  }

  /** The only place where unknown errors become known ones. */
  function protocolErrorOf(error: unknown, to: Addressee): ProtocolError {
    if (error instanceof ProtocolError) return error;
    if (error instanceof StoreError) {
      context.log.error({ err: error, cause: error.cause }, 'the store failed');
      return busy('the store cannot be used', 1_000);
    }
    const id = randomUUID();
    context.log.error({ err: error, error_id: id, request_id: to.requestId }, 'call failed');
    return new ProtocolError('internal', `the server failed; error id ${id}`);
  }

  function answer(outcome: Outcome, to: Addressee): Reply {
    return reply(outcome, to, context.serverId, context.now(), messageLimits);
  }

  return {
    handle,
    refuse: (error) => answer(refused(error), STRANGER),
    get inFlight() {
      return inFlight;
    },
  };
}
