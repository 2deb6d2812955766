/** What the protocol says of one error code (docs/protocol.md §8). */
export interface CodeFacts {
  /** HTTP status of the reply that refuses a request with this code. */
  readonly httpStatus: number;
  /** May the same call (same `request_id`, new nonce and time) succeed later? */
  readonly retryable: boolean;
  /** `false`: sent before the MAC holds, so the reply carries no signature. */
  readonly signed: boolean;
  readonly meaning: string;
}

/**
 * The one table of error codes: code → HTTP status → retryable → meaning.
 * `docs/reference/errors.md` is checked against it in both directions.
 */
export const CODES = {
  bad_envelope: {
    httpStatus: 400,
    retryable: false,
    signed: false,
    meaning: 'The bytes are not one well-formed request message.',
  },
  too_large: {
    httpStatus: 413,
    retryable: false,
    signed: false,
    meaning: 'The message is larger than the server reads.',
  },
  unsupported_media_type: {
    httpStatus: 415,
    retryable: false,
    signed: false,
    meaning: 'The body is not declared as application/json.',
  },
  bad_signature: {
    httpStatus: 401,
    retryable: false,
    signed: false,
    meaning: 'The client is unknown or the signature is wrong; the reply never says which.',
  },
  wrong_server: {
    httpStatus: 421,
    retryable: false,
    signed: true,
    meaning: 'The request is addressed to another server_id.',
  },
  stale: {
    httpStatus: 400,
    retryable: true,
    signed: true,
    meaning: 'ts_ms is outside the time window; ts_ms of the reply is the clock of the server.',
  },
  replayed: {
    httpStatus: 409,
    retryable: true,
    signed: true,
    meaning: 'This nonce was used before; an honest retry takes a new one.',
  },
  in_progress: {
    httpStatus: 409,
    retryable: true,
    signed: true,
    meaning: 'The same request_id is still running.',
  },
  request_id_conflict: {
    httpStatus: 422,
    retryable: false,
    signed: true,
    meaning: 'This request_id was used before with another tool or other args.',
  },
  unknown_tool: {
    httpStatus: 404,
    retryable: false,
    signed: true,
    meaning: 'The server has no tool of this name.',
  },
  forbidden: {
    httpStatus: 403,
    retryable: false,
    signed: true,
    meaning: 'The client may not do this.',
  },
  invalid_args: {
    httpStatus: 422,
    retryable: false,
    signed: true,
    meaning: 'args break the input schema of the tool; result lists the issues.',
  },
  not_found: {
    httpStatus: 404,
    retryable: false,
    signed: true,
    meaning: 'There is no such job for this client.',
  },
  rate_limited: {
    httpStatus: 429,
    retryable: true,
    signed: true,
    meaning: 'Too many calls from this client; result.retry_after_ms says when to come back.',
  },
  busy: {
    httpStatus: 503,
    retryable: true,
    signed: true,
    meaning: 'The server cannot take this now; result.retry_after_ms says when to come back.',
  },
  deadline_exceeded: {
    httpStatus: 504,
    retryable: false,
    signed: true,
    meaning: 'The tool did not finish within its time limit.',
  },
  cancelled: {
    httpStatus: 409,
    retryable: false,
    signed: true,
    meaning: 'The job was cancelled.',
  },
  job_failed: {
    httpStatus: 200,
    retryable: false,
    signed: true,
    meaning: 'The tool ran and failed; the message is the one the tool chose to show.',
  },
  internal: {
    httpStatus: 500,
    retryable: false,
    signed: true,
    meaning: 'The server failed; the id in the message finds the detail in its log.',
  },
} as const satisfies Record<string, CodeFacts>;

/** A code of the table. */
export type Code = keyof typeof CODES;

/** Facts of a code, with the literal types widened. */
export function factsOf(code: Code): CodeFacts {
  return CODES[code];
}

/** The code at the start of a reply's `error` text (`code: message`), or null if it is not one of the table. */
export function codeOf(error: string): Code | null {
  const colon = error.indexOf(':');
  const code = colon === -1 ? error : error.slice(0, colon);
  // Object.hasOwn has just shown that the text is a key of the table.
  return Object.hasOwn(CODES, code) ? (code as Code) : null;
}
