import type { PartnerCredential, PlacedCredential } from '../../wire/credential.ts';
import type { KeyFlags } from './key-options.ts';
import { withNewFile } from '../new-file.ts';
import { note, print } from '../output.ts';

/** Hands a credential over, once: into a new file, or on stdout. */
export function handOver(
  { out, url, json }: KeyFlags,
  issue: () => Promise<PlacedCredential | PartnerCredential>,
): Promise<void> {
  return withNewFile(out, async (write) => {
    const credential = await issue();
    const text = JSON.stringify(credential, null, 2);
    const isWhole = 'request_key' in credential;
    if (write === null) {
      print(credential, json, text);
      if (json !== true && isWhole)
        note('These secrets are not shown again; --out writes them to a file that only you can read.');
    } else {
      write(text);
      const { client_id, server_id } = credential;
      const done = `${out} is the credential of client ${client_id} for server ${server_id} at ${url}`;
      print({ client_id, server_id, url, file: out }, json, done);
    }
    if (json !== true && !isWhole)
      note(
        'It holds no secret. Its owner adds "request_key": the private key, as "waybill keygen" wrote it.',
      );
  });
}
