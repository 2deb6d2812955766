import { type Command, Option } from 'commander';
import { SetupError } from '../../errors/index.ts';
import type { KeyTexts } from '../../wire/algorithms.ts';
import { DEFAULT_PORT, filled, jsonOption, urlOption } from '../options.ts';
import { readSecretFile, readTextFile } from '../read-file.ts';

/** What the verbs that issue keys have in common. */

export interface KeyFlags {
  readonly url: string;
  readonly requestKeyFile?: string;
  readonly responseKeyFile?: string;
  readonly allowWeakKey?: true;
  readonly out?: string;
  readonly json?: true;
}

export function addKeyOptions(command: Command): Command {
  return command
    .addOption(
      urlOption('where the client finds the server; an origin alone stands for its /call').default(
        `http://127.0.0.1:${DEFAULT_PORT}/call`,
      ),
    )
    .addOption(
      keyFileOption(
        'request',
        'the secret that the client signs with, or its public key (default: a new one)',
      ),
    )
    .addOption(keyFileOption('response', 'the secret that the server signs with (default: a new one)'))
    .addOption(new Option('--allow-weak-key', 'take secrets that are short or repeat themselves'))
    .addOption(
      new Option('--out <file>', 'write the credential to a new file, for its owner only').argParser(filled),
    )
    .addOption(jsonOption());
}

function keyFileOption(direction: 'request' | 'response', what: string): Option {
  return new Option(`--${direction}-key-file <file>`, `file with ${what}`)
    .env(`WAYBILL_${direction.toUpperCase()}_KEY_FILE`)
    .argParser(filled);
}

/** The secrets of the operator's own; `undefined`: there will be new ones. @throws SetupError */
export function givenSecrets({ requestKeyFile, responseKeyFile }: KeyFlags): KeyTexts | undefined {
  if (requestKeyFile === undefined && responseKeyFile === undefined) return undefined;
  if (requestKeyFile === undefined || responseKeyFile === undefined) {
    throw new SetupError('give both --request-key-file and --response-key-file, or neither for new secrets');
  }
  return { request: readKey(requestKeyFile), response: readKey(responseKeyFile) };
}

function readKey(path: string): string {
  return readSecretFile(path, 'key file').replace(/\r?\n$/, '');
}

/** The partner's public key; `undefined`: there will be a new pair. @throws SetupError, never with what the file holds */
export async function givenPublicKey({
  requestKeyFile,
  responseKeyFile,
  allowWeakKey,
}: KeyFlags): Promise<string | undefined> {
  if (responseKeyFile !== undefined)
    throw new SetupError('--response-key-file has no use with ed25519: the server makes a pair of its own');
  if (allowWeakKey === true) throw new SetupError('--allow-weak-key has no use with ed25519');
  if (requestKeyFile === undefined) return undefined;
  const { readPublicKey } = await import('../../wire/ed25519.ts');
  try {
    return readPublicKey(readTextFile(requestKeyFile, 'key file'));
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new SetupError(`key file ${requestKeyFile}: ${error.message}`, { cause: error });
  }
}
