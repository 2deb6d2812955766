import { type Client, createClient, type Credential, parseCredential } from '../client/index.ts';
import { fetchTransport } from '../client/transport.ts';
import { SetupError } from '../errors/index.ts';
import type { PlacedCredential } from '../wire/credential.ts';
import type { ClientFlags } from './options.ts';
import type { Tap } from './call/saved-messages.ts';
import { readSecretFile } from './read-file.ts';

/**
 * @param tap may look at the bytes that go over the wire
 * @throws SetupError for a credential file that cannot be used
 */
export function connect(flags: ClientFlags, tap: Tap = (transport) => transport): Client {
  const { timeoutMs } = flags;
  const credential = credentialOf(flags);
  const transport = tap(fetchTransport(credential.url));
  return createClient(credential, { transport, ...(timeoutMs !== undefined && { timeoutMs }) });
}

/** @throws SetupError for a credential file that cannot be used */
export function credentialOf({
  credential: path,
  url,
}: Pick<ClientFlags, 'credential' | 'url'>): PlacedCredential {
  const text = readSecretFile(path, 'credential file');
  const credential = parse(text, path);
  const place = url ?? credential.url;
  if (place === undefined) throw new SetupError(`credential file ${path} has no url: name one with --url`);
  return { ...credential, url: place };
}

function parse(text: string, path: string): Credential {
  try {
    return parseCredential(text);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    const what = error.message.replace(/^credential: /, '');
    throw new SetupError(
      `credential file ${path}: ${what}; use the file that "waybill clients add --out" wrote`,
    );
  }
}
