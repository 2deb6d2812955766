import { createHmac, createSecretKey, type KeyObject, timingSafeEqual } from 'node:crypto';

/** HMAC-SHA256, as algorithms.ts has it in its table. */

const HEX_LENGTH = 64;
// Scratch space of the comparison; safe to share because everything here is synchronous.
const given = Buffer.alloc(HEX_LENGTH);
const computed = Buffer.alloc(HEX_LENGTH);

/** The key of a secret: the UTF-8 bytes of the text exactly as it is printed (docs/protocol.md §3). */
export function keyOf(secret: string): KeyObject {
  return createSecretKey(Buffer.from(secret, 'utf8'));
}

/** HMAC-SHA256 of the signed text as 64 lower-case hex digits (§2). */
export function sign(signedText: string, key: KeyObject): string {
  return createHmac('sha256', key).update(signedText).digest('hex');
}

/** Does the signature hold? The time does not tell how much of it was right. Any text may be asked for. */
export function holds(signedText: string, signature: string, key: KeyObject): boolean {
  // A shorter text would leave the end of an earlier signature in the buffer: unsigned replies carry ''.
  if (signature.length !== HEX_LENGTH) return false;
  given.write(signature, 'latin1');
  computed.write(sign(signedText, key), 'latin1');
  return timingSafeEqual(given, computed);
}

/** How a server shows which response key it holds without showing the key (§3): 32 hex digits. */
export function fingerprint(responseKey: KeyObject): string {
  return sign('mcp fingerprint', responseKey).slice(0, 32);
}
