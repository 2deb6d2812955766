import type { Code } from './codes.ts';

/**
 * A refusal with a code of the table; the only kind of error that crosses the wire.
 * The message is read by the other side: it must hold nothing that the caller may not know.
 */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';
  readonly code: Code;
  /** What goes into `result` of the reply, e.g. `{retry_after_ms}` or `{issues}`. */
  readonly result: Readonly<Record<string, unknown>> | null;

  constructor(code: Code, message: string, result: Readonly<Record<string, unknown>> | null = null) {
    super(message);
    this.code = code;
    this.result = result;
  }

  /** The text of the reply's `error` member: `code: message` (docs/protocol.md §1). */
  get text(): string {
    return `${this.code}: ${this.message}`;
  }
}

/** `busy` with the time after which to come back, in milliseconds (docs/protocol.md §8). */
export function busy(message: string, retryAfterMs: number): ProtocolError {
  return new ProtocolError('busy', message, { retry_after_ms: retryAfterMs });
}
