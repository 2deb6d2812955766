import { describe, expect, onTestFinished, test } from 'vitest';
import { SetupError } from '../../src/errors/index.ts';
import { HTTP_LIMITS, MESSAGE_LIMITS } from '../../src/limits.ts';
import { listen, type Listener } from '../../src/transports/index.ts';
import { gate } from '../support/gate.ts';
import { codeOf, readTool } from '../support/server.ts';
import { unsignedReply, verifiedReply } from '../support/signing.ts';
import { head, openConnection, post } from './raw-http.ts';
import { echo, serve } from './served.ts';

describe('§9 POST /call', () => {
  test('one message each way, as application/json, with the status of its code', async () => {
    const { peer, listener } = await serve();
    expect(listener.url).toBe(`http://127.0.0.1:${listener.port}/call`);
    const connection = openConnection(listener.port);
    connection.write(post(peer.request('echo', { text: 'ü' })));
    const response = await connection.next();
    expect(response).toMatchObject({ status: 200, headers: { 'content-type': 'application/json' } });
    expect(response?.headers['content-length']).toBe(String(Buffer.byteLength(response?.body ?? '')));
    expect(verifiedReply(response?.body ?? '', peer.credential).result).toEqual({ text: 'ü' });

    connection.write(post(peer.request('unknown')));
    expect((await connection.next())?.status).toBe(404);
    connection.write(post(peer.request('echo', {}, { signature: '0'.repeat(64) })));
    expect((await connection.next())?.status).toBe(401);
  });

  test('many calls on one connection, one after the other', async () => {
    const { peer, listener } = await serve();
    const connection = openConnection(listener.port);
    for (let n = 0; n < 50; n++) {
      connection.write(post(peer.request('echo', { n })));
      const response = await connection.next();
      expect(verifiedReply(response?.body ?? '', peer.credential).result).toEqual({ n });
    }
  });

  test('many calls written at once are answered in their order, whichever ends first', async () => {
    const stay = gate();
    const slow = readTool('slow', () => stay.opened.then(() => ({})));
    const { peer, listener } = await serve({}, { tools: [echo, slow] });
    const connection = openConnection(listener.port);
    const ids = Array.from({ length: 20 }, (_, n) => `call-${n}`);
    const requests = ids.map((request_id, n) =>
      post(peer.request(n === 0 ? 'slow' : 'echo', {}, { request_id })),
    );
    connection.write(Buffer.concat(requests));
    while (peer.server.stats().nonces < ids.length) await new Promise(setImmediate);
    stay.open();
    const answered: string[] = [];
    for (let n = 0; n < ids.length; n++) {
      const { body } = (await connection.next()) ?? { body: '' };
      answered.push(verifiedReply(body, peer.credential).request_id);
    }
    expect(answered).toEqual(ids);
  });

  test('a message may come in any pieces, with a length or in chunks', async () => {
    const { peer, listener } = await serve();
    const connection = openConnection(listener.port);
    const bytes = post(peer.request('echo', { text: '😀' }));
    for (const byte of bytes) {
      connection.write(Uint8Array.of(byte));
      if (byte % 16 === 0) await new Promise(setImmediate);
    }
    expect((await connection.next())?.status).toBe(200);

    const message = peer.request('echo', { text: '😀' });
    const headers = { host: 'x', 'content-type': 'application/json', 'transfer-encoding': 'chunked' };
    connection.write(`${head('POST', '/call', headers)}\r\n`);
    for (let at = 0; at < message.length; at += 7) {
      const piece = message.subarray(at, at + 7);
      connection.write(
        Buffer.concat([Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from('\r\n')]),
      );
    }
    connection.write('0\r\n\r\n');
    expect((await connection.next())?.status).toBe(200);
  });

  test('a query after the path makes no difference', async () => {
    const { peer, listener } = await serve();
    const connection = openConnection(listener.port);
    connection.write(post(peer.request('echo'), {}, '/call?trace=1'));
    expect((await connection.next())?.status).toBe(200);
  });

  test('an empty body is a bad envelope', async () => {
    const { listener } = await serve();
    const connection = openConnection(listener.port);
    connection.write(post(Buffer.alloc(0)));
    const response = await connection.next();
    expect([response?.status, codeOf(unsignedReply(response?.body ?? ''))]).toEqual([400, 'bad_envelope']);
  });

  test.each([
    ['application/json', 200],
    ['application/json; charset=utf-8', 200],
    ['Application/JSON ;charset=utf-8', 200],
    ['text/plain', 415],
    ['application/jsonp', 415],
    ['application/json-seq', 415],
    ['multipart/form-data; application/json', 415],
    ['', 415],
  ])('content-type %j gets %i', async (type, status) => {
    const { peer, listener } = await serve();
    const connection = openConnection(listener.port);
    connection.write(post(peer.request('echo'), { 'content-type': type }));
    const response = await connection.next();
    expect(response?.status).toBe(status);
    if (status === 415) expect(codeOf(unsignedReply(response?.body ?? ''))).toBe('unsupported_media_type');
    // The connection can be used for a better one.
    connection.write(post(peer.request('echo')));
    expect((await connection.next())?.status).toBe(200);
  });

  test('no content-type at all gets 415', async () => {
    const { peer, listener } = await serve();
    const body = peer.request('echo');
    const connection = openConnection(listener.port);
    connection.write(`${head('POST', '/call', { host: 'x', 'content-length': String(body.length) })}\r\n`);
    connection.write(body);
    expect((await connection.next())?.status).toBe(415);
  });
});

describe('a body over the limit', () => {
  const { maxMessageBytes } = MESSAGE_LIMITS;

  test('that says so is refused before it comes, with an answer that arrives', async () => {
    const { listener } = await serve();
    const connection = openConnection(listener.port);
    const headers = {
      host: 'x',
      'content-type': 'application/json',
      'content-length': String(maxMessageBytes + 1),
    };
    connection.write(`${head('POST', '/call', headers)}\r\n`);
    const response = await connection.next();
    expect([response?.status, codeOf(unsignedReply(response?.body ?? ''))]).toEqual([413, 'too_large']);
  });

  test.each(['length', 'chunked'])(
    'an answer arrives also while the peer is still sending: %s',
    async (how) => {
      const { lingerMs } = HTTP_LIMITS;
      // Longer than a busy machine needs for the rest.
      Object.assign(HTTP_LIMITS, { lingerMs: 20_000 });
      onTestFinished(() => void Object.assign(HTTP_LIMITS, { lingerMs }));
      const { listener } = await serve();
      const connection = openConnection(listener.port);
      const isChunked = how === 'chunked';
      const length = isChunked ? { 'transfer-encoding': 'chunked' } : { 'content-length': '4000000' };
      connection.write(
        `${head('POST', '/call', { host: 'x', 'content-type': 'application/json', ...length })}\r\n`,
      );
      const piece = Buffer.alloc(50_000, ' ');
      const failures: unknown[] = [];
      connection.socket.on('error', (error) => failures.push(error));
      for (let sent = 0; sent < 4_000_000; sent += piece.length) {
        if (isChunked) connection.write(`${piece.length.toString(16)}\r\n`);
        connection.write(piece);
        if (isChunked) connection.write('\r\n');
        await new Promise(setImmediate);
      }
      if (isChunked) connection.write('0\r\n\r\n');
      expect((await connection.next())?.status).toBe(413);
      expect(failures).toEqual([]);
      // All of it has come, so the connection is good for the next request.
      connection.write(`${head('GET', '/livez', { host: 'x' })}\r\n`);
      expect((await connection.next())?.status).toBe(200);
    },
  );

  test('that never ends is cut', async () => {
    const { listener } = await serve();
    const connection = openConnection(listener.port);
    const headers = { host: 'x', 'content-type': 'application/json', 'content-length': '999999999' };
    connection.write(`${head('POST', '/call', headers)}\r\n`);
    expect((await connection.next())?.status).toBe(413);
    await connection.closed;
  });

  test('of just the limit is read', async () => {
    const { listener } = await serve();
    const connection = openConnection(listener.port);
    connection.write(post(Buffer.alloc(maxMessageBytes, '[')));
    const response = await connection.next();
    expect([response?.status, codeOf(unsignedReply(response?.body ?? ''))]).toEqual([400, 'bad_envelope']);
    expect(response?.body).toContain('nested');
  });

  test('a limit of the server’s own holds here too', async () => {
    const { peer, listener } = await serve({}, { messageLimits: { maxMessageBytes: 2_000 } });
    const connection = openConnection(listener.port);
    connection.write(post(peer.request('echo', { text: 'x'.repeat(2_000) })));
    expect((await connection.next())?.status).toBe(413);
  });
});

describe('everything but calls', () => {
  test.each([
    ['GET', '/livez', 200, 'ok\n'],
    ['GET', '/readyz', 200, 'ok\n'],
    ['GET', '/livez?x=1', 200, 'ok\n'],
    ['POST', '/livez', 405, 'use GET\n'],
    ['GET', '/call', 405, 'use POST\n'],
    ['PUT', '/call', 405, 'use POST\n'],
    ['GET', '/', 404, 'not found: messages go to POST /call\n'],
    ['POST', '/', 404, 'not found: messages go to POST /call\n'],
    ['POST', '/callx', 404, 'not found: messages go to POST /call\n'],
    ['POST', '/call/', 404, 'not found: messages go to POST /call\n'],
    ['GET', '/metrics', 404, 'not found: messages go to POST /call\n'],
  ])('%s %s gets %i', async (method, path, status, body) => {
    const { listener } = await serve();
    const connection = openConnection(listener.port);
    connection.write(`${head(method, path, { host: 'x' })}\r\n`);
    const response = await connection.next();
    expect(response).toMatchObject({ status, body, headers: { 'cache-control': 'no-store' } });
    const allow = { 'use POST\n': 'POST', 'use GET\n': 'GET, HEAD' }[body];
    expect(response?.headers['allow']).toBe(allow);
  });

  test.each(['/livez', '/readyz'])('HEAD %s says what GET would, without the body', async (path) => {
    const { listener } = await serve();
    const connection = openConnection(listener.port);
    connection.write(`${head('HEAD', path, { host: 'x' })}\r\n`);
    expect(await connection.next(false)).toMatchObject({
      status: 200,
      headers: { 'content-length': '3' },
      body: '',
    });
    connection.write(`${head('GET', path, { host: 'x' })}\r\n`);
    expect((await connection.next())?.body).toBe('ok\n');
  });

  test('a server that drains is alive and not ready', async () => {
    const stay = gate();
    const slow = readTool('slow', () => stay.opened.then(() => ({})));
    const { peer, listener } = await serve({}, { tools: [slow], drainMs: 20_000 });
    const held = peer.call('slow');
    await new Promise(setImmediate);
    const closed = peer.close();
    const connection = openConnection(listener.port);
    connection.write(`${head('GET', '/livez', { host: 'x' })}\r\n`);
    expect((await connection.next())?.status).toBe(200);
    connection.write(`${head('GET', '/readyz', { host: 'x' })}\r\n`);
    expect(await connection.next()).toMatchObject({ status: 503, body: 'not ready\n' });
    stay.open();
    await Promise.all([held, closed]);
  });
});

describe('an address', () => {
  test('that is taken is refused with what to do', async () => {
    const { peer, listener } = await serve();
    const again = listen(peer.server, { port: listener.port });
    await expect(again).rejects.toBeInstanceOf(SetupError);
    await expect(again).rejects.toThrow(
      `127.0.0.1:${listener.port}: the port is taken; choose another --port`,
    );
  });

  test('that this machine does not have is refused with what to do', async () => {
    const { peer } = await serve();
    await expect(listen(peer.server, { host: '192.0.2.1' })).rejects.toThrow(
      'this machine has no such address',
    );
  });

  test.each([-1, 65_536, 1.5, Number.NaN])('with port %d is a RangeError', async (port) => {
    const { peer } = await serve();
    await expect(listen(peer.server, { port })).rejects.toBeInstanceOf(RangeError);
  });

  test('is of this machine only unless told otherwise', async () => {
    const { listener } = await serve();
    expect(listener.host).toBe('127.0.0.1');
    const { listener: open } = await serve({ host: '0.0.0.0' });
    expect(open.host).toBe('0.0.0.0');
  });

  test('of IPv6 is written in brackets', async () => {
    const { peer } = await serve();
    const listener = await listen(peer.server, { host: '::1' }).catch((error: unknown) => error);
    // Not every machine has IPv6.
    if (listener instanceof SetupError) return;
    const { url, port, close } = listener as Listener;
    expect(url).toBe(`http://[::1]:${port}/call`);
    await close();
  });
});
