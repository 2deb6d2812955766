import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { SetupError } from '../errors/index.ts';
import type { EngineUrls } from '../jobs/engine-urls.ts';
import type { Sealer } from '../server/sealer.ts';
import type { ClientStore } from '../store/record-store.ts';
import { addStoreOptions, dataOption, engineUrls } from './engine-options.ts';
import { type MasterKey, masterKeyOf, masterKeyOption } from './master-key.ts';
import { note } from './output.ts';

/** Where clients are, and what opens their secrets. */
export interface ClientsPlace extends MasterKey {
  readonly urls: EngineUrls;
}

export function addPlaceOptions(command: Command): Command {
  return addStoreOptions(command.addOption(dataOption())).addOption(masterKeyOption());
}

/** @throws Failure, SetupError */
export function clientsPlace(command: Command): ClientsPlace {
  return { urls: engineUrls(command), ...masterKeyOf(command) };
}

interface Ids {
  readonly serverId?: string | undefined;
  readonly defaultServerId?: string;
}

/** The client records beside a server that may be running; what is missing is made. @throws SetupError */
async function openClients(urls: EngineUrls, ids: Ids): Promise<ClientStore> {
  if (urls.kind === 'sqlite') {
    const { openClientStore } = await import('../store/index.ts');
    return openClientStore({ dir: urls.dir, ...ids });
  }
  const [{ openPostgresClients }, { stderrLog }] = await Promise.all([
    import('../store/postgres/open.ts'),
    import('../server/log.ts'),
  ]);
  return openPostgresClients({ url: urls.store, log: stderrLog, ...ids });
}

/** What work on secrets needs. */
export interface Desk {
  readonly store: ClientStore;
  readonly sealer: Sealer;
}

/**
 * Works on the records and secrets of clients, and closes the store.
 *
 * @throws SetupError also where `work` throws a RangeError: it refuses what the records do not allow
 */
export async function atDesk<T>(
  { urls, masterKey }: ClientsPlace,
  ids: Ids,
  work: (desk: Desk) => Promise<T>,
): Promise<T> {
  return inStore(urls, ids, async (store) => {
    const { masterFolder, openMaster } = await import('../server/master-key.ts');
    const { sealer, madeFile } = await openMaster(store.clients, masterKey, masterFolder(urls));
    if (madeFile !== null && urls.kind === 'postgres')
      note(`${madeFile} is the new master key of this store: every server and worker needs it`);
    return work({ store, sealer });
  });
}

/** The same for work that needs no secret, so that it goes on without the master key. */
export async function inStore<T>(
  urls: EngineUrls,
  ids: Ids,
  work: (store: ClientStore) => Promise<T>,
): Promise<T> {
  const store = await openClients(urls, ids);
  try {
    return await work(store);
  } catch (error) {
    throw error instanceof RangeError ? new SetupError(error.message, { cause: error }) : error;
  } finally {
    await store.close();
  }
}

/** For verbs that need clients: opening would make the folder that is missing. @throws SetupError */
export function refuseMissing(urls: EngineUrls): void {
  if (urls.kind === 'sqlite' && !existsSync(join(urls.dir, 'waybill.db'))) {
    throw new SetupError(`${urls.dir} holds no data of a server: name its folder with --data`);
  }
}
