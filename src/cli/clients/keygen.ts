import { type Command, Option } from 'commander';
import { withNewFile } from '../new-file.ts';
import { filled, jsonOption } from '../options.ts';
import { print } from '../output.ts';
import { addRequiredOption, addVerb } from '../verb.ts';

interface KeygenFlags {
  readonly out: string;
  readonly json?: true;
}

export function addKeygen(program: Command): void {
  const out = new Option('--out <file>', 'write the private key to a new file, for its owner only');
  const command = addVerb(program, 'keygen', {
    summary: 'Make a pair of Ed25519 keys and print the public one.',
    detail:
      'For who must not share a secret with a server: send its operator the public key, and put the private key into ' +
      'the credential that comes back, as "request_key".',
    examples: ['keygen --out partner.key > partner.pub'],
  });
  addRequiredOption(command, out.argParser(filled)).addOption(jsonOption()).action(keygen);
}

async function keygen({ out, json }: KeygenFlags): Promise<void> {
  const { generateKeyPair } = await import('../../wire/ed25519.ts');
  await withNewFile(out, async (write) => {
    const { privateKey, publicKey } = generateKeyPair();
    write?.(privateKey);
    print({ public_key: publicKey, file: out }, json, publicKey);
  });
}
