import { randomUUID } from 'node:crypto';
import type { Credential } from '../../src/transports/index.ts';
import { macOf } from '../support/signing.ts';

/**
 * An input as it is kept and changed: bytes in which these texts stand for what is new in each transmission. A
 * template that was changed anywhere but there is signed again with the right key, and so reaches what lies
 * behind the MAC; one whose MARKS are gone is sent as it is.
 */
const MARKS = {
  /** A number, so that the template is JSON. */
  now: '1111111111111',
  id: '@@ID@@',
  nonce: '@@NONCE@@',
  mac: '@@MAC@@',
  token: '@@TOKEN@@',
} as const;

const NO_MAC = '0'.repeat(64);

export interface Filling {
  readonly nowMs: number;
  readonly credentials: ReadonlyMap<string, Credential>;
  readonly token: string;
}

/** The bytes of one transmission of a template. */
export function fill(template: Uint8Array, { nowMs, credentials, token }: Filling): Buffer {
  // One character for each byte, whatever it is.
  const text = Buffer.from(template)
    .toString('latin1')
    .replaceAll(MARKS.now, () => String(nowMs))
    .replaceAll(MARKS.id, () => randomUUID())
    .replaceAll(MARKS.nonce, () => randomUUID())
    .replaceAll(MARKS.token, () => token);
  if (!text.includes(MARKS.mac)) return Buffer.from(text, 'latin1');
  const unsigned = Buffer.from(text.replaceAll(MARKS.mac, NO_MAC), 'latin1');
  return Buffer.from(text.replaceAll(MARKS.mac, macFor(unsigned, credentials) ?? NO_MAC), 'latin1');
}

/** What a client would sign; null for what none can. */
function macFor(bytes: Buffer, credentials: ReadonlyMap<string, Credential>): string | null {
  try {
    const { signature: _, ...message } = JSON.parse(bytes.toString('utf8'));
    const credential = credentials.get(message.client_id);
    return credential === undefined ? null : macOf(message, credential.request_key);
  } catch {
    return null;
  }
}
