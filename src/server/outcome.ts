import { codeOf, factsOf, type ProtocolError } from '../errors/index.ts';
import { SERVER_LIMITS } from '../limits.ts';
import type { Outcome } from '../store/index.ts';
import type { JsonObject } from '../wire/index.ts';

/** A direct call that ended well. */
export function completed(result: Readonly<Record<string, unknown>>): Outcome {
  // Signing walks the whole result and refuses what is not JSON.
  return { ok: true, status: 'ok', result: result as JsonObject, error: null };
}

/** A job that is durable (docs/protocol.md §6). */
export function accepted(jobId: string): Outcome {
  const result = { job_id: jobId, poll_after_ms: SERVER_LIMITS.pollAfterMs };
  return { ok: true, status: 'accepted', result, error: null };
}

/** The request was refused (docs/protocol.md §8). */
export function refused(error: ProtocolError): Outcome {
  // As in `completed`.
  return { ok: false, status: 'error', result: error.result as JsonObject | null, error: error.text };
}

/** The request was handled: the tool ran, and failed with words for its caller. */
export function failed(error: string): Outcome {
  return { ok: true, status: 'error', result: null, error };
}

/** HTTP status of an outcome (docs/protocol.md §9). */
export function httpStatusOf({ ok, status, error }: Outcome): number {
  if (ok) return status === 'accepted' ? 202 : 200;
  return factsOf(codeOf(error ?? '') ?? 'internal').httpStatus;
}
