import type { Command } from 'commander';
import type { ClientTerms } from '../../store/index.ts';
import type { EngineUrls } from '../../jobs/engine-urls.ts';
import { withStore } from '../store/open.ts';
import { addStoreOptions, dataOption, engineUrls } from '../store/options.ts';
import { jsonOption, knownClientArgument } from '../options.ts';
import { print } from '../output.ts';
import { addTermsOptions, type TermsFlags, termsOf } from './terms-options.ts';
import { addVerb } from '../verb.ts';

interface SetFlags extends TermsFlags {
  readonly json?: true;
}

export function addClientsSet(group: Command): void {
  const command = addVerb(group, 'set', {
    summary: 'Change what a client may do, and until when; what is not named stays.',
    detail:
      'A running server knows it within a second. All --scope together take the place of those before. ' +
      'A call or job that runs goes on.',
    examples: [
      "clients set alice --scope 'report.*' --scope list_files",
      'clients set alice --calls-per-minute 600 --jobs-per-day none --expires never',
    ],
  })
    .addArgument(knownClientArgument())
    .addOption(dataOption());
  addTermsOptions(addStoreOptions(command))
    .addOption(jsonOption())
    .action((id: string, flags: SetFlags) => {
      const terms = termsOf(flags);
      if (Object.keys(terms).length === 0) command.error('name what to change');
      return set(id, engineUrls(command), terms, flags);
    });
}

async function set(
  id: string,
  urls: EngineUrls,
  terms: Partial<ClientTerms>,
  { json }: SetFlags,
): Promise<void> {
  const [{ setTerms }, { viewOfTerms }] = await Promise.all([
    import('../../server/clients/clients.ts'),
    import('./view.ts'),
  ]);
  const client = await withStore(urls, (store) => setTerms(store, id, terms));
  print(
    { client_id: id, ...viewOfTerms(client.terms) },
    json,
    `client ${id} has its new terms; "waybill clients show ${id}" shows them`,
  );
}
