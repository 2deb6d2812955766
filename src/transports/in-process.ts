import type { Transport } from '../client/index.ts';
import type { Endpoint } from '../server/index.ts';

const utf8 = new TextEncoder();

/** A transport for `createClient` that calls a server in the same process: bytes in, bytes out. */
export function inProcess(server: Endpoint): Transport {
  return async (bytes) => utf8.encode((await server.handle(bytes)).body);
}
