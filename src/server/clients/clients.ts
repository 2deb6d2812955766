import type { ClientRecord, ClientTerms, RecordStore } from '../../store/index.ts';
import { OPEN_TERMS } from '../../store/index.ts';
import type { IssuedKeys } from '../../wire/algorithms.ts';
import { DEFAULT_ALGORITHM, type PartnerCredential, type PlacedCredential } from '../../wire/credential.ts';
import { type AlgorithmName, ID_RULE, isId } from '../../wire/index.ts';
import { generateToken } from '../../wire/secret.ts';
import { checkKeys, issueFor, issueKeys, type KeyChoice, sealKeys } from './keys.ts';
import { tokenDigest } from './key-ring.ts';
import type { Sealer } from './sealer.ts';
import { checkTerms } from './terms.ts';

/** A client that is to be added. */
export interface NewClient extends KeyChoice {
  /** Names it in every message and record; it never changes. */
  readonly id: string;
  /** Where the client will find the server's `POST /call`. */
  readonly url: string;
  /** What it may do. Default: everything, without end. */
  readonly terms?: Partial<ClientTerms>;
}

/** A client that signs with a private key of its own. */
export interface NewPartner extends Pick<NewClient, 'id' | 'url' | 'terms'> {
  /** `wbp_…`: the public key of the pair. */
  readonly publicKey: string;
}

/** Where clients are kept, and what seals their secrets there. */
export interface ClientsContext {
  readonly store: Pick<RecordStore, 'clients' | 'serverId'>;
  readonly sealer: Sealer;
}

/**
 * Adds a client with two independent keys (docs/protocol.md §3).
 *
 * @returns its credential: the only time that the secrets are shown
 * @throws TypeError for a wrong id, RangeError for a weak key, wrong terms or an id that is taken
 */
export async function addClient(context: ClientsContext, client: NewClient): Promise<PlacedCredential> {
  checkClient(client);
  const issued = issueKeys(client);
  const credential = await insert(context, client, client.algorithm ?? DEFAULT_ALGORITHM, issued);
  return { ...credential, request_key: issued.client.request, response_key: issued.client.response };
}

/** Adds a client with whom no secret is shared, by Ed25519. @throws as addClient */
export async function addPartner(context: ClientsContext, partner: NewPartner): Promise<PartnerCredential> {
  checkClient(partner);
  const issued = issueFor(partner.publicKey);
  const credential = await insert(context, partner, 'ed25519', issued);
  return { ...credential, response_key: issued.client.response };
}

async function insert(
  { store, sealer }: ClientsContext,
  { id, url, terms }: Pick<NewClient, 'id' | 'url' | 'terms'>,
  algorithm: AlgorithmName,
  { server }: IssuedKeys,
) {
  const client: ClientRecord = {
    id,
    algorithm,
    keys: [sealKeys(sealer, id, server)],
    tokenHashes: [],
    terms: { ...OPEN_TERMS, ...terms },
    revokedMs: null,
    createdMs: Date.now(),
    revision: 0,
  };
  if (!(await store.clients.add(client)))
    throw new RangeError(`client ${id} exists already: choose another id`);
  return credentialHead(store.serverId, { id, algorithm }, url);
}

/** The members of a credential that are no keys. */
export function credentialHead(
  serverId: string,
  { id, algorithm }: Pick<ClientRecord, 'id' | 'algorithm'>,
  url: string,
) {
  const head = { client_id: id, server_id: serverId, url };
  return algorithm === DEFAULT_ALGORITHM ? head : { ...head, algorithm };
}

/** What can be said without the store, before it is opened. @throws TypeError for a wrong id, RangeError for a weak key or terms that cannot be meant */
export function checkClient(client: Pick<NewClient, 'id' | 'terms'> & KeyChoice): void {
  if (!isId(client.id)) throw new TypeError(`a client id must be ${ID_RULE}`);
  checkKeys(client);
  checkTerms(client.terms ?? {});
}

/**
 * Changes a client's record, whoever else changes it at the same moment.
 *
 * @param change gives the record that is wanted from the one that is there
 * @throws RangeError for an unknown client, and what `change` throws
 */
export async function changeClient(
  { clients }: Pick<RecordStore, 'clients'>,
  id: string,
  change: (client: ClientRecord) => ClientRecord,
): Promise<ClientRecord> {
  for (;;) {
    const client = await clients.get(id);
    if (client === null) throw new RangeError(`there is no client ${id}: add it first`);
    const wanted = change(client);
    if (await clients.update(wanted)) return { ...wanted, revision: wanted.revision + 1 };
  }
}

/** The same for what a client gets that is to be used. @throws RangeError also for a client that was revoked */
export function changeLiving(
  store: Pick<RecordStore, 'clients'>,
  id: string,
  change: (client: ClientRecord) => ClientRecord,
): Promise<ClientRecord> {
  return changeClient(store, id, (client) => {
    if (client.revokedMs !== null)
      throw new RangeError(`client ${id} was revoked, for good: add another id in its place`);
    return change(client);
  });
}

/**
 * Changes what a client may do; what is left out stays.
 *
 * @throws RangeError for terms that cannot be meant, and for an unknown or revoked client
 */
export async function setTerms(
  store: Pick<RecordStore, 'clients'>,
  id: string,
  terms: Partial<ClientTerms>,
): Promise<ClientRecord> {
  checkTerms(terms);
  return changeLiving(store, id, (client) => ({ ...client, terms: { ...client.terms, ...terms } }));
}

/**
 * Refuses a client from now on, for good: its keys are answered with `forbidden`, and its tokens are forgotten.
 * Again, it changes nothing.
 *
 * @throws RangeError for an unknown client
 */
export async function revokeClient(store: Pick<RecordStore, 'clients'>, id: string): Promise<ClientRecord> {
  const revokedMs = Date.now();
  return changeClient(store, id, (client) => ({
    ...client,
    tokenHashes: [],
    revokedMs: client.revokedMs ?? revokedMs,
  }));
}

/**
 * Gives a client a new bearer token, for hosts that do not sign. The newest one before it stays good, so that a
 * host's settings can be changed meanwhile; older ones do not.
 *
 * @returns the token: the only time that it is shown
 * @throws RangeError for an unknown or revoked client
 */
export async function addToken(store: Pick<RecordStore, 'clients'>, id: string): Promise<string> {
  const token = generateToken();
  const hash = tokenDigest(token).toString('base64url');
  await changeLiving(store, id, (client) => ({
    ...client,
    tokenHashes: [hash, ...client.tokenHashes.slice(0, 1)],
  }));
  return token;
}

/** Takes all its bearer tokens from a client; its keys stay. @throws RangeError for an unknown client */
export async function revokeTokens(store: Pick<RecordStore, 'clients'>, id: string): Promise<void> {
  await changeClient(store, id, (client) => ({ ...client, tokenHashes: [] }));
}
