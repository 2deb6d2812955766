import { setMaxListeners } from 'node:events';
import type { ProtocolError } from '../errors/index.ts';
import { createSqliteDispatcher, startSweeper, startWorker, until } from '../jobs/index.ts';
import { JOB_LIMITS } from '../limits.ts';
import { openSqliteStore, type SqliteStore } from '../store/index.ts';
import { jobTools } from './built-in/jobs.ts';
import { serverIdentity } from './built-in/identity.ts';
import { listTools } from './built-in/list-tools.ts';
import { addClient, type Credential, type NewClient } from './clients.ts';
import { createPipeline } from './handle.ts';
import { openKeyRing } from './key-ring.ts';
import { type ResolvedOptions, resolveOptions, type ServerOptions } from './options.ts';
import { createRegistry } from './registry.ts';
import type { Reply } from './reply.ts';

/** What a transport needs: bytes in, bytes out. */
export interface Endpoint {
  /** One request message in, one response message out; never rejects. */
  handle(bytes: Uint8Array): Promise<Reply>;
  /** The unsigned reply to something that is not a message at all. */
  refuse(error: ProtocolError): Reply;
  /** Longest message that `handle` reads, in bytes. */
  readonly maxMessageBytes: number;
  /** Can it take calls and jobs now? */
  ready(): Promise<boolean>;
}

/** A server without a transport. */
export interface Server extends Endpoint {
  readonly serverId: string;
  /** Calls under way; nonces that are held, and the bytes of memory they take. */
  stats(): { readonly callsInFlight: number; readonly nonces: number; readonly nonceBytes: number };
  /** Adds a client and returns its credential, the only time that its secrets are shown. */
  addClient(client: NewClient): Promise<Credential>;
  /** Lets calls and jobs end, gives the rest back to the queue, and closes the store. */
  close(): Promise<void>;
}

/**
 * Opens the store and starts the worker. Put a transport in front of it, such as `listen`.
 *
 * @throws TypeError, RangeError for wrong options; SetupError when the store cannot be used
 */
export async function createServer(options: ServerOptions): Promise<Server> {
  const resolved = resolveOptions(options);
  const { dir, serverId, window, maxNonces, now } = resolved;
  const store = openSqliteStore({ dir, serverId, defaultServerId: 'waybill', window, maxNonces, now });
  try {
    return await assemble(store, resolved);
  } catch (error) {
    await store.close();
    throw error;
  }
}

async function assemble(store: SqliteStore, options: ResolvedOptions): Promise<Server> {
  const { tools, log, now, messageLimits, drainMs } = options;
  const dispatcher = createSqliteDispatcher(store, now);
  const draining = new AbortController();
  // Every held poll listens to it; that is no leak.
  setMaxListeners(0, draining.signal);
  const running = new Set<() => void>();
  const builtIn = [serverIdentity(store.serverId), ...jobTools(store, dispatcher, now)];
  const registry = createRegistry([...tools, ...builtIn, listTools([...tools, ...builtIn])]);
  const keyRing = await openKeyRing(store, log);
  const { serverId } = store;
  const pipeline = createPipeline({
    ...options,
    serverId,
    store,
    dispatcher,
    registry,
    keyRing,
    running,
    draining: draining.signal,
  });
  const jobs = new Map(tools.map((tool) => [tool.name, tool]));
  const worker = startWorker({ ...options, store, dispatcher, tools: jobs });
  const sweeper = startSweeper(store, dispatcher, log, now);

  async function drain(): Promise<void> {
    draining.abort();
    const jobsEnded = worker.stop(drainMs);
    await until(() => running.size === 0, drainMs);
    for (const interrupt of running) interrupt();
    await Promise.all([jobsEnded, sweeper.stop()]);
    // Replies that were on their way when the last call ended; a policy that never answers is not waited for.
    await until(() => pipeline.inFlight === 0, JOB_LIMITS.abortGraceMs);
  }

  async function drainAndClose(): Promise<void> {
    try {
      await drain();
    } finally {
      keyRing.stop();
      await store.close();
    }
  }

  let closed: Promise<void> | null = null;
  return {
    serverId,
    handle: pipeline.handle,
    refuse: pipeline.refuse,
    maxMessageBytes: messageLimits.maxMessageBytes,
    stats: () => ({
      callsInFlight: pipeline.inFlight,
      nonces: store.nonceGuard.size,
      nonceBytes: store.nonceGuard.bytes,
    }),
    async ready() {
      if (draining.signal.aborted) return false;
      return Promise.all([store.ping(), dispatcher.ping()]).then(
        () => true,
        () => false,
      );
    },
    async addClient(client) {
      const credential = await addClient(store, client);
      await keyRing.refresh();
      return credential;
    },
    close() {
      closed ??= drainAndClose();
      return closed;
    },
  };
}
