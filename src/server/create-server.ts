import { setMaxListeners } from 'node:events';
import type { ProtocolError } from '../errors/index.ts';
import { until } from '../jobs/index.ts';
import { JOB_LIMITS } from '../limits.ts';
import { explainCall } from './built-in/explain-call.ts';
import { jobTools } from './built-in/jobs.ts';
import { serverIdentity } from './built-in/identity.ts';
import { listTools } from './built-in/list-tools.ts';
import { type Calls, createCalls } from './calls.ts';
import { addClient, addToken, type ClientsContext, type NewClient, revokeClient } from './clients/clients.ts';
import { createPipeline } from './handle.ts';
import { type KeyRing, openKeyRing } from './clients/key-ring.ts';
import { type ResolvedServer, resolveServer, type ServerOptions } from './options.ts';
import { createRegistry } from './registry.ts';
import type { Reply } from './reply.ts';
import { finishRotation, rotateClient, type Rotation } from './clients/rotation.ts';
import type { PlacedCredential } from '../wire/credential.ts';
import { openRuntime, type Runtime } from './runtime.ts';
import { createScopeWatch } from './clients/terms.ts';

/** What a transport needs: bytes in, bytes out. */
export interface Endpoint {
  /** One request message in, one response message out; never rejects. The bytes must stay as they are until then. */
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
  /**
   * Adds a client and returns its credential, the only time that its secrets are shown.
   *
   * @throws TypeError for a wrong id; RangeError for a weak key, wrong terms or an id that is taken
   */
  addClient(client: NewClient): Promise<PlacedCredential>;
  /** Adds a bearer token to a client and returns it, the only time that it is shown. The one before stays good. @throws RangeError */
  addToken(clientId: string): Promise<string>;
  /**
   * Gives a client new keys and returns its new credential; those before stay good until `finishRotation`.
   *
   * @throws RangeError for a weak key, an unknown or revoked client, or one in the middle of a rotation
   */
  rotateClient(clientId: string, rotation: Rotation): Promise<PlacedCredential>;
  /** Drops the keys before the current ones. @throws RangeError for an unknown client */
  finishRotation(clientId: string): Promise<void>;
  /** Refuses a client from now on, for good. @throws RangeError for an unknown client */
  revokeClient(clientId: string): Promise<void>;
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
  const { store, dispatcher, nonceGuard, audit } = runtime;
  const { serverId } = store;
  const draining = new AbortController();
  // Every held poll listens to it; that is no leak.
  setMaxListeners(0, draining.signal);
  const running = new Set<() => void>();
  const builtIn = [
    serverIdentity(serverId, audit?.key ?? null),
    ...jobTools(store, dispatcher, log, now, (id) => keyRing.find(id)),
    explainCall({ ...options, store, find: (name) => registry.get(name) }),
  ];
  const registry = createRegistry([...tools, ...builtIn, listTools([...tools, ...builtIn])]);
  const { sealer } = await runtime.master();
  const keyRing = await openKeyRing(store, sealer, log, createScopeWatch(registry.keys(), log));
  const flights = { open: 0 };
  const context = {
    ...options,
    serverId,
    store,
    dispatcher,
    registry,
    keyRing,
    audit,
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
    ...clientVerbs({ store, sealer }, keyRing),
    close() {
      closed ??= drainAndClose();
      return closed;
    },
  };
}

type ClientVerb = 'addClient' | 'addToken' | 'rotateClient' | 'finishRotation' | 'revokeClient';

/** What they change is known to this server when they have ended. */
function clientVerbs(context: ClientsContext, keyRing: KeyRing): Pick<Server, ClientVerb> {
  const { store } = context;
  async function thenKnown<T>(change: Promise<T>): Promise<T> {
    try {
      return await change;
    } finally {
      // Also a client that was refused because it is there is known from here on. A store that fails only now must
      // not lose a credential, which is shown once: the key ring goes on trying by itself.
      await keyRing.refresh().catch(() => {});
    }
  }
  return {
    addClient: (client) => thenKnown(addClient(context, client)),
    addToken: (id) => thenKnown(addToken(store, id)),
    rotateClient: (id, rotation) => thenKnown(rotateClient(context, id, rotation)),
    finishRotation: (id) => thenKnown(finishRotation(store, id)),
    revokeClient: (id) => thenKnown(revokeClient(store, id).then(() => {})),
  };
}
