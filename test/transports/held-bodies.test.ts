import { expect, test } from 'vitest';
import { verifiedReply } from '../support/signing.ts';
import { head, openConnection, post } from './raw-http.ts';
import { serve } from './served.ts';

const HEADERS = { host: 'test', 'content-type': 'application/json', 'content-length': '1000' };

test('bodies that have begun and not ended cannot fill the memory: what is too much is turned away', async () => {
  const { peer, listener } = await serve({ maxHeldBytes: 2_500 });
  const begun = Array.from({ length: 3 }, () => openConnection(listener.port));
  const [first, second, third] = begun;
  for (const connection of begun.slice(0, 2)) {
    connection.write(`${head('POST', '/call', HEADERS)}\r\n${'x'.repeat(900)}`);
  }
  // An answer on another connection shows that both have been read, and that whole bodies still pass.
  const call = openConnection(listener.port);
  const request = peer.request('echo', { n: 1 });
  call.write(post(request));
  expect(verifiedReply((await call.next())?.body ?? '', peer.credential).result).toEqual({ n: 1 });

  third?.write(`${head('POST', '/call', HEADERS)}\r\n${'x'.repeat(900)}`);
  expect(await third?.next()).toMatchObject({ status: 503, body: '' });
  await third?.closed;

  // What the first two held is given back when they go.
  for (const connection of [first, second]) connection?.socket.destroy();
  const half = peer.request('echo', { n: 2 });
  for (let status = 503; status === 503; ) {
    const late = openConnection(listener.port);
    late.write(`${head('POST', '/call', { ...HEADERS, 'content-length': String(half.length + 900) })}\r\n`);
    late.write(Buffer.concat([Buffer.alloc(900, ' '), half.subarray(0, 50)]));
    late.write(half.subarray(50));
    status = (await late.next())?.status ?? 0;
    expect([200, 503]).toContain(status);
  }
});
