import { type Client, createClient, parseCredential } from '../client/index.ts';
import { SetupError } from '../errors/index.ts';
import { Failure } from './exits.ts';
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

/** Runs until it is done or somebody presses Ctrl-C; a second Ctrl-C ends the process without a word. */
export async function interruptible<T>(
  why: () => string,
  run: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const onSignal = () => controller.abort(new Failure('interrupted', 'interrupted', why()));
  process.once('SIGINT', onSignal);
  try {
    return await run(controller.signal);
  } finally {
    process.off('SIGINT', onSignal);
  }
}

/** How to go on with a job from the same shell. */
export function jobCommand(verb: 'wait' | 'cancel', id: string, { credential }: ClientFlags): string {
  return `waybill jobs ${verb} ${id} --credential ${shellWord(credential)}`;
}
