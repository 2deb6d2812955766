import { setMaxListeners } from 'node:events';
import type { Server } from '../server/index.ts';
import type { Logger } from '../tools/index.ts';
import { isJson } from '../transports/http-routes.ts';
import type { Route, RouteAnswer, RouteRequest } from '../transports/route.ts';
import { inTurns } from '../turns.ts';
import { packageVersion } from '../version.ts';
import { isObject, type JsonObject } from '../wire/json.ts';
import { createAccess, refusal } from './access.ts';
import type { Backend } from './backend.ts';
import { createEvents } from './events.ts';
import { type Exchange, whenAborted } from './exchange.ts';
import { type LegacyFace, openLegacy } from './legacy.ts';
import { localBackends } from './local.ts';
import { answerModern } from './modern/core.ts';
import { checkGivenHeaders, checkHeaders } from './modern/http-headers.ts';
import { isModern, type ModernRequest, readRequest } from './modern/request.ts';
import { type McpOptions, resolveMcp } from './options.ts';
import { type HeaderRule, paramMismatch } from './param-headers.ts';
import { parseMessage } from './parse.ts';
import { type Report, reporterFor } from './progress.ts';
import { type Implementation, LEGACY } from './protocol.ts';
import {
  answerText,
  asRpcError,
  asRpcMessage,
  errorText,
  idOf,
  notificationText,
  RpcError,
  type RpcId,
  type RpcMessage,
  sendable,
} from './rpc.ts';

const JSON_HEADERS = { 'content-type': 'application/json', 'cache-control': 'no-store' } as const;
const EVENT_HEADERS = {
  'content-type': 'text/event-stream',
  'cache-control': 'no-store',
  // Or proxies such as nginx hold events back.
  'x-accel-buffering': 'no',
} as const;

interface Answer {
  readonly status: number;
  readonly body: string;
}

/** Works out an answer; `notify` carries what comes before it. */
type Work = (notify: Exchange['notify']) => Promise<Answer>;

/**
 * The Model Context Protocol over HTTP, for `listen(server, { routes: [mcpRoute(server)] })`: revision 2026-07-28
 * with Tasks, and the older ones that begin with `initialize`. A bearer token tells who calls.
 *
 * @throws TypeError, RangeError for wrong options, and for a tool that this protocol cannot carry
 */
export function mcpRoute(server: Server, options: McpOptions = {}): Route {
  const { calls, serverId, maxMessageBytes } = server;
  const { waitMs, ...allowed } = resolveMcp(options);
  const access = createAccess(calls, allowed);
  const backendOf = localBackends(calls, serverId);
  const serverInfo = { name: serverId, version: packageVersion() };
  const { log } = calls;
  const closing = new AbortController();
  // Every open subscription listens to it; that is no leak.
  setMaxListeners(0, closing.signal);
  const faces = createFaces({ serverInfo, waitMs, log, ends: [calls.draining, closing.signal] });
  const tooLarge = `a message may have at most ${maxMessageBytes} bytes`;

  async function handle(request: RouteRequest): Promise<RouteAnswer> {
    const refused = access.refusalOf(request) ?? unfit(request);
    if (refused !== null) return refused;
    const client = access.clientOf(request);
    if ('status' in client) return client;
    if (request.body === null) return refusal(413, tooLarge);
    let id: RpcId | null = null;
    try {
      const { body } = request;
      const read = () => parseMessage(body, calls.messageLimits);
      const message = await inTurns(body.length, read, (value) => {
        id = idOf(value);
        return asRpcMessage(value);
      });
      const face = isForUs(message, request) ? faces.modern : faces.older;
      return await face(message, request, backendOf(client));
    } catch (error) {
      return answered(errorAnswer(id, error, log));
    }
  }

  return { path: '/mcp', maxBodyBytes: maxMessageBytes, handle, close: () => closing.abort() };
}

type Face = (message: RpcMessage, request: RouteRequest, backend: Backend) => Promise<RouteAnswer>;

interface FaceOptions {
  readonly serverInfo: Implementation;
  readonly waitMs: number;
  readonly log: Logger;
  /** Each ends the subscriptions. */
  readonly ends: readonly AbortSignal[];
}

/** The two eras of the protocol, each as a function from a message to its answer. */
function createFaces(options: FaceOptions): {
  readonly modern: Face;
  readonly older: Face;
} {
  let legacy: Promise<LegacyFace> | null = null;
  return {
    async modern(message, request, backend) {
      const { id } = message;
      // The revision has no notifications from clients; one that comes all the same wants no answer.
      if (id === null) return ACCEPTED;
      checkHeaders(message, request.header);
      const asked = readRequest(id, message);
      const work: Work = (notify) =>
        answerModern(asked, new HttpExchange(options, request, backend, notify, asked.progressToken)).then(
          (result) => ({ status: 200, body: answerText(id, result) }),
          (error: unknown) => errorAnswer(id, error, options.log),
        );
      // What a subscription tells comes as events or not at all.
      const streams =
        asked.method === 'subscriptions/listen' || (asked.progressToken !== null && takesEvents(request));
      return respond(work, streams, (error) => errorAnswer(id, error, options.log));
    },
    async older(message, request, backend) {
      legacy ??= openLegacy();
      const face = await legacy;
      if (message.id === null) return ACCEPTED;
      checkGivenHeaders(message, request.header);
      const { _meta: meta } = message.params;
      const streams = isObject(meta) && 'progressToken' in meta && takesEvents(request);
      const { id } = message;
      const work: Work = async (notify) => {
        const exchange = new HttpExchange(options, request, backend, notify, null);
        return { status: 200, body: sendable(JSON.stringify(await face.answer(message, exchange))) };
      };
      return respond(work, streams, (error) => errorAnswer(id, error, options.log));
    },
  };
}

/**
 * One request over HTTP. A class for its getters alone: what they give is made when somebody asks, and on an
 * object that is written out each getter would be made anew for every request.
 */
class HttpExchange implements Exchange {
  readonly backend: Backend;
  readonly serverInfo: Implementation;
  readonly log: Logger;
  readonly waitMs: number;
  readonly notify: Exchange['notify'];
  readonly progress: Report;
  readonly #request: RouteRequest;
  readonly #ends: readonly AbortSignal[];

  constructor(
    { serverInfo, waitMs, log, ends }: FaceOptions,
    request: RouteRequest,
    backend: Backend,
    notify: Exchange['notify'],
    token: ModernRequest['progressToken'],
  ) {
    this.backend = backend;
    this.serverInfo = serverInfo;
    this.log = log;
    this.waitMs = waitMs;
    this.notify = notify;
    this.progress = reporterFor(token, notify);
    this.#request = request;
    this.#ends = ends;
  }

  get signal(): AbortSignal {
    return this.#request.signal;
  }

  get ended(): Promise<void> {
    return whenAborted(this.#request.signal, ...this.#ends);
  }

  checkArguments(rules: readonly HeaderRule[], args: JsonObject): void {
    const problem = paramMismatch(rules, args, this.#request.header);
    if (problem !== null) throw new RpcError('headerMismatch', problem);
  }
}

const ACCEPTED: RouteAnswer = { status: 202, headers: {}, body: '' };

function unfit({ method, header }: RouteRequest): RouteAnswer | null {
  if (method !== 'POST') return refusal(405, 'use POST', { allow: 'POST' });
  return isJson(header('content-type')) ? null : refusal(415, 'send application/json');
}

/** Is it of the revision that we answer ourselves? Whatever shows a sign of it is. */
function isForUs(message: RpcMessage, { header }: RouteRequest): boolean {
  if (isModern(message)) return true;
  const version = header('mcp-protocol-version');
  // A client of an older revision may send the new headers all the same: the revision that it names decides.
  if (version !== undefined) return !LEGACY.some((older) => older === version);
  return header('mcp-method') !== undefined;
}

function takesEvents({ header }: RouteRequest): boolean {
  return /text\/event-stream|\*\/\*/i.test(header('accept') ?? '*/*');
}

/** One JSON body, unless something is to be told before the answer: then a stream of events. */
async function respond(
  work: Work,
  streams: boolean,
  failed: (error: unknown) => Answer,
): Promise<RouteAnswer> {
  if (!streams) return answered(await work(() => {}));
  const events = createEvents();
  const notify: Exchange['notify'] = (method, params) =>
    events.push(notificationText(method, params), taskOf(params));
  // A stream that has begun can only end with an answer.
  const answer = work(notify).catch(failed);
  const first = await Promise.race([answer, events.begun]);
  if (first !== undefined) return answered(first);
  void answer.then(({ body }) => events.end(body));
  return { status: 200, headers: EVENT_HEADERS, events };
}

/** The task that a notification tells of. */
function taskOf({ taskId }: JsonObject): string | null {
  return typeof taskId === 'string' ? taskId : null;
}

function answered({ status, body }: Answer): RouteAnswer {
  return { status, headers: JSON_HEADERS, body };
}

function errorAnswer(id: RpcId | null, error: unknown, log: Logger): Answer {
  const known = asRpcError(error, log);
  return { status: known.httpStatus, body: errorText(id, known) };
}
