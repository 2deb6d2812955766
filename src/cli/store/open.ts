import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { SetupError } from '../../errors/index.ts';
import type { EngineUrls } from '../../jobs/engine-urls.ts';
import type { Sealer } from '../../server/clients/sealer.ts';
import type { ClientStore } from '../../store/record-store.ts';
import { note } from '../output.ts';
import type { Place } from './place.ts';

/** Opens the store of a server that may be running. */

/** For a store that is made where there is none: its server id. */
interface NewStore {
  readonly serverId: string | undefined;
  readonly defaultServerId: string;
}

/**
 * Works on the records of a store, and closes it. Needs no master key.
 *
 * @param made left out: the store must be there
 * @throws SetupError also where `work` throws a RangeError: it refuses what the records do not allow
 */
export async function withStore<T>(
  urls: EngineUrls,
  work: (store: ClientStore) => Promise<T>,
  made?: NewStore,
): Promise<T> {
  // Opening would make the folder that is missing.
  if (made === undefined) refuseMissing(urls);
  const store = await open(urls, made);
  try {
    return await work(store);
  } catch (error) {
    throw error instanceof RangeError ? new SetupError(error.message, { cause: error }) : error;
  } finally {
    await store.close();
  }
}

/** The same for work on secrets too. @throws SetupError */
export function withSecrets<T>(
  { urls, masterKey }: Place,
  work: (opened: { readonly store: ClientStore; readonly sealer: Sealer }) => Promise<T>,
  made?: NewStore,
): Promise<T> {
  const openSecrets = async (store: ClientStore): Promise<T> => {
    const { masterFolder, openMaster } = await import('../../server/clients/master-key.ts');
    const { sealer, madeFile } = await openMaster(store.clients, masterKey, masterFolder(urls));
    if (madeFile !== null && urls.kind === 'postgres')
      note(`${madeFile} is the new master key of this store: every server and worker needs it`);
    return work({ store, sealer });
  };
  return withStore(urls, openSecrets, made);
}

async function open(urls: EngineUrls, ids: Partial<NewStore> = {}): Promise<ClientStore> {
  if (urls.kind === 'sqlite') {
    const { openClientStore } = await import('../../store/index.ts');
    return openClientStore({ dir: urls.dir, ...ids });
  }
  const [{ openPostgresClients }, { stderrLog }] = await Promise.all([
    import('../../store/postgres/open.ts'),
    import('../../server/log.ts'),
  ]);
  return openPostgresClients({ url: urls.store, log: stderrLog, ...ids });
}

/** @throws SetupError; a database says so itself */
export function refuseMissing(urls: EngineUrls): void {
  if (urls.kind === 'sqlite' && !existsSync(join(urls.dir, 'waybill.db'))) {
    throw new SetupError(`${urls.dir} holds no data of a server: name its folder with --data`);
  }
}
