import { type Command, Option } from 'commander';
import { SetupError } from '../../errors/index.ts';
import { DEFAULT_ALGORITHM, type PartnerCredential, type PlacedCredential } from '../../wire/credential.ts';
import type { AlgorithmName } from '../../wire/index.ts';
import { addKeyOptions, givenPublicKey, givenSecrets, type KeyFlags } from './key-options.ts';
import { addPlaceOptions, placeOf, type Place } from '../store/place.ts';
import { withSecrets } from '../store/open.ts';
import { handOver } from './hand-over.ts';
import { wrongUse } from '../exits.ts';
import { clientIdArgument, DEFAULT_SERVER_ID, serverIdOption } from '../options.ts';
import { addTermsOptions, type TermsFlags, termsOf } from './terms-options.ts';
import { addVerb } from '../verb.ts';

interface AddFlags extends KeyFlags, TermsFlags {
  readonly serverId?: string;
  readonly algorithm: AlgorithmName;
}

export function addClientsAdd(group: Command): void {
  const command = addVerb(group, 'add', {
    summary: 'Add a client and print its credential: the only time that its secrets are shown.',
    detail:
      'A running server knows the client within a second. Secrets of your own come in two files, one for ' +
      'each direction; a line feed at the end of a file is not part of the secret. With --algorithm ed25519 no ' +
      'secret is shared: --request-key-file holds the public key that its owner sent you (wbp_… or PEM), and the ' +
      'credential lacks the private key, which its owner adds as "request_key".',
    examples: [
      'clients add alice --out alice.json',
      "clients add alice --scope 'report.*' --calls-per-minute 60 --expires 90d --note 'trial' --out alice.json",
      'clients add alice --server-id billing --data /var/lib/waybill --url https://billing.example/call --out alice.json',
      'clients add alice --store-file store.url --out alice.json',
      'clients add bob --request-key-file bob.request --response-key-file bob.response --out bob.json',
      'clients add partner --algorithm ed25519 --request-key-file partner.pub --out partner.json',
    ],
  })
    .addArgument(clientIdArgument())
    .addOption(serverIdOption());
  addPlaceOptions(command).addOption(
    new Option('--algorithm <name>', 'how both sides sign')
      .choices(['hmac-sha256', 'ed25519'])
      .default(DEFAULT_ALGORITHM),
  );
  addTermsOptions(addKeyOptions(command)).action((id: string, flags: AddFlags) =>
    handOver(flags, () => add(id, placeOf(command), flags)),
  );
}

/** @throws SetupError, Failure */
async function add(id: string, place: Place, flags: AddFlags): Promise<PlacedCredential | PartnerCredential> {
  const { addClient, addPartner, checkClient } = await import('../../server/clients/clients.ts');
  const { url, serverId, algorithm, allowWeakKey = false } = flags;
  const publicKey = algorithm === 'ed25519' ? await givenPublicKey(flags) : undefined;
  const keys = algorithm === 'ed25519' ? undefined : givenSecrets(flags);
  const client = { id, url, algorithm, allowWeakKey, terms: termsOf(flags), ...(keys && { keys }) };
  try {
    // Before the store is opened: a refusal leaves no folder and no tables behind.
    checkClient(client);
  } catch (error) {
    // Of the keys; a TypeError is about the command line.
    throw error instanceof RangeError ? new SetupError(error.message, { cause: error }) : wrongUse(error);
  }
  return withSecrets(
    place,
    (opened) =>
      publicKey === undefined ? addClient(opened, client) : addPartner(opened, { ...client, publicKey }),
    { serverId, defaultServerId: DEFAULT_SERVER_ID },
  );
}
