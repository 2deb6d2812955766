import type { IncomingMessage, ServerResponse } from 'node:http';
import { HTTP_LIMITS } from '../limits.ts';
import { hold, newPieces, whole } from './pieces.ts';
import type { SafeHeaders } from './safe-headers.ts';

/** What a listener has in hand. */
export interface Calls {
  /** Messages that were handed to the server and are not answered yet. */
  open: number;
  /** Of bodies that have begun and not ended. */
  heldBytes: number;
  readonly maxHeldBytes: number;
  /** Of every answer. */
  readonly headers: SafeHeaders;
}

/**
 * Collects a body up to the limit and hands it over, or `null` if it is longer: then what still comes is not
 * read, and the receiver answers and lets it linger.
 */
export function receive(
  request: IncomingMessage,
  response: ServerResponse,
  calls: Calls,
  maxBytes: number,
  take: (body: Uint8Array | null) => void,
): void {
  const declared = Number(headerOf(request, 'content-length'));
  if (declared > maxBytes) return take(null);
  const pieces = newPieces();
  let length = 0;
  const held = holdBytes(calls, request);
  request.on('data', (chunk: Buffer) => {
    length += chunk.length;
    if (length > maxBytes) {
      request.removeAllListeners('data').removeAllListeners('end');
      held.release();
      return take(null);
    }
    hold(pieces, chunk);
    // Most bodies come whole, and are not held.
    if (length !== declared && !held.add(chunk.length)) turnAway(calls, request, response);
    return undefined;
  });
  request.on('end', () => take(whole(pieces)));
}

/** Counts what a body that has not ended takes; `false`: all of them together take too much. */
function holdBytes(calls: Calls, request: IncomingMessage) {
  let held = 0;
  const release = (): void => {
    calls.heldBytes -= held;
    held = 0;
  };
  return {
    release,
    add(bytes: number): boolean {
      if (held === 0) request.once('close', release);
      held += bytes;
      calls.heldBytes += bytes;
      return calls.heldBytes <= calls.maxHeldBytes;
    },
  };
}

/** Nobody is known yet, and none of the four unsigned refusals would be true: this is no message. */
function turnAway({ headers }: Calls, request: IncomingMessage, response: ServerResponse): void {
  request.removeAllListeners('data').removeAllListeners('end');
  response.writeHead(503, { ...headers, 'retry-after': '1', connection: 'close', 'content-length': 0 });
  response.end(() => request.destroy());
}

/** A header without building the object of all headers, which costs 2 µs a request. */
export function headerOf({ rawHeaders }: IncomingMessage, name: string): string | undefined {
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const header = rawHeaders[i];
    if (header?.length === name.length && header.toLowerCase() === name) return rawHeaders[i + 1];
  }
  return undefined;
}

/**
 * After an answer that came before the body. What still comes is thrown away for a while: to close the
 * connection at once would reset it, and take the answer from a peer that is still sending.
 */
export function linger(request: IncomingMessage): void {
  request.resume();
  const cut = setTimeout(() => request.destroy(), HTTP_LIMITS.lingerMs);
  request.on('close', () => clearTimeout(cut));
}
