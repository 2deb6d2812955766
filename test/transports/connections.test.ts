import { describe, expect, onTestFinished, test } from 'vitest';
import { gate } from '../support/gate.ts';
import { readTool, type TestServer } from '../support/server.ts';
import { verifiedReply } from '../support/signing.ts';
import { head, openConnection, post } from './raw-http.ts';
import { echo, serve } from './served.ts';

describe('a peer that is slow or silent or gone', () => {
  const short = { headersTimeoutMs: 100, requestTimeoutMs: 200 };

  test('slow headers are cut', async () => {
    const { listener } = await serve(short);
    const connection = openConnection(listener.port);
    connection.write('POST /call HTTP/1.1\r\nhost: x\r\n');
    const trickle = setInterval(() => connection.write('x-more: 1\r\n'), 50);
    onTestFinished(() => clearInterval(trickle));
    expect((await connection.next())?.status).toBe(408);
    await connection.closed;
  });

  test('a slow body is cut', async () => {
    const { peer, listener } = await serve(short);
    const connection = openConnection(listener.port);
    connection.write(post(peer.request('echo')).subarray(0, -20));
    const trickle = setInterval(() => connection.write(' '), 150);
    onTestFinished(() => clearInterval(trickle));
    expect((await connection.next())?.status).toBe(408);
    await connection.closed;
    expect(peer.server.stats().nonces).toBe(0);
  });

  test('a connection that says nothing is cut', async () => {
    const { listener } = await serve(short);
    const connection = openConnection(listener.port);
    expect((await connection.next())?.status ?? 408).toBe(408);
    await connection.closed;
  });

  test('an idle connection is ended after its time', async () => {
    const { peer, listener } = await serve({ keepAliveTimeoutMs: 50 });
    const connection = openConnection(listener.port);
    connection.write(post(peer.request('echo')));
    expect((await connection.next())?.status).toBe(200);
    await connection.closed;
  });

  test('a connection that breaks off in the middle of a message harms nobody', async () => {
    const { peer, listener } = await serve();
    for (const missing of [1, 50, 350]) {
      const broken = openConnection(listener.port);
      broken.write(post(peer.request('echo')).subarray(0, -missing));
      await new Promise(setImmediate);
      broken.socket.resetAndDestroy();
    }
    const connection = openConnection(listener.port);
    connection.write(post(peer.request('echo')));
    expect((await connection.next())?.status).toBe(200);
    expect(peer.server.stats().nonces).toBe(1);
  });

  test('a peer that goes while its call runs harms nobody, and the call is done', async () => {
    const stay = gate();
    let done = 0;
    const slow = readTool('slow', async () => {
      await stay.opened;
      return { done: ++done };
    });
    const { peer, listener } = await serve({}, { tools: [echo, slow] });
    const gone = openConnection(listener.port);
    gone.write(post(peer.request('slow')));
    while (peer.server.stats().callsInFlight === 0) await new Promise(setImmediate);
    gone.socket.resetAndDestroy();
    const connection = openConnection(listener.port);
    connection.write(post(peer.request('echo')));
    expect((await connection.next())?.status).toBe(200);
    stay.open();
    await expect.poll(() => peer.server.stats().callsInFlight).toBe(0);
    expect(done).toBe(1);
  });

  test('bytes that are no HTTP get 400', async () => {
    const { listener } = await serve();
    const connection = openConnection(listener.port);
    connection.write('\u0016\u0003\u0001 hello?\r\n\r\n');
    expect((await connection.next())?.status).toBe(400);
    await connection.closed;
  });

  test('headers over the limit get 431', async () => {
    const { listener } = await serve();
    const connection = openConnection(listener.port);
    connection.write(`${head('POST', '/call', { host: 'x', 'x-large': 'x'.repeat(20_000) })}\r\n`);
    expect((await connection.next())?.status).toBe(431);
    await connection.closed;
  });

  test('no more connections than allowed: the next one is ended at once, and again possible when one goes', async () => {
    const { peer, listener } = await serve({ maxConnections: 2 });
    const first = openConnection(listener.port);
    const second = openConnection(listener.port);
    for (const connection of [first, second]) {
      connection.write(post(peer.request('echo')));
      expect((await connection.next())?.status).toBe(200);
    }
    const third = openConnection(listener.port);
    await third.closed;
    first.socket.destroy();
    const isServed = async () => {
      const connection = openConnection(listener.port);
      connection.write(post(peer.request('echo')));
      return (await connection.next())?.status;
    };
    await expect.poll(isServed).toBe(200);
  });
});

describe('close', () => {
  test('lets calls under way have their replies, and takes no new connections', async () => {
    const stay = gate();
    const slow = readTool('slow', () => stay.opened.then(() => ({ done: true })));
    const { peer, listener } = await serve({}, { tools: [slow] });
    const connection = openConnection(listener.port);
    connection.write(post(peer.request('slow')));
    while (peer.server.stats().callsInFlight === 0) await new Promise(setImmediate);
    let isClosed = false;
    const closed = listener.close().then(() => (isClosed = true));
    const late = openConnection(listener.port);
    await late.closed;
    // Longer than connections without a call would be given.
    await new Promise((resolve) => setTimeout(resolve, 800));
    expect(isClosed).toBe(false);
    stay.open();
    const response = await connection.next();
    expect(verifiedReply(response?.body ?? '', peer.credential).result).toEqual({ done: true });
    await closed;
  });

  test('ends idle connections at once', async () => {
    const { peer, listener } = await serve();
    const connection = openConnection(listener.port);
    connection.write(post(peer.request('echo')));
    await connection.next();
    await listener.close();
    expect(await connection.next()).toBeNull();
  });

  test.each([
    ['that has sent nothing', () => ''],
    ['in the middle of its headers', () => 'POST /call HTTP/1.1\r\nhost: x\r\n'],
    ['in the middle of its body', (peer: TestServer) => post(peer.request('echo')).subarray(0, -5)],
  ])('does not wait for a connection %s', async (_what, sent) => {
    // With the usual time-outs, far longer than this test may take.
    const { peer, listener } = await serve();
    const connection = openConnection(listener.port);
    connection.write(sent(peer));
    await new Promise<void>((resolve) => connection.socket.once('connect', () => resolve()));
    // Another call has gone through: the server has seen what the first connection sent.
    const other = openConnection(listener.port);
    other.write(post(peer.request('echo')));
    await other.next();
    await listener.close();
    await connection.closed;
    expect(peer.server.stats().callsInFlight).toBe(0);
  });

  test('answers a message that was on its way when it was called', async () => {
    const { peer, listener } = await serve();
    const connection = openConnection(listener.port);
    const bytes = post(peer.request('echo'));
    connection.write(bytes.subarray(0, 100));
    const other = openConnection(listener.port);
    other.write(post(peer.request('echo')));
    await other.next();
    const closed = listener.close();
    connection.write(bytes.subarray(100));
    expect((await connection.next())?.status).toBe(200);
    await closed;
  });
});
