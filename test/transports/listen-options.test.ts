import { expect, test } from 'vitest';
import { listen, type ListenOptions } from '../../src/transports/index.ts';
import { startServer } from '../support/server.ts';

test.each<[string, object, RegExp]>([
  ['a name that is no option', { maxConection: 1 }, /there is no option "maxConection"/],
  ['a time-out switched off', { headersTimeoutMs: 0 }, /headersTimeoutMs must be an integer from 1 up/],
  ['a port that is none', { port: 65_536 }, /port must be from 0 to 65535/],
])('listen refuses %s', async (_what, options, message) => {
  const { server } = await startServer();
  // What a program in plain JavaScript may pass.
  await expect(listen(server, options as ListenOptions)).rejects.toThrow(message);
});
