import { type Command, Option } from 'commander';
import type { PartnerCredential, PlacedCredential } from '../../wire/credential.ts';
import { addKeyOptions, givenPublicKey, givenSecrets, type KeyFlags } from './key-options.ts';
import { addPlaceOptions, placeOf, type Place } from '../store/place.ts';
import { withSecrets, withStore } from '../store/open.ts';
import { handOver } from './hand-over.ts';
import { knownClientArgument } from '../options.ts';
import { print } from '../output.ts';
import { addVerb } from '../verb.ts';

interface RotateFlags extends KeyFlags {
  readonly finish?: true;
}

export function addClientsRotate(group: Command): void {
  const command = addVerb(group, 'rotate', {
    summary: 'Give a client new keys and print its new credential: the only time that its secrets are shown.',
    detail:
      'The keys before stay good, so that its hosts can be changed over one after the other without losing a call or ' +
      'a job; --finish ends that. A running server knows it within a second. --url is not kept: say it again.',
    examples: [
      'clients rotate alice --url https://billing.example/call --out alice.new.json',
      'clients rotate alice --finish',
      'clients rotate partner --request-key-file partner.new.pub --out partner.new.json',
    ],
  }).addArgument(knownClientArgument());
  addKeyOptions(addPlaceOptions(command))
    .addOption(
      new Option('--finish', 'drop the keys before the current ones').conflicts([
        'out',
        'requestKeyFile',
        'responseKeyFile',
        'allowWeakKey',
      ]),
    )
    .action((id: string, flags: RotateFlags) => {
      const place = placeOf(command);
      return flags.finish === true
        ? finish(id, place, flags)
        : handOver(flags, () => rotate(id, place, flags));
    });
}

async function rotate(
  id: string,
  place: Place,
  flags: RotateFlags,
): Promise<PlacedCredential | PartnerCredential> {
  const { rotateClient, rotatePartner } = await import('../../server/clients/rotation.ts');
  const { url, requestKeyFile, responseKeyFile, allowWeakKey = false } = flags;
  // One file alone can only be a public key.
  if (requestKeyFile !== undefined && responseKeyFile === undefined) {
    const publicKey = (await givenPublicKey(flags)) ?? '';
    return withSecrets(place, (opened) => rotatePartner(opened, id, { url, publicKey }));
  }
  const keys = givenSecrets(flags);
  const rotation = { url, allowWeakKey, ...(keys && { keys }) };
  return withSecrets(place, (opened) => rotateClient(opened, id, rotation));
}

async function finish(id: string, { urls }: Place, { json }: RotateFlags): Promise<void> {
  const { finishRotation } = await import('../../server/clients/rotation.ts');
  await withStore(urls, (store) => finishRotation(store, id));
  print({ client_id: id, keys: 1 }, json, `client ${id} has its newest keys only`);
}
