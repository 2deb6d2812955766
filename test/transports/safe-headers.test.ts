import { describe, expect, test } from 'vitest';
import { createFetchHandler, type Route } from '../../src/transports/index.ts';
import { startServer, type TestServer } from '../support/server.ts';
import { head, openConnection, post } from './raw-http.ts';
import { echo, serve } from './served.ts';

const SAFE = { 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' };
const HSTS = 'strict-transport-security';

async function* twoEvents() {
  yield 'one';
  yield 'two';
}

const routes: readonly Route[] = [
  { path: '/body', maxBodyBytes: 9, handle: async () => ({ status: 200, headers: {}, body: 'b' }) },
  {
    path: '/events',
    maxBodyBytes: 9,
    handle: async () => ({ status: 200, headers: {}, events: twoEvents() }),
  },
];

const TEXT = { 'content-type': 'text/plain' };

const table: readonly (readonly [
  what: string,
  status: number,
  bytes: (peer: TestServer) => Uint8Array | string,
])[] = [
  ['a reply', 200, (peer) => post(peer.request('echo'))],
  ['a signed refusal', 404, (peer) => post(peer.request('unknown'))],
  ['an unsigned refusal', 401, (peer) => post(peer.request('echo', {}, { signature: '0'.repeat(64) }))],
  ['a wrong type', 415, () => post(Buffer.from('{}'), TEXT)],
  ['too long a message', 413, () => post(Buffer.from('{}'), { 'content-length': '99999999' })],
  ['too much held at once', 503, () => post(Buffer.from('1'.repeat(80)), { 'content-length': '200' })],
  ['a wrong method', 405, () => `${head('GET', '/call', { host: 'x' })}\r\n`],
  ['a wrong path', 404, () => `${head('GET', '/', { host: 'x' })}\r\n`],
  ['liveness', 200, () => `${head('GET', '/livez', { host: 'x' })}\r\n`],
  ['readiness', 200, () => `${head('GET', '/readyz', { host: 'x' })}\r\n`],
  ['a route', 200, () => post(Buffer.from('{}'), {}, '/body')],
  ['a stream of a route', 200, () => post(Buffer.from('{}'), {}, '/events')],
];

describe('every answer of node:http', () => {
  test.each(table)('is kept by nobody and is what its type says: %s', async (_what, status, bytes) => {
    const { peer, listener } = await serve({ routes, maxHeldBytes: 50 });
    const connection = openConnection(listener.port);
    connection.write(bytes(peer));
    const answer = await connection.next();
    expect(answer).toMatchObject({ status, headers: SAFE });
    // Of what serves nothing is told; without TLS there is nothing to insist on.
    for (const name of ['server', 'x-powered-by', HSTS]) expect(answer?.headers).not.toHaveProperty(name);
  });
});

describe('every answer of the fetch handler', () => {
  test.each([
    ['http://x', null],
    ['https://x', 'max-age=31536000'],
  ])('at %s says the same', async (origin, hsts) => {
    const peer = await startServer({ tools: [echo] });
    const handler = createFetchHandler(peer.server, { routes });
    const body = Uint8Array.from(peer.request('echo'));
    const json = { 'content-type': 'application/json' };
    const asked: readonly (readonly [status: number, path: string, init: RequestInit])[] = [
      [200, '/call', { method: 'POST', headers: json, body }],
      [400, '/call', { method: 'POST', headers: json, body: '{}' }],
      [415, '/call', { method: 'POST', headers: TEXT, body: '{}' }],
      [413, '/call', { method: 'POST', headers: json, body: 'x'.repeat(1_048_577) }],
      [405, '/call', {}],
      [404, '/', {}],
      [200, '/readyz', {}],
      [200, '/body', { method: 'POST', body: '{}' }],
      [200, '/events', { method: 'POST', body: '{}' }],
    ];
    for (const [status, path, init] of asked) {
      const response = await handler(new Request(`${origin}${path}`, init));
      expect([path, response.status]).toEqual([path, status]);
      expect(Object.fromEntries(response.headers)).toMatchObject(SAFE);
      expect(response.headers.get(HSTS)).toBe(hsts);
      await response.text();
    }
  });
});
