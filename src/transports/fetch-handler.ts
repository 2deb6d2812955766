import { ProtocolError } from '../errors/index.ts';
import type { Endpoint, Reply } from '../server/index.ts';
import { answerPlain, CALL_PATH, isJson, JSON_TYPE } from './http-routes.ts';
import { hold, newPieces, whole } from './pieces.ts';
import type { Route, RouteAnswer } from './route.ts';
import { type SafeHeaders, safeHeaders } from './safe-headers.ts';

/**
 * A web-standard handler for other runtimes and frameworks: `Deno.serve(handler)`,
 * `Bun.serve({ fetch: handler })`, `app.all('*', (c) => handler(c.req.raw))`.
 * The paths are the same as those of `listen`, and so are the routes.
 */
export function createFetchHandler(
  server: Endpoint,
  { routes = [] }: { readonly routes?: readonly Route[] } = {},
): (request: Request) => Promise<Response> {
  return async (request) => {
    const { pathname, protocol } = new URL(request.url);
    const safe = safeHeaders(protocol === 'https:');
    const route = routes.find(({ path }) => path === pathname);
    if (route !== undefined) return serveRoute(route, request, safe);
    if (pathname !== CALL_PATH || request.method !== 'POST') {
      const { status, headers, body } = await answerPlain(server, request.method, pathname);
      const init = { status, headers: { ...safe, ...headers } };
      return new Response(request.method === 'HEAD' ? null : body, init);
    }
    const toResponse = ({ body, httpStatus }: Reply) =>
      new Response(body, { status: httpStatus, headers: { 'content-type': JSON_TYPE, ...safe } });
    if (!isJson(request.headers.get('content-type'))) {
      return toResponse(server.refuse(new ProtocolError('unsupported_media_type', `send ${JSON_TYPE}`)));
    }
    const bytes = await readUpTo(request, server.maxMessageBytes);
    if (bytes === null) {
      const message = `a message may have at most ${server.maxMessageBytes} bytes`;
      return toResponse(server.refuse(new ProtocolError('too_large', message)));
    }
    return toResponse(await server.handle(bytes));
  };
}

async function serveRoute(route: Route, request: Request, safe: SafeHeaders): Promise<Response> {
  const { method, headers } = request;
  // Not every runtime shows the header that the URL was made of.
  const host = new URL(request.url).host;
  const header = (name: string) => headers.get(name) ?? (name === 'host' ? host : undefined);
  const body = await readUpTo(request, route.maxBodyBytes);
  // Some runtimes abort the request of one who has gone, others cancel the body of the response.
  const leaving = new AbortController();
  const leave = () => leaving.abort();
  request.signal.addEventListener('abort', leave);
  if (request.signal.aborted) leave();
  return answerOf(await route.handle({ method, header, body, signal: leaving.signal }), safe, leave);
}

function answerOf(answer: RouteAnswer, safe: SafeHeaders, leave: () => void): Response {
  const { status } = answer;
  const headers = { ...safe, ...answer.headers };
  if (!('events' in answer))
    return new Response(answer.body === '' ? null : answer.body, { status, headers });
  const utf8 = new TextEncoder();
  const events = answer.events[Symbol.asyncIterator]();
  const stream = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const next: IteratorResult<string, unknown> = await events.next();
      if (next.done === true) controller.close();
      else controller.enqueue(utf8.encode(`event: message\ndata: ${next.value}\n\n`));
    },
    async cancel() {
      leave();
      await events.return?.();
    },
  });
  return new Response(stream, { status, headers });
}

/** The body, or null if it is longer than the limit; no more than the limit is kept. */
async function readUpTo(request: Request, maxBytes: number): Promise<Uint8Array | null> {
  if (request.body === null) return new Uint8Array();
  const pieces = newPieces();
  let length = 0;
  for await (const chunk of request.body) {
    length += chunk.byteLength;
    if (length > maxBytes) return null;
    hold(pieces, chunk);
  }
  return whole(pieces);
}
