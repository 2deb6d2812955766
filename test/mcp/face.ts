import { type ClientRequest, type IncomingMessage, request as httpRequest } from 'node:http';
import { expect, onTestFinished } from 'vitest';
import { mcpRoute } from '../../src/mcp/index.ts';
import type { McpOptions } from '../../src/mcp/options.ts';
import { META, MODERN, TASKS } from '../../src/mcp/protocol.ts';
import { addClient, addToken } from '../../src/server/clients/clients.ts';
import { openClientStore } from '../../src/store/index.ts';
import { type Credential, listen, type Listener } from '../../src/transports/index.ts';
import type { JsonObject, JsonValue } from '../../src/wire/index.ts';
import { openDesk } from '../support/clients.ts';
import { tempFolder } from '../support/temp.ts';
import { startServer, type TestServer, type TestServerOptions } from '../support/server.ts';

type Headers = Readonly<Record<string, string | readonly string[] | undefined>>;

/** A JSON-RPC message as it was read: tests look at any part of it. */
// oxlint-disable-next-line typescript/no-explicit-any
export type Message = any;

export interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly text: string;
  /** All messages of the answer: one of a JSON body, several of a stream of events. */
  readonly messages: readonly Message[];
  /** The last of them. */
  readonly message: Message;
}

/** An answer that is read as it comes. */
export interface Stream {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  /** The next message; `null` when the answer has ended. */
  next(): Promise<Message>;
  /** Everything to the end. */
  rest(): Promise<Message[]>;
  /** The client goes away. */
  leave(): void;
}

/** What a modern request says of itself, unless a test says otherwise. */
export interface Sent {
  readonly id?: JsonValue;
  readonly capabilities?: JsonObject;
  readonly progressToken?: JsonValue;
  /** In the place of, or beside, those that fit the body; `undefined` leaves one out. */
  readonly headers?: Headers;
  /** The token of the caller; `null` sends none. */
  readonly token?: string | null;
}

export interface Face {
  readonly peer: TestServer;
  readonly port: number;
  readonly listener: Listener;
  readonly token: string;
  newToken(clientId: string): Promise<string>;
  /** Bytes with headers of the test's own. */
  raw(body: string | Uint8Array, headers?: Headers, method?: string): Promise<Answer>;
  /** One request of 2026-07-28. */
  ask(method: string, params?: JsonObject, sent?: Sent): Promise<Answer>;
  open(method: string, params?: JsonObject, sent?: Sent): Promise<Stream>;
  call(name: string, args?: JsonObject, sent?: Sent): Promise<Answer>;
  /** One message of an older revision. */
  older(message: JsonObject, headers?: Headers): Promise<Answer>;
  openOlder(message: JsonObject, headers?: Headers): Promise<Stream>;
  /** Every request that is under way is left by its client. */
  leaveAll(): void;
}

export const WITH_TASKS = { extensions: { [TASKS]: {} } };
export const WITH_FORMS = { elicitation: { form: {} } };

export interface FaceOptions extends Omit<TestServerOptions, 'dir' | 'credential'> {
  readonly mcp?: McpOptions;
  /** The same folder, client and token again: a server that restarts. */
  readonly before?: Face;
}

/** A folder that knows a client with a token before its server starts. */
async function prepare(): Promise<{ dir: string; credential: Credential; token: string }> {
  const dir = tempFolder();
  const desk = await openDesk(dir, 'srv-1');
  const credential = await addClient(desk, { id: 'agent-a', url: 'http://127.0.0.1:9/call' });
  const token = await addToken(desk.store, 'agent-a');
  await desk.store.close();
  return { dir, credential, token };
}

/** A server on a real port with `/mcp`, and a client with a token. */
export async function startFace({ mcp = {}, before, ...options }: FaceOptions = {}): Promise<Face> {
  const known = before && { ...before.peer, token: before.token };
  const { dir, credential, token } = known ?? (await prepare());
  const peer = await startServer({ now: Date.now, ...options, dir, credential });
  const listener = await listen(peer.server, { routes: [mcpRoute(peer.server, mcp)] });
  onTestFinished(() => listener.close());
  const newToken = (clientId: string) => tokenOf(peer, clientId);
  const { port } = listener;

  const requests = new Set<ClientRequest>();
  const send = (body: string | Uint8Array, headers: Headers, method = 'POST') =>
    exchange({ port, method, headers, body, requests });
  const modern = (method: string, params: JsonObject = {}, sent: Sent = {}) =>
    send(bodyOf(method, params, sent), headersOf(method, params, sent, token));
  const older = (message: JsonObject, headers: Headers = {}) =>
    send(JSON.stringify({ jsonrpc: '2.0', ...message }), { ...authorization(token), ...PLAIN, ...headers });

  return {
    peer,
    port,
    listener,
    token,
    newToken,
    raw: async (body, headers = {}, method = 'POST') =>
      readAll(await send(body, { ...authorization(token), ...headers }, method)),
    ask: async (method, params, sent) => readAll(await modern(method, params, sent)),
    open: async (method, params, sent) => asStream(await modern(method, params, sent)),
    call: async (name, args = {}, sent = {}) =>
      readAll(await modern('tools/call', { name, arguments: args }, sent)),
    older: async (message, headers) => readAll(await older(message, headers)),
    openOlder: async (message, headers) => asStream(await older(message, headers)),
    leaveAll() {
      for (const request of requests) request.destroy();
    },
  };
}

/** A new token of a client, as an operator makes it beside the running server; known there when it returns. */
async function tokenOf({ dir, server }: TestServer, clientId: string): Promise<string> {
  const clients = openClientStore({ dir });
  const token = await addToken(clients, clientId);
  await clients.close();
  await expect.poll(() => server.calls.clientOf(token)).not.toBeNull();
  return token;
}

const PLAIN = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
const NAMED: Readonly<Record<string, string>> = {
  'tools/call': 'name',
  'tasks/get': 'taskId',
  'tasks/update': 'taskId',
  'tasks/cancel': 'taskId',
};

function authorization(token: string | null): Headers {
  return token === null ? {} : { authorization: `Bearer ${token}` };
}

/** The body of a modern request. */
export function bodyOf(method: string, params: JsonObject = {}, sent: Sent = {}): string {
  const { id = 1, capabilities = {}, progressToken } = sent;
  const meta = {
    [META.protocolVersion]: MODERN,
    [META.clientCapabilities]: capabilities,
    ...(progressToken !== undefined && { progressToken }),
  };
  return JSON.stringify({ jsonrpc: '2.0', id, method, params: { _meta: meta, ...params } });
}

/** The headers that fit it. */
export function headersOf(
  method: string,
  params: JsonObject = {},
  sent: Sent = {},
  token: string | null = null,
): Headers {
  const name = params[NAMED[method] ?? ''];
  return {
    ...authorization(sent.token === undefined ? token : sent.token),
    ...PLAIN,
    'mcp-protocol-version': MODERN,
    'mcp-method': method,
    ...(typeof name === 'string' && { 'mcp-name': name }),
    ...sent.headers,
  };
}

/** One request of 2026-07-28 to whatever serves `/mcp` on a port of this machine. */
export async function openAt(
  port: number,
  method: string,
  params: JsonObject = {},
  sent: Sent = {},
): Promise<Stream> {
  const [headers, body] = [headersOf(method, params, sent), bodyOf(method, params, sent)];
  return asStream(await exchange({ port, method: 'POST', headers, body, requests: new Set() }));
}

interface Exchanged {
  readonly request: ClientRequest;
  readonly response: IncomingMessage;
}

interface Outgoing {
  readonly port: number;
  readonly method: string;
  readonly headers: Headers;
  readonly body: string | Uint8Array;
  /** Holds it until it has ended. */
  readonly requests: Set<ClientRequest>;
}

function exchange({ port, method, headers, body, requests }: Outgoing): Promise<Exchanged> {
  return new Promise((resolve, reject) => {
    const given = Object.entries(headers).filter(([, value]) => value !== undefined);
    // A list of values is sent as several headers of one name.
    const outgoing = Object.fromEntries(given) as Record<string, string>;
    const request = httpRequest({ port, path: '/mcp', method, headers: outgoing, agent: false });
    request.on('response', (response) => resolve({ request, response }));
    request.on('error', reject).on('close', () => requests.delete(request));
    requests.add(request);
    request.end(body);
  });
}

async function readAll({ response }: Exchanged): Promise<Answer> {
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) text += String(chunk);
  const { statusCode: status = 0, headers } = response;
  const messages = isEvents(response) ? eventsIn(text) : text === '' ? [] : [JSON.parse(text)];
  return { status, headers, text, messages, message: messages.at(-1) };
}

function isEvents({ headers }: IncomingMessage): boolean {
  return headers['content-type'] === 'text/event-stream';
}

/** Messages of whole events; comments are passed over. */
export function eventsIn(text: string): Message[] {
  return text
    .split('\n\n')
    .map((event) => /^event: message\ndata: (.*)$/.exec(event)?.[1])
    .flatMap((data) => (data === undefined ? [] : [JSON.parse(data)]));
}

function asStream({ request, response }: Exchanged): Stream {
  const { statusCode: status = 0, headers } = response;
  const messages = messagesOf(response);
  const next = async (): Promise<Message> => {
    const { value, done } = await messages.next();
    return done === true ? null : value;
  };
  onTestFinished(() => void request.destroy());
  return {
    status,
    headers,
    next,
    async rest() {
      const all: Message[] = [];
      for (let message = await next(); message !== null; message = await next()) all.push(message);
      return all;
    },
    leave: () => request.destroy(),
  };
}

async function* messagesOf(response: IncomingMessage): AsyncGenerator<Message> {
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) {
    text += String(chunk);
    const end = text.lastIndexOf('\n\n');
    if (!isEvents(response) || end === -1) continue;
    yield* eventsIn(text.slice(0, end + 2));
    text = text.slice(end + 2);
  }
  if (!isEvents(response) && text !== '') yield JSON.parse(text);
}
