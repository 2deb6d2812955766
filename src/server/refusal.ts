import { type Code, ProtocolError } from '../errors/index.ts';

/** Codes of refusals that cost a client nothing, and that it can have without end. */
const REFUSALS: ReadonlySet<Code> = new Set([
  'forbidden',
  'rate_limited',
  'stale',
  'wrong_server',
  'replayed',
  'busy',
] as const);

const afterWork = new WeakSet<ProtocolError>();

/** Marks what ends a call of which something may have been done. */
export function endOfWork(error: ProtocolError): ProtocolError {
  afterWork.add(error);
  return error;
}

/**
 * Has a call that ended like this done nothing? What is not known is taken for done. A tool that throws `busy` or
 * `rate_limited` says so itself.
 */
export function isRefusal(error: unknown): boolean {
  return error instanceof ProtocolError && REFUSALS.has(error.code) && !afterWork.has(error);
}
