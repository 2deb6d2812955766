import { describe, expect, onTestFinished, test } from 'vitest';
import { MESSAGE_LIMITS } from '../../src/limits.ts';
import { createFetchHandler, listen } from '../../src/transports/index.ts';
import { readTool, startServer, type TestServer } from '../support/server.ts';
import { verifiedReply } from '../support/signing.ts';

const echo = readTool('echo', (args) => args);
const JSON_TYPE = { 'content-type': 'application/json' };
const large = (bytes: number) => () => new Uint8Array(bytes).fill(91);

interface Sent {
  readonly method: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Made anew for each of the two: a message can be sent once only. */
  readonly body?: (peer: TestServer) => Uint8Array<ArrayBuffer> | Buffer;
}

/** What must be the same of an answer. */
async function answerOf(response: Response) {
  const header = (name: string) => response.headers.get(name);
  return {
    status: response.status,
    type: header('content-type'),
    allow: header('allow'),
    cache: header('cache-control'),
    sniff: header('x-content-type-options'),
    body: await response.text(),
  };
}

function toRequest(base: string, peer: TestServer, { method, path, headers = {}, body }: Sent): Request {
  return new Request(`${base}${path}`, {
    method,
    headers,
    ...(body && { body: Uint8Array.from(body(peer)) }),
  });
}

describe('the fetch handler gives the answers of node:http', () => {
  const same = { request_id: 'the-same' };
  const table: readonly Sent[] = [
    {
      method: 'POST',
      path: '/call',
      headers: JSON_TYPE,
      body: (peer) => peer.request('echo', { text: 'ü' }, same),
    },
    { method: 'POST', path: '/call?x=1', headers: JSON_TYPE, body: (peer) => peer.request('echo', {}, same) },
    {
      method: 'POST',
      path: '/call',
      headers: { 'content-type': 'application/json; charset=utf-8' },
      body: (peer) => peer.request('echo', {}, same),
    },
    { method: 'POST', path: '/call', headers: JSON_TYPE, body: (peer) => peer.request('unknown', {}, same) },
    {
      method: 'POST',
      path: '/call',
      headers: JSON_TYPE,
      body: (peer) => peer.request('echo', {}, { ...same, ts_ms: 0 }),
    },
    {
      method: 'POST',
      path: '/call',
      headers: JSON_TYPE,
      body: (peer) => peer.request('echo', {}, { ...same, signature: '0'.repeat(64) }),
    },
    { method: 'POST', path: '/call', headers: JSON_TYPE, body: () => Buffer.from('no json') },
    { method: 'POST', path: '/call', headers: JSON_TYPE },
    { method: 'POST', path: '/call', headers: JSON_TYPE, body: large(MESSAGE_LIMITS.maxMessageBytes) },
    { method: 'POST', path: '/call', headers: JSON_TYPE, body: large(MESSAGE_LIMITS.maxMessageBytes + 1) },
    { method: 'POST', path: '/call', headers: JSON_TYPE, body: large(3 * MESSAGE_LIMITS.maxMessageBytes) },
    {
      method: 'POST',
      path: '/call',
      headers: { 'content-type': 'text/plain' },
      body: (peer) => peer.request('echo', {}, same),
    },
    { method: 'POST', path: '/call', headers: {}, body: (peer) => peer.request('echo', {}, same) },
    { method: 'GET', path: '/call' },
    { method: 'DELETE', path: '/call' },
    { method: 'GET', path: '/livez' },
    { method: 'GET', path: '/readyz' },
    { method: 'HEAD', path: '/livez' },
    { method: 'HEAD', path: '/nowhere' },
    { method: 'POST', path: '/livez', headers: JSON_TYPE },
    { method: 'GET', path: '/' },
    { method: 'POST', path: '/call/', headers: JSON_TYPE, body: (peer) => peer.request('echo', {}, same) },
  ];

  test.each(table.map((sent, i) => [i, sent] as const))('request %i of the table: %o', async (_i, sent) => {
    const peer = await startServer({ tools: [echo] });
    const listener = await listen(peer.server);
    onTestFinished(() => listener.close());
    const base = `http://127.0.0.1:${listener.port}`;
    const overHttp = await answerOf(await fetch(toRequest(base, peer, sent)));
    const handler = createFetchHandler(peer.server);
    expect(await answerOf(await handler(toRequest('https://any.host', peer, sent)))).toEqual(overHttp);
  });
});

describe('the fetch handler', () => {
  /** A body that comes in pieces and may never end. */
  function streamed(pieces: () => Uint8Array | null, onCancel: () => void = () => {}): Request {
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        const piece = pieces();
        if (piece === null) controller.close();
        else controller.enqueue(piece);
      },
      cancel: onCancel,
    });
    // `duplex` is required for streams, and not in every list of types.
    const init: RequestInit & { duplex: 'half' } = {
      method: 'POST',
      headers: JSON_TYPE,
      body,
      duplex: 'half',
    };
    return new Request('http://x/call', init);
  }

  test('takes a message in pieces', async () => {
    const peer = await startServer({ tools: [echo] });
    const left = [...peer.request('echo', { text: '😀' })];
    const handler = createFetchHandler(peer.server);
    const response = await handler(
      streamed(() => (left.length === 0 ? null : Uint8Array.from(left.splice(0, 7)))),
    );
    expect(response.status).toBe(200);
    expect(verifiedReply(await response.text(), peer.credential).result).toEqual({ text: '😀' });
  });

  test('reads no more than the limit of a body that never ends', async () => {
    const peer = await startServer({ tools: [echo] });
    let sent = 0;
    let cancelled = false;
    const endless = streamed(
      () => {
        sent += 65_536;
        return new Uint8Array(65_536);
      },
      () => {
        cancelled = true;
      },
    );
    const response = await createFetchHandler(peer.server)(endless);
    expect(response.status).toBe(413);
    expect(cancelled).toBe(true);
    expect(sent).toBeLessThan(2 * MESSAGE_LIMITS.maxMessageBytes);
  });

  test('says that a server which drains is not ready', async () => {
    const peer = await startServer();
    const handler = createFetchHandler(peer.server);
    await peer.close();
    expect((await handler(new Request('http://x/readyz'))).status).toBe(503);
    expect((await handler(new Request('http://x/livez'))).status).toBe(200);
  });
});
