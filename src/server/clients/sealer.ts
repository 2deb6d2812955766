import { createCipheriv, createDecipheriv, createHmac, type KeyObject, randomBytes } from 'node:crypto';
import { SetupError } from '../../errors/index.ts';

/** Keeps the keys of clients unreadable for whoever has only the store. */
export interface Sealer {
  /** @param slot which of a client's keys it is: a text sealed for one place does not open in another */
  seal(clientId: string, slot: Slot, text: string): string;
  /** A text that was never sealed is given back as it is. @throws SetupError when it was changed, or moved */
  open(clientId: string, slot: Slot, sealed: string): string;
  /** Says which master key this is without showing it: 32 hex digits. */
  readonly mark: string;
}

export type Slot = 'request' | 'response';

const PREFIX = 'sealed.1.';
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** Has this text been sealed? */
export function isSealed(text: string): boolean {
  return text.startsWith(PREFIX);
}

/** AES-256-GCM with a new nonce each time. @param master 32 bytes */
export function createSealer(master: KeyObject): Sealer {
  const key = createHmac('sha256', master).update('waybill seal').digest();
  const about = (clientId: string, slot: Slot) => Buffer.from(`${clientId}\n${slot}`);
  return {
    seal(clientId, slot, text) {
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(about(clientId, slot));
      const sealed = [nonce, cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()];
      return PREFIX + Buffer.concat(sealed).toString('base64url');
    },
    open(clientId, slot, sealed) {
      if (!isSealed(sealed)) return sealed;
      const bytes = Buffer.from(sealed.slice(PREFIX.length), 'base64url');
      try {
        const nonce = bytes.subarray(0, NONCE_BYTES);
        const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES });
        decipher.setAAD(about(clientId, slot)).setAuthTag(bytes.subarray(-TAG_BYTES));
        const text = decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES));
        return Buffer.concat([text, decipher.final()]).toString('utf8');
      } catch {
        throw new SetupError(`the ${slot} key of client ${clientId} does not open: its record was changed`);
      }
    },
    mark: createHmac('sha256', master).update('waybill seal mark').digest('hex').slice(0, 32),
  };
}
