import type { RecordStore } from '../store/index.ts';
import { generateSecret, ID_RULE, isId, weaknessOf } from '../wire/index.ts';
import { generateToken } from '../wire/secret.ts';
import { tokenDigest } from './key-ring.ts';

/** All that a client needs to call a server; the JSON of a credential file. */
export interface Credential {
  readonly client_id: string;
  readonly server_id: string;
  readonly url: string;
  readonly request_key: string;
  readonly response_key: string;
}

export interface NewClient {
  readonly id: string;
  /** Where the client will find the server's `POST /call`. */
  readonly url: string;
  /** Secrets brought by the operator; both are generated if they are left out. */
  readonly keys?: { readonly request: string; readonly response: string };
  /** Take secrets that are short or repeat themselves. */
  readonly allowWeakKey?: boolean;
}

/**
 * Adds a client with two independent secrets (docs/protocol.md §3).
 *
 * @returns its credential: the only time that the secrets are shown
 * @throws TypeError for a wrong id, RangeError for a weak key or an id that is taken
 */
export async function addClient(
  store: Pick<RecordStore, 'clients' | 'serverId'>,
  newClient: NewClient,
): Promise<Credential> {
  checkClient(newClient);
  const { id, url, keys } = newClient;
  const request = keys?.request ?? generateSecret();
  const response = keys?.response ?? generateSecret();
  const client = {
    id,
    requestKeys: [request],
    responseKeys: [response],
    createdMs: Date.now(),
    tokenHashes: [],
  };
  if (!(await store.clients.add(client)))
    throw new RangeError(`client ${id} exists already: choose another id`);
  return { client_id: id, server_id: store.serverId, url, request_key: request, response_key: response };
}

/** What can be said without the store, before it is opened. @throws TypeError for a wrong id, RangeError for a weak key */
export function checkClient({ id, keys, allowWeakKey = false }: NewClient): void {
  if (!isId(id)) throw new TypeError(`a client id must be ${ID_RULE}`);
  if (keys === undefined) return;
  refuseWeak('request key', keys.request, allowWeakKey);
  refuseWeak('response key', keys.response, allowWeakKey);
  if (keys.request === keys.response) {
    throw new RangeError('the two keys must differ: whoever holds one could forge the other side');
  }
}

function refuseWeak(which: string, secret: string, allowed: boolean): void {
  if (secret === '') throw new RangeError(`the ${which} is empty`);
  const weakness = weaknessOf(secret);
  // A damaged wb_ secret is a mistake, not a choice.
  if (weakness === null || (allowed && !secret.startsWith('wb_'))) return;
  const hint = secret.startsWith('wb_') ? '' : '; --allow-weak-key takes it all the same';
  throw new RangeError(`the ${which} ${weakness}${hint}`);
}

/**
 * Gives a client a new bearer token, for hosts that do not sign. The newest one before it stays good, so that a
 * host's settings can be changed meanwhile; older ones do not.
 *
 * @param options `revoke`: no other token stays good
 * @returns the token: the only time that it is shown
 * @throws RangeError for an unknown client
 */
export async function addToken(
  store: Pick<RecordStore, 'clients'>,
  id: string,
  { revoke = false }: { readonly revoke?: boolean } = {},
): Promise<string> {
  const token = generateToken();
  const hash = tokenDigest(token).toString('base64url');
  for (;;) {
    const client = (await store.clients.list()).find((each) => each.id === id);
    if (client === undefined) throw unknownClient(id);
    const { tokenHashes: seen } = client;
    // Only in the place of what was seen: a token that is revoked at this moment must not come back.
    if (await store.clients.setTokens(id, [hash, ...(revoke ? [] : seen.slice(0, 1))], seen)) return token;
  }
}

/** Takes all its bearer tokens from a client; its keys stay. @throws RangeError for an unknown client */
export async function revokeTokens(store: Pick<RecordStore, 'clients'>, id: string): Promise<void> {
  if (!(await store.clients.setTokens(id, []))) throw unknownClient(id);
}

function unknownClient(id: string): RangeError {
  return new RangeError(`there is no client ${id}: add it first`);
}
