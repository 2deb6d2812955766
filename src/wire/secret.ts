/**
 * Secrets as text: `wb_` + 32 random bytes in base64url + CRC-32 in hex, so that secret scanners
 * find them and a typing error is noticed before it becomes a `bad_signature` (docs/protocol.md §3).
 * Bearer tokens are the same behind `wbt_`.
 */
const SECRET = 'wb_';
const TOKEN = 'wbt_';
/** What stands behind the prefix. */
const GENERATED = /^([A-Za-z0-9_-]{43})([0-9a-f]{8})$/;
const SECRET_BYTES = 32;
/** Below this estimate a secret can be guessed offline from one captured message. */
const MIN_SECRET_BITS = 128;

/** A new secret from the platform's random source. */
export function generateSecret(): string {
  return generate(SECRET);
}

/** A new bearer token, as hosts send it that do not sign. */
export function generateToken(): string {
  return generate(TOKEN);
}

/** Is this a bearer token, complete and without typing errors? Whether a server knows it is another question. */
export function isToken(text: string): boolean {
  return text.startsWith(TOKEN) && damageOf(text, TOKEN) === null;
}

function generate(prefix: string): string {
  const bytes = crypto.getRandomValues(new Uint8Array(SECRET_BYTES));
  const body = btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '');
  return `${prefix}${body}${crc32(body)}`;
}

/** Why a secret should not be used, or null if it is fine. The reason never contains the secret. */
export function weaknessOf(secret: string): string | null {
  if (secret.startsWith(SECRET)) return damageOf(secret, SECRET);
  if (new TextEncoder().encode(secret).length < SECRET_BYTES) return `is shorter than ${SECRET_BYTES} bytes`;
  if (estimatedBits(secret) < MIN_SECRET_BITS) return 'repeats itself too much to be random';
  return null;
}

function damageOf(text: string, prefix: string): string | null {
  const match = GENERATED.exec(text.slice(prefix.length));
  if (match === null) return `has the wrong length or characters for a ${prefix} secret`;
  return crc32(match[1] ?? '') === match[2] ? null : 'has a wrong checksum: it was mistyped or cut';
}

/** Shannon entropy of the characters times their number: an upper bound, enough to catch `aaaa…`. */
function estimatedBits(secret: string): number {
  const counts = new Map<string, number>();
  for (const char of secret) counts.set(char, (counts.get(char) ?? 0) + 1);
  const total = [...secret].length;
  let bits = 0;
  for (const count of counts.values()) bits -= count * Math.log2(count / total);
  return bits;
}

/** CRC-32 (ISO-HDLC) of ASCII text, as 8 hex digits. */
function crc32(text: string): string {
  let crc = ~0;
  for (let i = 0; i < text.length; i++) {
    crc ^= text.charCodeAt(i);
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return (~crc >>> 0).toString(16).padStart(8, '0');
}
