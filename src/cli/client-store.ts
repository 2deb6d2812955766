import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { SetupError } from '../errors/index.ts';
import type { EngineUrls } from '../jobs/engine-urls.ts';
import type { ClientStore } from '../store/record-store.ts';

interface Ids {
  readonly serverId?: string | undefined;
  readonly defaultServerId?: string;
}

/** The client records beside a server that may be running; what is missing is made. @throws SetupError */
export async function openClients(urls: EngineUrls, ids: Ids): Promise<ClientStore> {
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

/** For verbs that need clients: opening would make the folder that is missing. @throws SetupError */
export function refuseMissing(urls: EngineUrls): void {
  if (urls.kind === 'sqlite' && !existsSync(join(urls.dir, 'waybill.db'))) {
    throw new SetupError(`${urls.dir} holds no data of a server: name its folder with --data`);
  }
}
