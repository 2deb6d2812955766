import { ClientError, ProtocolError } from '../errors/index.ts';
import type { ResponseMessage } from '../wire/envelope.ts';
import { timeLimit } from './abort.ts';
import type { Clock } from './clock.ts';
import type { Credential } from '../wire/credential.ts';
import { prepare } from './request.ts';
import { uuidv7 } from './request-id.ts';
import { kindOf, retryDelayMs, type Setback } from './retry.ts';
import { createTransmit } from './transmit.ts';
import type { Transport } from './transport.ts';

export interface ExchangeOptions {
  /** Rejects with `signal.reason`; nothing is sent after it aborts. */
  readonly signal?: AbortSignal | undefined;
  /** One request and its retries, in milliseconds. Default 60 000. */
  readonly timeoutMs?: number | undefined;
}

export interface InnerOptions extends ExchangeOptions {
  readonly requestId?: string | undefined;
  /** Keep trying until the time is over, see retry.ts. */
  readonly persistent?: boolean;
}

/**
 * One logical call: transmitted until a reply can be believed, under one `request_id`.
 *
 * @returns the verified reply, `ok: true`
 * @throws ProtocolError when the server refused; ClientError when no reply could be trusted;
 * TypeError or RangeError for what cannot be sent; the reason of `signal`
 */
export type Exchange = (tool: string, args: object, options?: InnerOptions) => Promise<ResponseMessage>;

/** The longest time that timers can hold. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

/** @param defaultMs `timeoutMs` of a call that names none */
export function createExchange(
  credential: Credential,
  transport: Transport,
  clock: Clock,
  defaultMs: number,
): Exchange {
  const { client_id, server_id } = credential;
  const transmit = createTransmit(credential, transport, clock);

  async function exchange(tool: string, args: object, options: InnerOptions = {}): Promise<ResponseMessage> {
    const { requestId, signal, persistent = false } = options;
    const request_id = requestId ?? uuidv7(clock.now());
    const call = prepare({ request_id, client_id, server_id, tool, args });
    const trust = { ownId: requestId === undefined, clockUnknown: true };
    const limit = timeLimit(checkTimeout(options.timeoutMs ?? defaultMs), signal);
    const met = new Map<string, number>();
    let last: Setback | null = null;
    try {
      for (;;) {
        try {
          return await transmit(call, trust, limit.signal);
        } catch (error) {
          if (signal?.aborted) throw signal.reason;
          if (limit.signal.aborted) throw timeoutAfter(last, limit.signal.reason);
          last = asSetback(error);
        }
        const kind = kindOf(last);
        const nth = (met.get(kind) ?? 0) + 1;
        met.set(kind, nth);
        const delayMs = retryDelayMs(last, nth, persistent);
        if (delayMs === null || delayMs >= limit.leftMs()) throw last;
        if (kind === 'stale') {
          trust.clockUnknown = false;
          // An id that was used before may get a reply from then: ask the time under one that was not.
          if (!trust.ownId) await exchange('server_identity', {}, { signal: limit.signal });
        }
        await clock.sleep(delayMs, limit.signal);
      }
    } finally {
      limit.end();
    }
  }

  return exchange;
}

/** What a retry may mend; anything else is thrown on. */
function asSetback(error: unknown): Setback {
  if (error instanceof ClientError || error instanceof ProtocolError) return error;
  throw error;
}

/** The end of the time, with what had happened before it. */
function timeoutAfter(last: Setback | null, reason: unknown): unknown {
  if (!(reason instanceof ClientError) || last === null) return reason;
  return new ClientError(reason.kind, `${reason.message}; before that: ${last.message}`, { cause: last });
}

/** @throws RangeError */
export function checkTimeout(timeoutMs: number): number {
  if (Number.isInteger(timeoutMs) && timeoutMs >= 1 && timeoutMs <= MAX_TIMEOUT_MS) return timeoutMs;
  throw new RangeError(`timeoutMs must be an integer from 1 to ${MAX_TIMEOUT_MS}`);
}
