import { type Command, Option } from 'commander';
import type { EngineUrls } from '../../jobs/engine-urls.ts';
import { withStore } from '../store/open.ts';
import { addStoreOptions, dataOption, engineUrls } from '../store/options.ts';
import { withNewFile } from '../new-file.ts';
import { filled, jsonOption, knownClientArgument } from '../options.ts';
import { note, print } from '../output.ts';
import { addVerb } from '../verb.ts';

interface TokenFlags {
  readonly out?: string;
  readonly revoke?: true;
  readonly json?: true;
}

export function addClientsToken(group: Command): void {
  const command = addVerb(group, 'token', {
    summary:
      'Give a client a bearer token, for hosts that do not sign, and print it: the only time that it is shown.',
    detail:
      'A running server knows the token within a second. The token before it stays good until the next one, ' +
      'so that a host can be changed over; older ones do not.',
    examples: ['clients token alice --out alice.token', 'clients token alice --revoke'],
  })
    .addArgument(knownClientArgument())
    .addOption(dataOption());
  addStoreOptions(command)
    .addOption(
      new Option('--out <file>', 'write the token to a new file, for its owner only').argParser(filled),
    )
    .addOption(
      new Option('--revoke', 'take all tokens of the client away, without a new one').conflicts('out'),
    )
    .addOption(jsonOption())
    .action((client: string, options: TokenFlags) =>
      options.revoke === true
        ? revoke(client, engineUrls(command), options)
        : give(client, engineUrls(command), options),
    );
}

async function give(id: string, urls: EngineUrls, { out, json }: TokenFlags): Promise<void> {
  const { addToken } = await import('../../server/clients/clients.ts');
  await withNewFile(out, async (write) => {
    const token = await withStore(urls, (store) => addToken(store, id));
    if (write !== null) {
      write(token);
      print({ client_id: id, file: out }, json, `${out} is a bearer token of client ${id}`);
      return;
    }
    print({ client_id: id, token }, json, token);
    if (json !== true)
      note('This token is not shown again; --out writes it to a file that only you can read.');
  });
}

async function revoke(id: string, urls: EngineUrls, { json }: TokenFlags): Promise<void> {
  const { revokeTokens } = await import('../../server/clients/clients.ts');
  await withStore(urls, (store) => revokeTokens(store, id));
  print({ client_id: id, tokens: 0 }, json, `client ${id} has no token any more; its keys stay`);
}
