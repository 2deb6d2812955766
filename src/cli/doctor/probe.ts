import { SYSTEM_CLOCK } from '../../client/clock.ts';
import { prepare } from '../../client/request.ts';
import { kindOf, retryDelayMs, type Setback } from '../../client/retry.ts';
import { createSigner } from '../../client/signer.ts';
import { createTransmit } from '../../client/transmit.ts';
import { fetchTransport } from '../../client/transport.ts';
import { ClientError, ProtocolError } from '../../errors/index.ts';
import { MESSAGE_LIMITS } from '../../limits.ts';
import { decodeResponse, type JsonObject, type ResponseMessage } from '../../wire/index.ts';
import type { PlacedCredential } from '../../wire/credential.ts';
import { wrongUse } from '../exits.ts';

/** One reply as it came, before anything of it is believed. */
interface Sight {
  readonly bytes: Uint8Array;
  /** In the middle between sending and receiving, by the clock of this machine. */
  readonly atMs: number;
}

/** A reply that could be read. */
export interface Seen {
  readonly message: ResponseMessage;
  /** Does its signature hold under the response key? */
  readonly holds: boolean;
}

/** What became of one signed call, transmitted until it was clear. */
export interface Probe {
  readonly result: JsonObject | null;
  /** What ended it, if it did not end well. */
  readonly setback: Setback | null;
  /** The last reply; null if none came, or none that is a message. */
  readonly seen: Seen | null;
  /** Clock of this machine minus that of the server, at the first reply that is proven to be its own. */
  readonly aheadMs: number | null;
  /** The first transmission was refused as `stale`. */
  readonly wasStale: boolean;
}

/** Setbacks that a call meets as well, and that a second look can change. The others are the answer. */
const LOOK_AGAIN: ReadonlySet<string> = new Set(['stale', 'reply_unverified']);

/**
 * Sends one signed call and keeps what `createClient` hides: the replies that it does not believe, and the clock.
 *
 * @param timeoutMs of all of it
 * @throws Failure `wrongUse` for arguments that no message can carry; the reason of `signal`
 */
export async function probe(
  credential: PlacedCredential,
  tool: string,
  args: JsonObject,
  { timeoutMs, signal }: { readonly timeoutMs: number; readonly signal: AbortSignal },
): Promise<Probe> {
  const sights: Sight[] = [];
  const { client_id, server_id } = credential;
  const transmit = createTransmit(credential, recording(credential.url, sights), SYSTEM_CLOCK);
  const trust = { ownId: true, clockUnknown: true };
  const limit = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
  const met = new Map<string, number>();
  for (;;) {
    try {
      const call = prepare({ request_id: crypto.randomUUID(), client_id, server_id, tool, args });
      const { result } = await transmit(call, trust, limit);
      return { result, setback: null, ...(await look(sights, credential)), wasStale: met.has('stale') };
    } catch (error) {
      signal.throwIfAborted();
      const setback = setbackOf(error, timeoutMs);
      const kind = kindOf(setback);
      const nth = (met.get(kind) ?? 0) + 1;
      met.set(kind, nth);
      const delayMs = LOOK_AGAIN.has(kind) ? retryDelayMs(setback, nth, false) : null;
      if (delayMs === null)
        return { result: null, setback, ...(await look(sights, credential)), wasStale: met.has('stale') };
      if (kind === 'stale') trust.clockUnknown = false;
      await SYSTEM_CLOCK.sleep(delayMs, signal);
    }
  }
}

function recording(url: string, sights: Sight[]): ReturnType<typeof fetchTransport> {
  const carry = fetchTransport(url);
  return async (bytes, options) => {
    const sentMs = Date.now();
    const reply = await carry(bytes, options);
    sights.push({ bytes: reply, atMs: (sentMs + Date.now()) / 2 });
    return reply;
  };
}

function setbackOf(error: unknown, timeoutMs: number): Setback {
  if (error instanceof ClientError || error instanceof ProtocolError) return error;
  if (error instanceof DOMException) return new ClientError('timeout', `no answer within ${timeoutMs} ms`);
  throw wrongUse(error);
}

async function look(
  sights: readonly Sight[],
  credential: PlacedCredential,
): Promise<Pick<Probe, 'seen' | 'aheadMs'>> {
  const signer = createSigner(credential);
  let seen: Seen | null = null;
  let aheadMs: number | null = null;
  for (const { bytes, atMs } of sights) {
    seen = null;
    try {
      const { message, signedText } = decodeResponse(bytes, MESSAGE_LIMITS);
      seen = {
        message,
        holds: message.signature !== '' && (await signer.verify(signedText, message.signature)),
      };
    } catch (error) {
      // Not a message: nothing is seen in it.
      if (!(error instanceof ProtocolError)) throw error;
    }
    if (seen?.holds === true) aheadMs ??= Math.round(atMs - seen.message.ts_ms);
  }
  return { seen, aheadMs };
}
