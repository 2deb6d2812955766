import { hash, type KeyObject, randomBytes, timingSafeEqual } from 'node:crypto';
import { SERVER_LIMITS } from '../limits.ts';
import type { RecordStore } from '../store/index.ts';
import type { Logger } from '../tools/index.ts';
import { keyOf } from '../wire/signature.ts';

/** The keys of one client, the current one first. */
export interface ClientKeys {
  readonly request: readonly KeyObject[];
  readonly response: readonly [KeyObject, ...KeyObject[]];
}

export interface KeyRing {
  /** Keys of the client; `known` is false for keys that no signature can fit. */
  find(clientId: string): { readonly keys: ClientKeys; readonly known: boolean };
  /** The client that a bearer token belongs to, or `null`; any text may be asked for. */
  findByToken(token: string): string | null;
  has(clientId: string): boolean;
  /** Reads the clients again if they changed. */
  refresh(): Promise<void>;
  stop(): void;
}

/** What is kept of a bearer token: its SHA-256. It has 256 random bits, so nothing slower is needed. */
export function tokenDigest(token: string): Buffer {
  return hash('sha256', token, 'buffer');
}

interface TokenOwner {
  readonly id: string | null;
  readonly digest: Buffer;
}

/**
 * All clients' keys in memory, so that an unknown client costs the same look-up, and then the same MAC
 * under a key nobody has, as a known one with a wrong signature (docs/protocol.md §3).
 */
export async function openKeyRing(store: RecordStore, log: Logger): Promise<KeyRing> {
  const decoy = keyOf(randomBytes(32).toString('hex'));
  const nobody = { keys: { request: [decoy], response: [decoy] }, known: false } as const;
  const nobodysToken: TokenOwner = { id: null, digest: randomBytes(32) };
  let clients = new Map<string, { readonly keys: ClientKeys; readonly known: true }>();
  /** By digest in base64url, as the records have it. */
  let tokens = new Map<string, TokenOwner>();
  let version = Number.NaN;

  let reading: Promise<void> = Promise.resolve();

  /** One after the other: what was read earlier must not take the place of what was read later. */
  function refresh(): Promise<void> {
    reading = reading.catch(() => {}).then(read);
    return reading;
  }

  async function read(): Promise<void> {
    const newest = await store.clients.version();
    if (newest === version) return;
    const found: typeof clients = new Map();
    const foundTokens: typeof tokens = new Map();
    for (const { id, requestKeys, responseKeys, tokenHashes } of await store.clients.list()) {
      const [current, ...previous] = responseKeys.map(keyOf);
      if (current === undefined) throw new Error(`client ${id} has no response key`);
      found.set(id, {
        keys: { request: requestKeys.map(keyOf), response: [current, ...previous] },
        known: true,
      });
      for (const text of tokenHashes) foundTokens.set(text, { id, digest: Buffer.from(text, 'base64url') });
    }
    clients = found;
    tokens = foundTokens;
    version = newest;
  }

  await refresh();
  let stopped = false;
  let failing = false;
  // Not an interval: a store that hangs must not be asked again and again.
  const timer = setTimeout(next, SERVER_LIMITS.clientRefreshMs);
  timer.unref();

  function next(): void {
    void refresh()
      .then(
        () => {
          failing = false;
        },
        (error: unknown) => {
          // The keys in memory stay good: better to serve with them than not at all.
          if (!failing && !stopped) log.warn({ err: error }, 'cannot read the clients');
          failing = true;
        },
      )
      .finally(() => {
        if (!stopped) timer.refresh();
      });
  }

  return {
    find: (clientId) => clients.get(clientId) ?? nobody,
    findByToken(token) {
      const digest = tokenDigest(token);
      const owner = tokens.get(digest.toString('base64url')) ?? nobodysToken;
      return timingSafeEqual(digest, owner.digest) ? owner.id : null;
    },
    has: (clientId) => clients.has(clientId),
    refresh,
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };
}
