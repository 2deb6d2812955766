import { type Command, Option } from 'commander';
import { SetupError } from '../../errors/index.ts';
import { weaknessOf } from '../../wire/secret.ts';
import { filled } from '../options.ts';
import { readSecretFile } from '../read-file.ts';

/** The master key, as a command line is told it: never itself, for everybody sees arguments. */

const VARIABLE = 'WAYBILL_MASTER_KEY';

export const masterKeyOption = (): Option =>
  new Option(
    '--master-key-file <file>',
    'file with the key that seals the secrets (default: master.key beside the data)',
  )
    .env(`${VARIABLE}_FILE`)
    .argParser(filled);

/** As a member of the options of a server or a worker. */
export interface MasterKey {
  readonly masterKey?: string;
}

/** The master key that the option or a variable gives. @throws Failure, SetupError; never with the key */
export function masterKeyOf(command: Command): MasterKey {
  const text = process.env[VARIABLE];
  // What we start, such as a wrapped server, has no use for it.
  delete process.env[VARIABLE];
  const file: unknown = command.getOptionValue('masterKeyFile');
  if (typeof file !== 'string') return text === undefined ? {} : { masterKey: checked(text, VARIABLE) };
  const name =
    command.getOptionValueSource('masterKeyFile') === 'cli' ? '--master-key-file' : `${VARIABLE}_FILE`;
  if (text !== undefined) command.error(`${name} and ${VARIABLE} are both set: keep one of the two`);
  return { masterKey: checked(readSecretFile(file, 'master key file'), `${name} ${file}`) };
}

function checked(text: string, from: string): string {
  const key = text.trimEnd();
  if (key === '')
    throw new SetupError(
      `the master key in ${from} is empty: "waybill clients add --help" says how to make one`,
    );
  const weakness = weaknessOf(key);
  if (weakness !== null) throw new SetupError(`the master key in ${from} ${weakness}`);
  return key;
}
