import {
  createServer as createHttpServer,
  type IncomingMessage,
  type RequestListener,
  type Server as HttpServer,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import { ProtocolError, SetupError } from '../errors/index.ts';
import { HTTP_LIMITS } from '../limits.ts';
import type { Endpoint, Reply } from '../server/index.ts';
import { answerPlain, CALL_PATH, isJson, JSON_TYPE } from './http-routes.ts';
import { type Calls, headerOf, linger, receive } from './node-body.ts';
import { serveRoute } from './node-route.ts';
import type { Route } from './route.ts';
import { type SafeHeaders, safeHeaders } from './safe-headers.ts';
import type { TlsPair, TlsServer } from './tls.ts';

/** Where and how `listen` serves; the limits have the defaults of `src/limits.ts`. */
export interface ListenOptions {
  /** Default `127.0.0.1`: reachable from this machine only. */
  readonly host?: string;
  /** Default `0`: any free port. */
  readonly port?: number;
  /** Paths beside `POST /call`, such as `mcpRoute(server)` of `waybill/mcp`. */
  readonly routes?: readonly Route[];
  /** HTTPS in place of HTTP, from TLS 1.2 up. */
  readonly tls?: TlsPair;
  readonly maxConnections?: number;
  /** The answer to the last one says `connection: close`. */
  readonly maxRequestsPerConnection?: number;
  /** Of the headers of one request, together with its first line. */
  readonly maxHeaderBytes?: number;
  readonly maxHeaders?: number;
  /** Of all bodies together that have begun and not ended. */
  readonly maxHeldBytes?: number;
  /** Times of one connection, in milliseconds; the first is of TLS. */
  readonly handshakeTimeoutMs?: number;
  readonly headersTimeoutMs?: number;
  readonly requestTimeoutMs?: number;
  readonly keepAliveTimeoutMs?: number;
}

/** A server that listens. */
export interface Listener {
  readonly host: string;
  readonly port: number;
  /** Where clients send their calls, like `http://127.0.0.1:8080/call`. */
  readonly url: string;
  /**
   * Another certificate for connections that come from now on; those that are open keep theirs.
   *
   * @throws SetupError when the pair does not serve: the old one stays; TypeError without `tls`
   */
  renewTls(tls: TlsPair): void;
  /** Takes no further connections; resolves when those that are open have got their replies. */
  close(): Promise<void>;
}

/**
 * Serves over HTTP with node:http (docs/protocol.md §9).
 *
 * @throws SetupError when the address cannot be had, or the certificate does not serve; TypeError, RangeError for
 *   wrong options
 */
export async function listen(server: Endpoint, options: ListenOptions = {}): Promise<Listener> {
  const { host = '127.0.0.1', port = 0, tls } = options;
  if (!Number.isInteger(port) || port < 0 || port > 65_535)
    throw new RangeError('port must be from 0 to 65535');
  const limits = resolveLimits(options);
  const routes = byPath(options.routes ?? []);
  const headers = safeHeaders(tls !== undefined);
  const calls: Calls = { open: 0, heldBytes: 0, maxHeldBytes: limits.maxHeldBytes, headers };
  const { maxHeaders, maxRequestsPerConnection } = limits;
  const isOver = requestCounter(maxRequestsPerConnection);
  const served: Served = { server, calls, routes, maxHeaders, isOver, send: sender(headers) };
  const onRequest: RequestListener = (request, response) => serve(served, request, response);
  const secure =
    tls === undefined ? null : (await import('./tls.ts')).createTlsServer(tls, settings(limits), onRequest);
  const http: HttpServer = secure?.http ?? createHttpServer(settings(limits), onRequest);
  http.maxConnections = limits.maxConnections;
  http.maxHeadersCount = limits.maxHeaders;
  await bind(http, host, port);
  // A TCP server that listens has an AddressInfo.
  const address = http.address() as AddressInfo;
  const name = address.family === 'IPv6' ? `[${address.address}]` : address.address;
  return {
    host: address.address,
    port: address.port,
    url: `${secure === null ? 'http' : 'https'}://${name}:${address.port}${CALL_PATH}`,
    renewTls(pair) {
      if (secure === null) throw new TypeError('renewTls: this listener has no tls');
      secure.renew(pair);
    },
    close() {
      for (const { close } of routes.values()) close?.();
      return closeHttp(http, secure, calls);
    },
  };
}

const settings = (limits: Limits) => ({
  headersTimeout: limits.headersTimeoutMs,
  requestTimeout: limits.requestTimeoutMs,
  keepAliveTimeout: limits.keepAliveTimeoutMs,
  // Only TLS has handshakes.
  handshakeTimeout: limits.handshakeTimeoutMs,
  // How often the first two times are looked at.
  connectionsCheckingInterval: HTTP_LIMITS.checkIntervalMs,
  maxHeaderSize: limits.maxHeaderBytes,
  noDelay: true,
});

const SETTABLE = [
  'maxConnections',
  'maxRequestsPerConnection',
  'maxHeldBytes',
  'maxHeaderBytes',
  'maxHeaders',
  'handshakeTimeoutMs',
  'headersTimeoutMs',
  'requestTimeoutMs',
  'keepAliveTimeoutMs',
] as const;

type Limits = Readonly<Record<(typeof SETTABLE)[number], number>>;

/** @throws TypeError, RangeError; none of them can be switched off, which 0 would do in node:http */
function resolveLimits(options: ListenOptions): Limits {
  const names: ReadonlySet<string> = new Set(['host', 'port', 'routes', 'tls', ...SETTABLE]);
  const unknown = Object.keys(options).find((name) => !names.has(name));
  if (unknown !== undefined) throw new TypeError(`listen: there is no option ${JSON.stringify(unknown)}`);
  // All of these names are in the table.
  const limits = { ...HTTP_LIMITS } as Record<(typeof SETTABLE)[number], number>;
  for (const name of SETTABLE) {
    const value = options[name] ?? limits[name];
    if (!Number.isSafeInteger(value) || value < 1)
      throw new RangeError(`${name} must be an integer from 1 up`);
    limits[name] = value;
  }
  return limits;
}

function bind(http: HttpServer, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    http.once('error', (error: NodeJS.ErrnoException) => {
      reject(
        new SetupError(`cannot listen on ${host}:${port}: ${BIND_ERRORS[error.code ?? ''] ?? error.message}`),
      );
    });
    http.listen(port, host, resolve);
  });
}

const BIND_ERRORS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'the port is taken; choose another --port, or 0 for any free one',
  EACCES: 'not allowed; choose a --port above 1023',
  EADDRNOTAVAIL: 'this machine has no such address; choose another --host',
  ENOTFOUND: 'no such host name; choose another --host',
};

const CLOSE_CHECK_MS = 20;

async function closeHttp(http: HttpServer, secure: TlsServer | null, calls: Calls): Promise<void> {
  const closed = new Promise((resolve) => http.close(resolve));
  let quietMs = 0;
  // Connections that wait for a next request would hold the process for as long as they like.
  const idle = setInterval(() => {
    http.closeIdleConnections();
    quietMs = calls.open === 0 ? quietMs + CLOSE_CHECK_MS : 0;
    // So would those that never send a whole one: from `close` on node:http looks at no time-outs.
    if (quietMs < HTTP_LIMITS.lingerMs) return;
    http.closeAllConnections();
    secure?.destroyAll();
  }, CLOSE_CHECK_MS);
  http.closeIdleConnections();
  await closed;
  clearInterval(idle);
}

/** @throws TypeError for a path that is taken */
function byPath(routes: readonly Route[]): ReadonlyMap<string, Route> {
  const taken = new Set([CALL_PATH, '/livez', '/readyz']);
  for (const { path } of routes) {
    if (taken.has(path)) throw new TypeError(`listen: two routes are at ${path}`);
    taken.add(path);
  }
  return new Map(routes.map((route) => [route.path, route]));
}

interface Served {
  readonly server: Endpoint;
  readonly calls: Calls;
  readonly routes: ReadonlyMap<string, Route>;
  readonly maxHeaders: number;
  readonly isOver: IsOver;
  readonly send: Send;
}

function serve(served: Served, request: IncomingMessage, response: ServerResponse): void {
  const { server, calls, routes, isOver } = served;
  // Sent behind the last one without a look at its answer: it is not begun, and can be sent anew.
  if (isOver(request, response)) return;
  const { method = '', url = '', rawHeaders } = request;
  if (rawHeaders.length > 2 * served.maxHeaders) return refuseHeaders(calls, request, response);
  const path = url.split('?', 1)[0] ?? '';
  if (method === 'POST' && path === CALL_PATH) return serveCall(served, request, response);
  const route = routes.get(path);
  if (route !== undefined) return serveRoute(route, calls, request, response);
  request.resume();
  void answerPlain(server, method, path).then(({ status, headers, body }) => {
    response.writeHead(status, { ...calls.headers, ...headers, 'content-length': Buffer.byteLength(body) });
    response.end(body);
  });
}

type IsOver = (request: IncomingMessage, response: ServerResponse) => boolean;

/**
 * Counts the requests of each connection; `true`: one too many. Not by `maxRequestsPerSocket`: that says `close` and
 * leaves the connection open, answers what comes then, and does not count HTTP/1.0.
 */
function requestCounter(max: number): IsOver {
  const counts = new WeakMap<IncomingMessage['socket'], number>();
  return ({ socket }, response) => {
    const count = (counts.get(socket) ?? 0) + 1;
    counts.set(socket, count);
    // node:http then says so in the answer, whoever gives it, and ends the connection behind it.
    if (count >= max) response.shouldKeepAlive = false;
    return count > max;
  };
}

/** Of too many, node:http keeps some: one that counts, or the second of a name, could be among the others. */
function refuseHeaders({ headers }: Calls, request: IncomingMessage, response: ServerResponse): void {
  response.writeHead(431, { ...headers, connection: 'close', 'content-length': 0 }).end();
  linger(request);
}

function serveCall(
  { server, calls, send }: Served,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const { maxMessageBytes } = server;
  const refuse = (error: ProtocolError): void => {
    send(response, server.refuse(error));
    linger(request);
  };
  if (!isJson(headerOf(request, 'content-type')))
    return refuse(new ProtocolError('unsupported_media_type', `send ${JSON_TYPE}`));
  receive(request, response, calls, maxMessageBytes, (body) => {
    if (body === null)
      return refuse(new ProtocolError('too_large', `a message may have at most ${maxMessageBytes} bytes`));
    calls.open++;
    void server.handle(body).then((reply) => {
      calls.open--;
      send(response, reply);
    });
  });
}

type Send = (response: ServerResponse, reply: Reply) => void;

/** Sends replies with headers that are made once: names and values in one array, which node:http writes as it is. */
function sender(headers: SafeHeaders): Send {
  const fixed = ['content-type', JSON_TYPE, ...Object.entries(headers).flat(), 'content-length'];
  return (response, { body, httpStatus }) => {
    response.writeHead(httpStatus, [...fixed, String(Buffer.byteLength(body))]);
    response.end(body);
  };
}
