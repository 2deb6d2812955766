import type { KeyObject } from 'node:crypto';
import { SetupError } from '../../errors/index.ts';
import type { EngineUrls } from '../../jobs/engine-urls.ts';
import type { ClientStore } from '../../store/record-store.ts';
import { withStore } from '../store/open.ts';
import { type Place, placeText } from '../store/place.ts';

/**
 * Reads the audit of a store beside the servers that may be writing it.
 *
 * @throws SetupError also where there is none yet
 */
export async function readAudit<T>(urls: EngineUrls, work: (store: ClientStore) => Promise<T>): Promise<T> {
  return withStore(urls, async (store) => {
    const [first] = await store.audit.chains();
    if (first === undefined) {
      throw new SetupError(
        `${placeText(urls)} has no audit yet: it begins when a server starts there without --no-audit`,
      );
    }
    return work(store);
  });
}

/** The same for work that signs, or tells the key: with the master key, which is never made here. @throws SetupError */
export async function signAudit<T>(
  { urls, masterKey }: Place,
  work: (store: ClientStore, master: KeyObject) => Promise<T>,
): Promise<T> {
  return readAudit(urls, async (store) => {
    const { masterFolder, openMaster } = await import('../../server/clients/master-key.ts');
    // There is an audit, so that a server has run, and with it a master key was chosen.
    const { key } = await openMaster(store.clients, masterKey, masterFolder(urls));
    return work(store, key);
  });
}
