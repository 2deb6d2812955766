import { randomUUID } from 'node:crypto';
import { busy, ProtocolError, StoreError } from '../errors/index.ts';
import type { Logger } from '../tools/index.ts';
import { endOfWork } from './refusal.ts';

/** The only place where unknown errors become known ones: the log gets the detail, the caller an opaque id. */
export function knownError(error: unknown, log: Logger, requestId: string): ProtocolError {
  if (error instanceof ProtocolError) return error;
  if (error instanceof StoreError) {
    log.error({ err: error, cause: error.cause }, 'the store failed');
    // What it has kept nobody knows.
    return endOfWork(busy('the store cannot be used', 1_000));
  }
  const id = randomUUID();
  log.error({ err: error, error_id: id, request_id: requestId }, 'call failed');
  return new ProtocolError('internal', `the server failed; error id ${id}`);
}
