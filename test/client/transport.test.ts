import { EventEmitter, once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { ClientError } from '../../src/client/index.ts';
import { fetchTransport } from '../../src/client/transport.ts';
import { MESSAGE_LIMITS } from '../../src/limits.ts';
import { rejection } from './peer.ts';

const { signal } = new AbortController();
const message = new TextEncoder().encode('{"a":"é"}');
const servers: Server[] = [];

async function listen(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  // A server that listens on TCP has an address of this type.
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/call`;
}

afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

describe('the HTTP transport', () => {
  it('posts the bytes as application/json and returns those of the reply', async () => {
    const seen: unknown[] = [];
    const url = await listen((request, response) => {
      seen.push(request.method, request.url, request.headers['content-type']);
      response.setHeader('content-type', 'application/json');
      request.pipe(response);
    });
    expect(await fetchTransport(url)(message, { signal })).toEqual(message);
    expect(seen).toEqual(['POST', '/call', 'application/json']);
  });

  it.each([202, 400, 401, 409, 500, 503])('returns the message that comes with status %d', async (status) => {
    const url = await listen((request, response) => {
      response.writeHead(status, { 'content-type': 'application/json; charset=utf-8' });
      request.pipe(response);
    });
    expect(await fetchTransport(url)(message, { signal })).toEqual(message);
  });

  it('reads a body of exactly the limit and refuses one more byte', async () => {
    const { maxMessageBytes } = MESSAGE_LIMITS;
    const url = await listen((request, response) => {
      response.end(Buffer.alloc(maxMessageBytes + (request.url === '/call' ? 0 : 1)));
      request.resume();
    });
    expect(await fetchTransport(url)(message, { signal })).toHaveLength(maxMessageBytes);
    const error = await rejection(fetchTransport(`${url}/more`)(message, { signal }));
    expect(error).toBeInstanceOf(ClientError);
    expect(error).toMatchObject({ kind: 'reply_unverified', message: 'the reply has over 1048576 bytes' });
  });

  it('stops reading a body that never ends', async () => {
    const closed = new EventEmitter();
    const url = await listen((_, response) => {
      response.on('close', () => closed.emit('close'));
      const more = () => {
        while (!response.destroyed && response.write(Buffer.alloc(65_536)));
      };
      response.on('drain', more);
      more();
    });
    const isClosed = once(closed, 'close');
    expect(await rejection(fetchTransport(url)(message, { signal }))).toMatchObject({
      kind: 'reply_unverified',
    });
    await isClosed;
  });

  it('returns an empty body as no bytes', async () => {
    const url = await listen((_, response) => response.end());
    expect(await fetchTransport(url)(message, { signal })).toHaveLength(0);
  });

  it.each([
    [502, 'text/html', 'HTTP 502 (text/html)'],
    [404, undefined, 'HTTP 404 (no content type)'],
  ])('reports an answer of something else: %d %s', async (status, type, what) => {
    const url = await listen((_, response) => {
      response.writeHead(status, type === undefined ? {} : { 'content-type': type });
      response.end('<html>');
    });
    const error = await rejection(fetchTransport(url)(message, { signal }));
    expect(error).toBeInstanceOf(ClientError);
    expect(error).toMatchObject({
      kind: 'connection',
      message: expect.stringContaining(`${url} answered with ${what}`),
    });
  });

  it('does not carry a signed message to where a redirect points', async () => {
    let asked = 0;
    const elsewhere = await listen((_, response) => {
      asked++;
      response.end();
    });
    const url = await listen((_, response) => response.writeHead(307, { location: elsewhere }).end());
    const error = await rejection(fetchTransport(url)(message, { signal }));
    expect(error).toMatchObject({ kind: 'connection', message: expect.stringContaining('307') });
    expect(asked).toBe(0);
  });

  it('names the reason when there is no server', async () => {
    const url = await listen(() => {});
    await new Promise((resolve) => servers.pop()?.close(resolve));
    const error = await rejection(fetchTransport(url)(message, { signal }));
    expect(error).toBeInstanceOf(ClientError);
    expect(error).toMatchObject({ kind: 'connection', message: `cannot reach ${url}: ECONNREFUSED` });
  });

  it('names the reason when the connection breaks', async () => {
    const url = await listen((request) => request.socket.destroy());
    expect(await rejection(fetchTransport(url)(message, { signal }))).toMatchObject({ kind: 'connection' });
  });

  it('closes the connection when the signal aborts', async () => {
    const controller = new AbortController();
    const closed = new EventEmitter();
    const url = await listen((request) => {
      request.socket.on('close', () => closed.emit('close'));
      controller.abort();
    });
    const isClosed = once(closed, 'close');
    const error = await rejection(fetchTransport(url)(message, { signal: controller.signal }));
    expect(error).toBeInstanceOf(ClientError);
    await isClosed;
  });
});
