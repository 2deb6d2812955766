import { type Client, createClient, parseCredential } from '../client/index.ts';
import { SetupError } from '../errors/index.ts';
import type { ClientFlags } from './options.ts';
import { shellWord } from './output.ts';
import { readSecretFile } from './secret-file.ts';

/** @throws SetupError for a credential file that cannot be used */
export function connect({ credential: path, url, timeoutMs }: ClientFlags): Client {
  const text = readSecretFile(path, 'credential file');
  try {
    const credential = parseCredential(text);
    if (url === undefined && credential.url === undefined) {
      throw new SetupError(`credential file ${path} has no url: name one with --url`);
    }
    return createClient(url === undefined ? credential : { ...credential, url }, {
      ...(timeoutMs !== undefined && { timeoutMs }),
    });
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    const what = error.message.replace(/^credential: /, '');
    throw new SetupError(
      `credential file ${path}: ${what}; use the file that "waybill clients add --out" wrote`,
    );
  }
}

/** How to go on with a job from the same shell. */
export function jobCommand(verb: 'wait' | 'cancel', id: string, { credential }: ClientFlags): string {
  return `waybill jobs ${verb} ${id} --credential ${shellWord(credential)}`;
}
