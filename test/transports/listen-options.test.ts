import { expect, test } from 'vitest';
import { listen, type ListenOptions } from '../../src/transports/index.ts';
import { startServer } from '../support/server.ts';
import { head, openConnection } from './raw-http.ts';
import { serve } from './served.ts';

test.each<[string, object, RegExp]>([
  ['a name that is no option', { maxConection: 1 }, /there is no option "maxConection"/],
  ['a time-out switched off', { headersTimeoutMs: 0 }, /headersTimeoutMs must be an integer from 1 up/],
  [
    'requests without end',
    { maxRequestsPerConnection: 0 },
    /maxRequestsPerConnection must be an integer from 1 up/,
  ],
  ['a handshake without end', { handshakeTimeoutMs: 0 }, /handshakeTimeoutMs must be an integer from 1 up/],
  ['a port that is none', { port: 65_536 }, /port must be from 0 to 65535/],
])('listen refuses %s', async (_what, options, message) => {
  const { server } = await startServer();
  // What a program in plain JavaScript may pass.
  await expect(listen(server, options as ListenOptions)).rejects.toThrow(message);
});

test('listen takes other limits of headers', async () => {
  const { listener } = await serve({ maxHeaders: 3, maxHeaderBytes: 1_000 });
  const statusOf = async (headers: Readonly<Record<string, string>>) => {
    const connection = openConnection(listener.port);
    connection.write(`${head('GET', '/livez', { host: 'x', ...headers })}\r\n`);
    return (await connection.next())?.status;
  };
  expect(await statusOf({ 'x-1': '1', 'x-2': '2' })).toBe(200);
  expect(await statusOf({ 'x-1': '1', 'x-2': '2', 'x-3': '3' })).toBe(431);
  expect(await statusOf({ 'x-1': 'a'.repeat(1_000) })).toBe(431);
});
