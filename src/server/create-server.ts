import { setMaxListeners } from 'node:events';
import type { ProtocolError } from '../errors/index.ts';
import { until } from '../jobs/index.ts';
import { JOB_LIMITS } from '../limits.ts';
import { jobTools } from './built-in/jobs.ts';
import { serverIdentity } from './built-in/identity.ts';
import { listTools } from './built-in/list-tools.ts';
import { type Calls, createCalls } from './calls.ts';
import { addClient, addToken, type Credential, type NewClient } from './clients.ts';
import { createPipeline } from './handle.ts';
import { openKeyRing } from './key-ring.ts';
import { type ResolvedServer, resolveServer, type ServerOptions } from './options.ts';
import { createRegistry } from './registry.ts';
import type { Reply } from './reply.ts';
import { openRuntime, type Runtime } from './runtime.ts';

/** What a transport needs: bytes in, bytes out. */
export interface Endpoint {
  /** One request message in, one response message out; never rejects. */
  handle(bytes: Uint8Array): Promise<Reply>;
  /** The unsigned reply to something that is not a message at all. */
  refuse(error: ProtocolError): Reply;
  /** Longest message that `handle` reads, in bytes. */
  readonly maxMessageBytes: number;
  /** Can it take calls and jobs now? Answers within two seconds. */
  ready(): Promise<boolean>;
}

/** A server without a transport. */
export interface Server extends Endpoint {
  readonly serverId: string;
  /** Its tools and jobs for other wires than mcp/0.1. */
  readonly calls: Calls;
  /** Calls under way; nonces that this process holds (none if a database does), and the memory they take. */
  stats(): { readonly callsInFlight: number; readonly nonces: number; readonly nonceBytes: number };
  /** Adds a client and returns its credential, the only time that its secrets are shown. */
  addClient(client: NewClient): Promise<Credential>;
  /** Adds a bearer token to a client and returns it, the only time that it is shown. The one before stays good. */
  addToken(clientId: string): Promise<string>;
  /** Lets calls and jobs end, gives the rest back to the queue, and closes the store. */
  close(): Promise<void>;
}

/**
 * Opens store and queue and starts the worker. Put a transport in front of it, such as `listen`.
 *
 * @throws TypeError, RangeError for wrong options; SetupError when store or queue cannot be used
 */
export async function createServer(options: ServerOptions): Promise<Server> {
  const resolved = resolveServer(options);
  const runtime = await openRuntime(resolved);
  try {
    return await assemble(runtime, resolved);
  } catch (error) {
    await runtime.close();
    throw error;
  }
}

async function assemble(runtime: Runtime, options: ResolvedServer): Promise<Server> {
  const { tools, log, now, messageLimits, drainMs } = options;
  const { store, dispatcher, nonceGuard } = runtime;
  const { serverId } = store;
  const draining = new AbortController();
  // Every held poll listens to it; that is no leak.
  setMaxListeners(0, draining.signal);
  const running = new Set<() => void>();
  const builtIn = [serverIdentity(serverId), ...jobTools(store, dispatcher, log, now)];
  const registry = createRegistry([...tools, ...builtIn, listTools([...tools, ...builtIn])]);
  const keyRing = await openKeyRing(store, log);
  const flights = { open: 0 };
  const context = {
    ...options,
    serverId,
    store,
    dispatcher,
    registry,
    keyRing,
    running,
    flights,
    draining: draining.signal,
  };
  const pipeline = createPipeline(context);
  runtime.start();

  async function drainCalls(): Promise<void> {
    await until(() => running.size === 0, drainMs);
    for (const interrupt of running) interrupt();
  }

  async function drainAndClose(): Promise<void> {
    draining.abort();
    await Promise.all([runtime.stopJobs(), drainCalls()]);
    // Replies that were on their way when the last call ended; a policy that never answers is not waited for.
    await until(() => flights.open === 0, JOB_LIMITS.abortGraceMs);
    keyRing.stop();
    await runtime.close();
  }

  let closed: Promise<void> | null = null;
  return {
    serverId,
    calls: createCalls(context),
    handle: pipeline.handle,
    refuse: pipeline.refuse,
    maxMessageBytes: messageLimits.maxMessageBytes,
    stats: () => ({
      callsInFlight: flights.open,
      nonces: nonceGuard?.size ?? 0,
      nonceBytes: nonceGuard?.bytes ?? 0,
    }),
    ready: async () => !draining.signal.aborted && runtime.ready(),
    async addClient(client) {
      try {
        return await addClient(store, client);
      } finally {
        // Also one that was refused because it is there is known from here on.
        await keyRing.refresh();
      }
    },
    async addToken(clientId) {
      const token = await addToken(store, clientId);
      await keyRing.refresh();
      return token;
    },
    close() {
      closed ??= drainAndClose();
      return closed;
    },
  };
}
