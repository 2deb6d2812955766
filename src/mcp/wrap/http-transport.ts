import type { StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { WRAP_LIMITS } from './limits.ts';
import type { Sdk } from './sdk.ts';
import type { HttpTarget } from './target.ts';

/** In place of an answer, when the connection that it would have come over broke; a code of our own. */
export const BROKEN = 1;

/** @param onTooLarge is told when a message is longer than it may be */
export function createHttpTransport(
  { StreamableHTTPClientTransport: HttpTransport, isJSONRPCRequest }: Sdk,
  { url, token }: HttpTarget,
  onTooLarge: () => void,
): StreamableHTTPClientTransport {
  const transport = new HttpTransport(new URL(url), {
    ...(token !== undefined && { requestInit: { headers: { authorization: `Bearer ${token}` } } }),
    fetch: async (input, init) => boundedResponse(await fetch(input, init), onTooLarge),
  });
  const send = transport.send.bind(transport);
  // The client would wait on for an answer whose stream has ended; one that had its answer ignores this one.
  transport.send = (message, options) => {
    if (Array.isArray(message) || !isJSONRPCRequest(message)) return send(message, options);
    const error = { code: BROKEN, message: 'the stream ended without an answer' };
    const onRequestStreamEnd = () => transport.onmessage?.({ jsonrpc: '2.0', id: message.id, error });
    return send(message, { ...options, onRequestStreamEnd });
  };
  return transport;
}

/** The same response, whose body fails when one message of it is too large. */
function boundedResponse(response: Response, onTooLarge: () => void): Response {
  const { body, status, statusText, headers } = response;
  if (body === null) return response;
  const isStream = headers.get('content-type')?.startsWith('text/event-stream') === true;
  const count = isStream ? createEventCount() : createByteCount();
  const bound = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      if (count(chunk) <= WRAP_LIMITS.maxMessageBytes) return controller.enqueue(chunk);
      onTooLarge();
      controller.error(new RangeError('the message is too large'));
    },
  });
  return new Response(body.pipeThrough(bound), { status, statusText, headers });
}

function createByteCount(): (chunk: Uint8Array) => number {
  let bytes = 0;
  return (chunk) => (bytes += chunk.byteLength);
}

const LINE_FEED = 10;
const RETURN = 13;

/** Bytes since the last empty line, which ends an event; the most that was reached within the chunk. */
function createEventCount(): (chunk: Uint8Array) => number {
  let bytes = 0;
  let lineIsEmpty = true;
  let last = 0;
  return (chunk) => {
    let most = bytes;
    for (const byte of chunk) {
      bytes++;
      const isPair = byte === LINE_FEED && last === RETURN;
      if (byte === LINE_FEED || byte === RETURN) {
        if (lineIsEmpty && !isPair) {
          most = Math.max(most, bytes);
          bytes = 0;
        }
        lineIsEmpty = true;
      } else lineIsEmpty = false;
      last = byte;
    }
    return Math.max(most, bytes);
  };
}
