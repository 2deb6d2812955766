import { ClientError } from '../errors/index.ts';
import { CLIENT_LIMITS } from '../limits.ts';
import type { ResponseMessage } from '../wire/envelope.ts';
import { abortable, timeLimit } from './abort.ts';
import { type Clock, createServerTime } from './clock.ts';
import type { Credential } from '../wire/credential.ts';
import { errorOf, verifyReply } from './reply.ts';
import { type Call, encode } from './request.ts';
import { createSigner } from './signer.ts';
import type { Transport } from './transport.ts';

/** What a `stale` reply to a call may be believed to say about the clock. */
export interface Trust {
  /** Was `request_id` made for this call? Then no reply to it is older than the call. */
  readonly ownId: boolean;
  /** No `stale` reply has come yet. */
  clockUnknown: boolean;
}

/**
 * One transmission of a call, under a new nonce and time, with a time limit of its own.
 *
 * @returns the verified reply, `ok: true`
 * @throws ProtocolError of a verified refusal; ClientError; RangeError; the reason of `signal`
 */
export type Transmit = (call: Call, trust: Trust, signal: AbortSignal) => Promise<ResponseMessage>;

export function createTransmit(credential: Credential, transport: Transport, clock: Clock): Transmit {
  const signer = createSigner(credential);
  const serverTime = createServerTime(clock);

  async function send(call: Call, trust: Trust, signal: AbortSignal): Promise<ResponseMessage> {
    // randomUUID needs a secure context, but so did the signer.
    const message = { ...call, ts_ms: serverTime.now(), nonce: crypto.randomUUID() };
    const bytes = await encode(message, signer);
    signal.throwIfAborted();
    const bytesBack = await abortable(carry(transport, bytes, signal), signal);
    const { request_id: requestId, server_id: serverId } = call;
    const expected = { requestId, serverId, nowMs: serverTime.now(), clockUnknown: trust.clockUnknown };
    const reply = await verifyReply(bytesBack, expected, signer);
    if (reply.ok) return reply;
    const refusal = errorOf(reply);
    // A recorded `stale` reply must not drag our clock: only one to an id made for this call teaches,
    // for nobody can have recorded it before the call began.
    if (refusal.code === 'stale' && trust.ownId) serverTime.correct(reply.ts_ms);
    throw refusal;
  }

  return async (call, trust, parent) => {
    const limit = timeLimit(CLIENT_LIMITS.attemptTimeoutMs, parent);
    try {
      return await send(call, trust, limit.signal);
    } finally {
      limit.end();
    }
  };
}

/** Whatever a transport throws is a failure of the connection. */
async function carry(
  transport: Transport,
  bytes: Uint8Array<ArrayBuffer>,
  signal: AbortSignal,
): Promise<Uint8Array> {
  try {
    return await transport(bytes, { signal });
  } catch (error) {
    if (error instanceof ClientError) throw error;
    const what = error instanceof Error ? error.message : String(error);
    throw new ClientError('connection', `the transport failed: ${what}`, { cause: error });
  }
}
