import { type ClientErrorKind, ClientError, type Code, type ProtocolError } from '../errors/index.ts';
import { CLIENT_LIMITS } from '../limits.ts';

/** What may keep a transmission from being the answer to its call. */
export type Setback = ClientError | ProtocolError;

const { attempts, unverifiedAttempts } = CLIENT_LIMITS;
const UNTIL_TIME_IS_OVER = Number.POSITIVE_INFINITY;

/** How often one kind of setback is met before it ends the call; any other code ends it at once. */
const ATTEMPTS: Readonly<Partial<Record<ClientErrorKind | Code, number>>> = {
  connection: attempts,
  timeout: attempts,
  // Not one: whoever can send one forged reply must not be able to end a call with it.
  reply_unverified: unverifiedAttempts,
  // The first corrects the clock; a second says that this does not help (docs/protocol.md §5).
  stale: 2,
  // The bytes arrived twice; under a new nonce they are an honest retry.
  replayed: attempts,
  // The call is alive: its outcome is worth all the time that the caller has.
  in_progress: UNTIL_TIME_IS_OVER,
  rate_limited: attempts,
  busy: attempts,
};

/** What says nothing of the call itself, only that the server is out of reach for the moment. */
const PASSING: ReadonlySet<string> = new Set(['connection', 'timeout', 'rate_limited', 'busy']);

/**
 * How long to wait before the same call is transmitted again, in milliseconds; null: it should not be.
 *
 * @param nth how often this call met this kind of setback, this one included
 * @param persistent the server has the job that is asked about: be patient for all of the time
 * @param random from 0 up to 1
 */
export function retryDelayMs(
  setback: Setback,
  nth: number,
  persistent: boolean,
  random: number = Math.random(),
): number | null {
  const kind = kindOf(setback);
  const most = persistent && PASSING.has(kind) ? UNTIL_TIME_IS_OVER : (ATTEMPTS[kind] ?? 0);
  if (nth >= most) return null;
  const asked = setback instanceof ClientError ? null : setback.result?.['retry_after_ms'];
  // Never before the time that the server named; spread over a quarter, so that not all come back at once.
  if (typeof asked === 'number' && asked >= 0) return asked * (1 + random / 4);
  return Math.min(CLIENT_LIMITS.backoffMs * 2 ** (nth - 1), CLIENT_LIMITS.maxBackoffMs) * (0.75 + random / 2);
}

export function kindOf(setback: Setback): ClientErrorKind | Code {
  return setback instanceof ClientError ? setback.kind : setback.code;
}
