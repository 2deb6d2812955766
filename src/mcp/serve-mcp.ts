import type { Readable, Writable } from 'node:stream';
import { MCP_LIMITS } from '../limits.ts';
import type { Server } from '../server/index.ts';
import type { KnownClient } from '../server/calls.ts';
import { localBackends } from './local.ts';
import { resolveMcp } from './options.ts';
import { serveMcpStdio } from './stdio.ts';

export interface ServeMcpOptions {
  readonly input: Readable;
  readonly output: Writable;
  /** Whose calls and jobs these are; made if it is not there. */
  readonly clientId: string;
  /** How long a call to a job waits for hosts without Tasks, in milliseconds. */
  readonly waitMs?: number;
}

/**
 * Serves a server's tools to the one host at the other end of two streams, such as stdin and stdout. Resolves
 * when the input has ended and every answer is written; the server is left to whoever made it.
 *
 * @throws TypeError, RangeError for wrong options
 */
export async function serveMcp(
  server: Server,
  { input, output, clientId, waitMs = MCP_LIMITS.waitMs }: ServeMcpOptions,
): Promise<void> {
  resolveMcp({ waitMs });
  const client = await clientOf(server, clientId);
  const { log, draining } = server.calls;
  const backend = localBackends(server.calls, server.serverId)(client);
  await serveMcpStdio(backend, { input, output, waitMs, log, draining });
}

async function clientOf(server: Server, id: string): Promise<KnownClient> {
  const known = server.calls.clientNamed(id);
  if (known !== null) return known;
  // Nobody is given its secrets: until it gets new ones it has no other way in than this.
  await server.addClient({ id, url: 'http://localhost/' }).catch((error: unknown) => {
    // Another host's server on the same store was faster.
    if (server.calls.clientNamed(id) === null) throw error;
  });
  return clientOf(server, id);
}
