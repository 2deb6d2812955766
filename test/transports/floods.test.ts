import { describe, expect, onTestFinished, test } from 'vitest';
import { HTTP_LIMITS, MESSAGE_LIMITS } from '../../src/limits.ts';
import type { TestServer } from '../support/server.ts';
import { unsignedReply, verifiedReply } from '../support/signing.ts';
import { head, openConnection, post, type RawConnection } from './raw-http.ts';
import { serve } from './served.ts';

/** An honest call on a connection; fails unless it is answered. */
async function assertServed(connection: RawConnection, peer: TestServer, n: number): Promise<void> {
  connection.write(post(peer.request('echo', { n })));
  const response = await connection.next();
  expect(verifiedReply(response?.body ?? '', peer.credential).result).toEqual({ n });
}

function openMany(port: number, count: number): RawConnection[] {
  return Array.from({ length: count }, () => openConnection(port));
}

const CHUNKED = { host: 'x', 'content-type': 'application/json', 'transfer-encoding': 'chunked' };

describe('while strangers flood the server, an honest client is served:', () => {
  test('hundreds of bodies that never end, all of which are cut', async () => {
    const { peer, listener } = await serve({ headersTimeoutMs: 2_000, requestTimeoutMs: 2_000 });
    const slow = openMany(listener.port, 300);
    const begun = post(peer.request('echo')).subarray(0, -40);
    for (const connection of slow) connection.write(begun);
    const drip = setInterval(() => {
      for (const connection of slow) connection.write(' ');
    }, 100);
    onTestFinished(() => clearInterval(drip));
    let cut = 0;
    const ends = slow.map(async (connection) => {
      const response = await connection.next();
      await connection.closed;
      cut++;
      return response?.status;
    });
    for (let n = 1; cut < slow.length; n++) {
      await assertServed(openConnection(listener.port), peer, n);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    // Some had been reset before they could read why.
    expect(new Set(await Promise.all(ends))).toContain(408);
    expect(peer.server.stats().callsInFlight).toBe(0);
  });

  test('more connections than allowed, silent ones', async () => {
    const { peer, listener } = await serve({ maxConnections: 50 });
    const honest = openConnection(listener.port);
    await assertServed(honest, peer, 0);
    const flood = openMany(listener.port, 400);
    let turnedAway = 0;
    for (const { closed } of flood) void closed.then(() => turnedAway++);
    await expect.poll(() => turnedAway).toBe(400 - 49);
    await assertServed(honest, peer, 1);
    for (const { socket } of flood) socket.destroy();
    await expect
      .poll(async () => {
        const late = openConnection(listener.port);
        late.write(post(peer.request('echo')));
        return (await late.next())?.status;
      })
      .toBe(200);
  });

  test('requests with too many headers, and headers that never end', async () => {
    const { peer, listener } = await serve();
    const honest = openConnection(listener.port);
    const many = openMany(listener.port, 50);
    const lines = Array.from({ length: HTTP_LIMITS.maxHeaders + 1 }, (_, n) => `x-${n}: 1\r\n`).join('');
    for (const connection of many) connection.write(`${head('POST', '/call', { host: 'x' })}${lines}\r\n`);
    const endless = openMany(listener.port, 50);
    for (const connection of endless) {
      connection.write(head('POST', '/call', { host: 'x' }));
      connection.write(`x: ${'y'.repeat(HTTP_LIMITS.maxHeaderBytes)}`);
    }
    await assertServed(honest, peer, 1);
    for (const connection of [...many, ...endless]) {
      expect((await connection.next())?.status).toBe(431);
      await connection.closed;
    }
  });

  const mebibyte = (unit: string) => unit.repeat(Math.floor(MESSAGE_LIMITS.maxMessageBytes / unit.length));
  test.each([
    ['brackets', mebibyte('[')],
    ['objects in objects', mebibyte('{"a":')],
    ['members', `{${mebibyte('"a":1,').slice(0, -20)}"b":1}`],
    ['names', `{"args":{${Array.from({ length: 60_000 }, (_, i) => `"k${i}":1`).join()}}}`],
    ['backslashes', `"${mebibyte('\\').slice(2)}"`],
    ['digits', mebibyte('9')],
    ['numbers', `[${mebibyte('1e9,').slice(0, -4)}1]`],
    ['white space', mebibyte(' ')],
  ])('a mebibyte of %s, again and again', async (_what, bomb) => {
    const { peer, listener } = await serve();
    const honest = openConnection(listener.port);
    const bombers = openMany(listener.port, 8);
    for (const connection of bombers) connection.write(post(Buffer.from(bomb)));
    await assertServed(honest, peer, 1);
    for (const connection of bombers) {
      const response = await connection.next();
      expect(response?.status).toBe(400);
      expect(unsignedReply(response?.body ?? '').error).toMatch(/^bad_envelope: /);
    }
    expect(peer.server.stats()).toMatchObject({ nonces: 1, callsInFlight: 0 });
  });

  test('requests without end from a peer that reads no answer: the server stops to read them', async () => {
    const { peer, listener } = await serve();
    const honest = openConnection(listener.port);
    const deaf = openConnection(listener.port);
    deaf.socket.pause();
    const request = post(Buffer.from('{"not":"a message"}'));
    const many = Buffer.concat(Array.from({ length: 500 }, () => request));
    // Some MiB lie in the buffers of both systems; answers to all of this would lie in the memory of the server.
    const most = 1_000;
    let taken = 0;
    while (taken < most && (deaf.socket.write(many) || (await drained(deaf)))) taken++;
    expect(taken).toBeLessThan(most);
    await assertServed(honest, peer, 1);
  });

  test('chunks with endless extensions', async () => {
    const { peer, listener } = await serve();
    const honest = openConnection(listener.port);
    const flood = openConnection(listener.port);
    flood.write(`${head('POST', '/call', CHUNKED)}\r\n1;${'x'.repeat(100_000)}`);
    expect((await flood.next())?.status).toBe(413);
    await flood.closed;
    await assertServed(honest, peer, 1);
  });
});

/** Does the server take more within a moment that is long enough for one that reads? */
function drained({ socket }: RawConnection): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), 500);
    socket.once('drain', () => {
      clearTimeout(timer);
      resolve(true);
    });
  });
}
