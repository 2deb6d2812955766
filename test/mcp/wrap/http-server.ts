import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { onTestFinished } from 'vitest';

export type Answer = (request: IncomingMessage, response: ServerResponse) => void;

/** An HTTP server on a free port that goes with the test; its address ends in `/mcp`. */
export async function httpServer(answer: Answer): Promise<string> {
  const server = createServer(answer).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  // A TCP server that listens has an AddressInfo.
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`;
}

/** Answers one call of a tool, in any way. */
export type CallAnswer = (id: number, response: ServerResponse, request: IncomingMessage) => void;

/** A server of 2025-11-25 without sessions, whose tools do with the connection what they like. */
export function rawMcpServer(tools: Readonly<Record<string, CallAnswer>>): Promise<string> {
  return httpServer((request, response) => {
    if (request.method === 'POST') void json(request).then((body) => answer(body as Body, request, response));
    else response.writeHead(405).end();
  });

  function answer({ id, method, params }: Body, request: IncomingMessage, response: ServerResponse): void {
    const result = RESULTS[method]?.(params, Object.keys(tools));
    const error = { code: -32_601, message: 'Method not found' };
    if (id === undefined) response.writeHead(202).end();
    else if (method === 'tools/call') tools[String(params['name'])]?.(id, response, request);
    else sendJson(response, { id, ...(result === undefined ? { error } : { result }) });
  }
}

/** Of a message; our own client sends them. */
interface Body {
  readonly id?: number;
  readonly method: string;
  readonly params: Record<string, unknown>;
}

export function sendJson(response: ServerResponse, message: object): void {
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ jsonrpc: '2.0', ...message }));
}

const RESULTS: Readonly<
  Record<string, (params: Record<string, unknown>, names: readonly string[]) => object>
> = {
  initialize: ({ protocolVersion }) => ({
    protocolVersion,
    capabilities: { tools: {} },
    serverInfo: { name: 'raw', version: '1' },
  }),
  'tools/list': (_params, names) => ({
    tools: names.map((name) => ({ name, inputSchema: { type: 'object' } })),
  }),
};
