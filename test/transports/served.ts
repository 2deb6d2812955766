import { onTestFinished } from 'vitest';
import { listen, type Listener, type ListenOptions } from '../../src/transports/index.ts';
import { readTool, startServer, type TestServer, type TestServerOptions } from '../support/server.ts';

export const echo = readTool('echo', (args) => args);

/** A server on a real port, which is closed when the test ends. */
export interface Served {
  readonly peer: TestServer;
  readonly listener: Listener;
}

export async function serve(
  options: ListenOptions = {},
  serverOptions: TestServerOptions = {},
): Promise<Served> {
  const peer = await startServer({ tools: [echo], ...serverOptions });
  const listener = await listen(peer.server, options);
  onTestFinished(() => listener.close());
  return { peer, listener };
}
