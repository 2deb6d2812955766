import { hash, type KeyObject, randomBytes, timingSafeEqual } from 'node:crypto';
import { SERVER_LIMITS } from '../../limits.ts';
import type { ClientRecord, ClientTerms, RecordStore } from '../../store/index.ts';
import type { Logger } from '../../tools/index.ts';
import { ALGORITHMS, fingerprintOf, type KeyTexts } from '../../wire/algorithms.ts';
import type { AlgorithmName } from '../../wire/envelope.ts';
import type { Sealer } from './sealer.ts';

/** The keys of one generation of a client: what was signed with the one is answered with the other. */
export interface Generation {
  /** The signature of a reply (docs/protocol.md §2). */
  sign(text: string): string;
  /** 32 hex digits that name the request key in the audit, without showing it. */
  readonly keyId: string;
  /** 32 hex digits that name the response key (docs/protocol.md §3). */
  readonly fingerprint: string;
}

/** A client as the server uses it. */
export interface Client {
  readonly id: string;
  readonly algorithm: AlgorithmName;
  /** One for each generation; they verify requests. */
  readonly requestKeys: readonly KeyObject[];
  /** The current one first. */
  readonly generations: readonly [Generation, ...Generation[]];
  readonly terms: ClientTerms;
  readonly revokedMs: number | null;
}

/** Who holds a bearer token, and what names that token in the audit. */
export interface TokenHolder {
  readonly client: Client;
  readonly keyId: string;
  /** As the records have it. */
  readonly tokenHash: string;
}

export interface KeyRing {
  /** `null`: there is none of this id. */
  find(clientId: string): Client | null;
  /** Any text may be asked for. */
  findByToken(token: string): TokenHolder | null;
  /** Is a token good still that was found before? */
  isGood(tokenHash: string): boolean;
  /** Reads the clients again if they changed. */
  refresh(): Promise<void>;
  stop(): void;
}

/** What is kept of a bearer token: its SHA-256. It has 256 random bits, so nothing slower is needed. */
export function tokenDigest(token: string): Buffer {
  return hash('sha256', token, 'buffer');
}

const REFUSED = 'the keys of a client cannot be used: it is refused';

interface TokenOwner {
  readonly holder: TokenHolder | null;
  readonly digest: Buffer;
}

/**
 * All clients' keys in memory, so that finding one costs the same whether it is there or not.
 *
 * @param onRead is told of all clients whenever they were read, which is when some of them may have changed
 */
export async function openKeyRing(
  store: RecordStore,
  sealer: Sealer,
  log: Logger,
  onRead: (clients: Iterable<Client>) => void = () => {},
): Promise<KeyRing> {
  const nobodysToken: TokenOwner = { holder: null, digest: randomBytes(32) };
  let clients = new Map<string, Client>();
  /** By digest in base64url, as the records have it. */
  let tokens = new Map<string, TokenOwner>();
  let version = Number.NaN;
  const records = createLister(store, log);
  const readied = createReadier(sealer, log);

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
    for (const { record, client } of readied(await records())) {
      found.set(client.id, client);
      for (const text of record.tokenHashes) {
        const holder = { client, keyId: text.slice(0, 16), tokenHash: text };
        foundTokens.set(text, { holder, digest: Buffer.from(text, 'base64url') });
      }
    }
    clients = found;
    tokens = foundTokens;
    version = newest;
    onRead(found.values());
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
    find: (clientId) => clients.get(clientId) ?? null,
    findByToken(token) {
      const digest = tokenDigest(token);
      const owner = tokens.get(digest.toString('base64url')) ?? nobodysToken;
      return timingSafeEqual(digest, owner.digest) ? owner.holder : null;
    },
    isGood: (tokenHash) => tokens.has(tokenHash),
    refresh,
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };
}

/** Lists the records; each that is damaged is told of once, however often the others change. */
function createLister({ clients }: Pick<RecordStore, 'clients'>, log: Logger) {
  let damaged: ReadonlySet<string> = new Set();
  return async (): Promise<readonly ClientRecord[]> => {
    const found = new Set<string>();
    const records = await clients.list((id, error) => {
      found.add(id);
      if (!damaged.has(id)) log.error({ client_id: id, err: error }, REFUSED);
    });
    damaged = found;
    return records;
  };
}

/** Makes clients ready for use. What a record of before gave is taken again: an Ed25519 key costs up to a millisecond. */
function createReadier(sealer: Sealer, log: Logger) {
  let known = new Map<string, Client | null>();
  return (records: readonly ClientRecord[]) => {
    const before = known;
    known = new Map();
    return records.flatMap((record) => {
      const text = JSON.stringify(record);
      const same = before.get(text);
      const client = same === undefined ? usable(record, sealer, log) : same;
      known.set(text, client);
      return client === null ? [] : [{ record, client }];
    });
  };
}

/** `null` for keys that were tampered with: nothing is believed of it, and the others are served. */
function usable(record: ClientRecord, sealer: Sealer, log: Logger): Client | null {
  const { id, algorithm, terms, revokedMs } = record;
  try {
    const { verifyingKey, signingKey, sign, fingerprint } = ALGORITHMS[algorithm];
    const open = ({ request, response }: KeyTexts): KeyTexts => ({
      request: sealer.open(id, 'request', request),
      response: sealer.open(id, 'response', response),
    });
    const use = ({ request, response }: KeyTexts): Generation => {
      const key = signingKey(response);
      return {
        sign: (text) => sign(text, key),
        keyId: fingerprintOf(request),
        fingerprint: fingerprint(response),
      };
    };
    const [current, ...previous] = record.keys;
    const [first, others] = [open(current), previous.map(open)];
    const requestKeys = [first, ...others].map(({ request }) => verifyingKey(request));
    return { id, algorithm, requestKeys, generations: [use(first), ...others.map(use)], terms, revokedMs };
  } catch (error) {
    log.error({ client_id: id, err: error }, REFUSED);
    return null;
  }
}
