import type { Command } from 'commander';
import type { EngineUrls } from '../../jobs/engine-urls.ts';
import { withStore } from '../store/open.ts';
import { addStoreOptions, dataOption, engineUrls } from '../store/options.ts';
import { jsonOption, knownClientArgument } from '../options.ts';
import { dateText, print } from '../output.ts';
import { addVerb } from '../verb.ts';

interface RevokeFlags {
  readonly json?: true;
}

export function addClientsRevoke(group: Command): void {
  const command = addVerb(group, 'revoke', {
    summary: 'Refuse a client from now on, for good: its keys and its tokens.',
    detail:
      'Every server of the store knows it within two seconds. It cannot be taken back, and the id stays taken, so ' +
      'that its jobs are nobody else’s. Jobs that are queued or running go on. Needs no master key.',
    examples: ['clients revoke alice', 'clients revoke alice --store-file store.url'],
  })
    .addArgument(knownClientArgument())
    .addOption(dataOption());
  addStoreOptions(command)
    .addOption(jsonOption())
    .action((id: string, flags: RevokeFlags) => revoke(id, engineUrls(command), flags));
}

async function revoke(id: string, urls: EngineUrls, { json }: RevokeFlags): Promise<void> {
  const { revokeClient } = await import('../../server/clients/clients.ts');
  const { revokedMs } = await withStore(urls, (store) => revokeClient(store, id));
  const since = dateText(revokedMs ?? 0);
  print({ client_id: id, revoked_ms: revokedMs }, json, `client ${id} is revoked since ${since}`);
}
