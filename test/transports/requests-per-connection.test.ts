import { expect, test } from 'vitest';
import { createClient } from '../../src/client/index.ts';
import { openConnection, post } from './raw-http.ts';
import { serve } from './served.ts';

test('the last answer of a connection says so, and ends it', async () => {
  const { peer, listener } = await serve({ maxRequestsPerConnection: 3 });
  const connection = openConnection(listener.port);
  for (const last of ['keep-alive', 'keep-alive', 'close']) {
    connection.write(post(peer.request('echo')));
    expect(await connection.next()).toMatchObject({ status: 200, headers: { connection: last } });
  }
  await connection.closed;
});

test('of calls written at once those beyond the limit are not begun', async () => {
  const { peer, listener } = await serve({ maxRequestsPerConnection: 3 });
  const connection = openConnection(listener.port);
  connection.write(Buffer.concat(Array.from({ length: 5 }, () => post(peer.request('echo')))));
  for (let n = 0; n < 3; n++) expect((await connection.next())?.status).toBe(200);
  expect(await connection.next()).toBeNull();
  expect(peer.server.stats().nonces).toBe(3);
});

test('our client rides it out under load: no call fails, none is sent twice', async () => {
  const { peer, listener } = await serve({ maxRequestsPerConnection: 7 }, { now: Date.now });
  const client = createClient({ ...peer.credential, url: listener.url });
  const calls = 1_500;
  let next = 0;
  const caller = async () => {
    for (let n = next++; n < calls; n = next++) expect(await client.call('echo', { n })).toEqual({ n });
  };
  await Promise.all(Array.from({ length: 16 }, caller));
  // Each transmission has a nonce of its own.
  expect(peer.server.stats().nonces).toBe(calls);
});

test('HTTP/1.0 is counted, too', async () => {
  const { listener } = await serve({ maxRequestsPerConnection: 2 });
  const connection = openConnection(listener.port);
  for (const last of ['keep-alive', 'close']) {
    connection.write('GET /livez HTTP/1.0\r\nconnection: keep-alive\r\n\r\n');
    expect(await connection.next()).toMatchObject({ status: 200, headers: { connection: last } });
  }
  await connection.closed;
});
