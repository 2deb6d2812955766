import type { SdkError } from '@modelcontextprotocol/client';
import { busy, ToolError } from '../../errors/index.ts';
import { SERVER_LIMITS, TOOL_LIMITS } from '../../limits.ts';
import { isObject } from '../../wire/index.ts';
import { BROKEN } from './http-transport.ts';
import type { Sdk } from './sdk.ts';
import { shorten } from './talk.ts';

/** The foreign server did not take the call: it has lost our session, or cannot be reached. */
export class NotTaken extends Error {
  override readonly name = 'NotTaken';
}

/** Codes of JSON-RPC: what is wrong with the call itself will be wrong the next time too. */
const INVALID_PARAMS = -32_602;
/** It wants an answer of a person or a model first, of the client or at an address. */
const ASKS: ReadonlySet<number> = new Set([-32_021, -32_042]);
const INTERNAL = -32_603;
/** Of the implementation's own making. */
const isServerError = (code: number): boolean => code >= -32_019 && code <= -32_000;

/**
 * What the official client threw during a call, as a tool says it.
 *
 * @param over why the session is over, `null` if it is not
 */
export function failureOf(error: unknown, sdk: Sdk, over: string | null): unknown {
  if (error instanceof sdk.ProtocolError && error.code !== BROKEN) return answeredError(error);
  if (error instanceof sdk.SdkHttpError) return httpError(error);
  // `fetch` says no more than "fetch failed"; its cause tells whether anybody was there.
  if (error instanceof TypeError && isObject(error.cause) && UNHEARD.has(error.cause['code']))
    return new NotTaken(String(error.cause['code']), { cause: error });
  const isInvalid = error instanceof sdk.SdkError && INVALID.has(error.code);
  if (isInvalid) return invalidResult(error, sdk);
  return new ToolError(`the wrapped server ${over ?? 'broke the connection'} during the call`, {
    cause: error,
    retryable: true,
  });
}

function answeredError(error: Error & { readonly code: number }): ToolError {
  const { code, message } = error;
  if (code === INVALID_PARAMS)
    return new ToolError(shorten(message, TOOL_LIMITS.maxMessageChars), { cause: error });
  if (ASKS.has(code)) return asksTooMuch(error);
  // What it says is for its own log: it may tell of its inside.
  const retryable = code === INTERNAL || isServerError(code);
  return new ToolError(`the wrapped server failed with JSON-RPC error ${code}`, { cause: error, retryable });
}

function httpError(error: Error & { readonly data: { readonly status?: number } }): Error {
  const status = error.data.status ?? 0;
  if (status === 400 || status === 404) return new NotTaken(`HTTP status ${status}`, { cause: error });
  if (status === 429 || status === 503) return busy('the wrapped server is busy', SERVER_LIMITS.fullRetryMs);
  const hint = status === 401 || status === 403 ? ': is its token right?' : '';
  const message = `the wrapped server answered with HTTP status ${status}${hint}`;
  return new ToolError(message, { cause: error, retryable: status >= 500 });
}

/** Codes of the client for an answer that came, and is none. */
const INVALID: ReadonlySet<string> = new Set(['INVALID_RESULT', 'UNSUPPORTED_RESULT_TYPE']);

/** Nobody has heard the call. */
const UNHEARD: ReadonlySet<unknown> = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'UND_ERR_CONNECT_TIMEOUT',
]);

/** Why `fetch` reached nobody, which only the causes of its error tell; `null` for other errors. */
export function unreachable(error: unknown): string | null {
  if (!(error instanceof Error) || !(error.cause instanceof Error)) return null;
  const { cause } = error;
  if (!(error instanceof TypeError)) return unreachable(cause);
  return `it cannot be reached: ${'code' in cause ? String(cause.code) : cause.message}`;
}

function asksTooMuch(cause: unknown): ToolError {
  return new ToolError('the wrapped server asks for what waybill wrap does not offer', { cause });
}

function invalidResult(error: SdkError, { SdkErrorCode }: Sdk): ToolError {
  if (error.code === SdkErrorCode.UnsupportedResultType) return asksTooMuch(error);
  return new ToolError('the wrapped server did not answer with the result of a tool', { cause: error });
}
