import type { ClientRecord, RecordStore } from '../../store/index.ts';
import type { IssuedKeys } from '../../wire/algorithms.ts';
import type { PartnerCredential, PlacedCredential } from '../../wire/credential.ts';
import type { AlgorithmName } from '../../wire/index.ts';
import { checkKeys, issueFor, issueKeys, type KeyChoice, sealKeys } from './keys.ts';
import { changeClient, changeLiving, type ClientsContext, credentialHead } from './clients.ts';

/** The new keys of a client that has some. */
export interface Rotation extends Pick<KeyChoice, 'keys' | 'allowWeakKey'> {
  /** Where the client will find the server's `POST /call`. */
  readonly url: string;
}

/**
 * Gives a client new keys, of its algorithm. The ones before stay good until `finishRotation`, so that no call is lost
 * while its hosts are changed over (docs/protocol.md §3).
 *
 * @returns the new credential: the only time that the secrets are shown
 * @throws RangeError for a weak key, an unknown or revoked client, or one that is in the middle of a rotation
 */
export async function rotateClient(
  context: ClientsContext,
  id: string,
  rotation: Rotation,
): Promise<PlacedCredential> {
  const choice = { ...rotation, algorithm: await algorithmOf(context, id) };
  checkKeys(choice);
  const issued = issueKeys(choice);
  const head = credentialHead(context.store.serverId, await rotate(context, id, issued), rotation.url);
  return { ...head, request_key: issued.client.request, response_key: issued.client.response };
}

/** The same for a partner's new public key, `wbp_…`. @throws RangeError also for a client with secrets */
export async function rotatePartner(
  context: ClientsContext,
  id: string,
  { url, publicKey }: { readonly url: string; readonly publicKey: string },
): Promise<PartnerCredential> {
  const issued = issueFor(publicKey);
  const algorithm = await algorithmOf(context, id);
  if (algorithm !== 'ed25519') throw new RangeError(`client ${id} has shared secrets and no public key`);
  const head = credentialHead(context.store.serverId, await rotate(context, id, issued), url);
  return { ...head, response_key: issued.client.response };
}

/**
 * Drops the keys before the current ones; changes nothing where there are none.
 *
 * @throws RangeError for an unknown client
 */
export async function finishRotation(store: Pick<RecordStore, 'clients'>, id: string): Promise<void> {
  await changeClient(store, id, (client) => ({ ...client, keys: [client.keys[0]] }));
}

/** It never changes. */
async function algorithmOf({ store }: ClientsContext, id: string): Promise<AlgorithmName> {
  const client = await store.clients.get(id);
  if (client === null) throw new RangeError(`there is no client ${id}: add it first`);
  return client.algorithm;
}

function rotate(
  { store, sealer }: ClientsContext,
  id: string,
  { server }: IssuedKeys,
): Promise<ClientRecord> {
  return changeLiving(store, id, (client) => {
    if (client.keys.length > 1) {
      throw new RangeError(
        `client ${id} still has the keys of before: drop them with "waybill clients rotate ${id} --finish"`,
      );
    }
    return { ...client, keys: [sealKeys(sealer, id, server), client.keys[0]] };
  });
}
