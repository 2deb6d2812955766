import { describe, expect, onTestFinished, test } from 'vitest';
import { MESSAGE_LIMITS } from '../../src/limits.ts';
import { gate } from '../support/gate.ts';
import { readTool, type TestServer } from '../support/server.ts';
import { verifiedReply } from '../support/signing.ts';
import { head, openConnection, post, type RawConnection } from './raw-http.ts';
import { echo, serve } from './served.ts';

describe('a peer that is slow or silent or gone', () => {
  test('slow headers, a slow body and silence are cut', async () => {
    const { peer, listener } = await serve({ headersTimeoutMs: 100, requestTimeoutMs: 200 });
    const slowHeaders = openConnection(listener.port);
    slowHeaders.write('POST /call HTTP/1.1\r\nhost: x\r\n');
    const slowBody = openConnection(listener.port);
    slowBody.write(post(peer.request('echo')).subarray(0, -20));
    const trickle = setInterval(() => {
      slowHeaders.write('x-more: 1\r\n');
      slowBody.write(' ');
    }, 150);
    onTestFinished(() => clearInterval(trickle));
    const silent = openConnection(listener.port);
    for (const connection of [slowHeaders, slowBody, silent]) {
      expect((await connection.next())?.status).toBe(408);
      await connection.closed;
    }
    expect(peer.server.stats().nonces).toBe(0);
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

describe('bodies that have begun and not ended', () => {
  /** A request in two pieces: the first holds `bytes` of its body. */
  function split(peer: TestServer, bytes: number): readonly [Buffer, Buffer] {
    const message = peer.request('echo', { text: 'x'.repeat(bytes) });
    const all = post(message);
    const cut = all.length - message.length + bytes;
    return [all.subarray(0, cut), all.subarray(cut)];
  }

  async function callOnce(port: number, peer: TestServer): Promise<void> {
    const whole = openConnection(port);
    whole.write(post(peer.request('echo')));
    expect((await whole.next())?.status).toBe(200);
  }

  test('hold no more memory than allowed: the next is turned away, and messages that come whole pass', async () => {
    const { peer, listener } = await serve({ maxHeldBytes: 100_000 });
    const [first, rest] = split(peer, 90_000);
    const holding = openConnection(listener.port);
    await new Promise((resolve) => holding.socket.write(first, resolve));
    // Answers on another connection show that all of it has been read.
    for (let n = 0; n < 3; n++) await callOnce(listener.port, peer);
    const isTurnedAway = async () => {
      const next = openConnection(listener.port);
      next.write(split(peer, 20_000)[0]);
      // What is let in waits for its rest.
      return Promise.race([next.next(), new Promise((resolve) => setTimeout(resolve, 200))]);
    };
    await expect.poll(isTurnedAway).toMatchObject({ status: 503, headers: { 'retry-after': '1' } });
    await callOnce(listener.port, peer);
    holding.write(rest);
    expect((await holding.next())?.status).toBe(200);
  });

  test.each([
    ['were answered', 200, (connection: RawConnection, rest: Buffer) => connection.write(rest)],
    ['broke off', undefined, (connection: RawConnection) => connection.socket.resetAndDestroy()],
    [
      'were too large',
      413,
      (connection: RawConnection) => connection.write(Buffer.alloc(MESSAGE_LIMITS.maxMessageBytes)),
    ],
  ])('are not counted any more when they %s', async (_what, status, end) => {
    // Enough for a body just before it is too large, and for no two of the bodies below.
    const { peer, listener } = await serve({ maxHeldBytes: MESSAGE_LIMITS.maxMessageBytes + 50_000 });
    for (let i = 0; i < 5; i++) {
      const connection = openConnection(listener.port);
      const message = peer.request('echo', { text: 'x'.repeat(600_000) });
      const length = status === 413 ? 3_000_000 : message.length;
      const headers = { host: 'x', 'content-type': 'application/json', 'transfer-encoding': 'chunked' };
      connection.write(`${head('POST', '/call', headers)}\r\n${length.toString(16)}\r\n`);
      connection.write(message.subarray(0, 600_000));
      await new Promise((resolve) => setTimeout(resolve, 20));
      end(connection, Buffer.concat([message.subarray(600_000), Buffer.from('\r\n0\r\n\r\n')]));
      expect((await connection.next())?.status).toBe(status);
      connection.socket.destroy();
    }
    const connection = openConnection(listener.port);
    const [first, rest] = split(peer, 900_000);
    connection.write(first);
    await new Promise(setImmediate);
    connection.write(rest);
    expect((await connection.next())?.status).toBe(200);
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
