import { fromBase64url, toBase64url } from './base64url.ts';

/**
 * Secrets and keys as text: a prefix + 32 bytes in base64url + CRC-32 in hex, so that secret scanners
 * find them and a typing error is noticed before it becomes a `bad_signature` (docs/protocol.md §3).
 */
const KINDS = {
  secret: { prefix: 'wb_', what: 'a shared secret' },
  token: { prefix: 'wbt_', what: 'a bearer token' },
  private: { prefix: 'wbs_', what: 'a private key' },
  public: { prefix: 'wbp_', what: 'a public key' },
} as const;

/** What a text can be, by its prefix. */
export type KeyKind = keyof typeof KINDS;

/** What stands behind the prefix. */
const GENERATED = /^([A-Za-z0-9_-]{43})([0-9a-f]{8})$/;
const KEY_BYTES = 32;
/** Below this estimate a secret can be guessed offline from one captured message. */
const MIN_SECRET_BITS = 128;

/** A new secret from the platform's random source. */
export function generateSecret(): string {
  return keyText('secret', randomKeyBytes());
}

/** A new bearer token, as hosts send it that do not sign. */
export function generateToken(): string {
  return keyText('token', randomKeyBytes());
}

export function randomKeyBytes(): Uint8Array<ArrayBuffer> {
  return crypto.getRandomValues(new Uint8Array(KEY_BYTES));
}

/** @param bytes 32 of them */
export function keyText(kind: KeyKind, bytes: Uint8Array): string {
  const body = toBase64url(bytes);
  return `${KINDS[kind].prefix}${body}${crc32(body)}`;
}

/**
 * The 32 bytes of a key's text. (A shared secret is used as it is printed, §2.)
 *
 * @throws TypeError that says what is wrong and never contains the text
 */
export function keyBytes(kind: 'private' | 'public', text: string): Uint8Array<ArrayBuffer> {
  const mistake = mistakeIn(text, kind);
  const bytes = mistake === null ? fromBase64url(text.slice(KINDS[kind].prefix.length, -8)) : null;
  if (bytes === null) throw new TypeError(`the key ${mistake}`);
  return bytes;
}

/**
 * Why a text is not of this kind, or was mistyped; null if it is. Any text without one of our prefixes
 * may be a shared secret: operators bring their own. The reason never contains the text.
 */
export function mistakeIn(text: string, kind: KeyKind): string | null {
  const { prefix, what } = KINDS[kind];
  if (text.startsWith(prefix)) return damageOf(text, kind);
  const other = Object.values(KINDS).find((each) => text.startsWith(each.prefix));
  if (other !== undefined) return `is ${other.what} (${other.prefix}), where ${what} (${prefix}) must stand`;
  return kind === 'secret' ? null : `is not ${what} (${prefix})`;
}

/** Why a secret should not be used, or null if it is fine. The reason never contains the secret. */
export function weaknessOf(secret: string): string | null {
  const mistake = mistakeIn(secret, 'secret');
  if (mistake !== null || secret.startsWith(KINDS.secret.prefix)) return mistake;
  if (new TextEncoder().encode(secret).length < KEY_BYTES) return `is shorter than ${KEY_BYTES} bytes`;
  if (estimatedBits(secret) < MIN_SECRET_BITS) return 'repeats itself too much to be random';
  return null;
}

function damageOf(text: string, kind: KeyKind): string | null {
  const { prefix } = KINDS[kind];
  const [, body, checksum] = GENERATED.exec(text.slice(prefix.length)) ?? [];
  const isKey = kind === 'private' || kind === 'public';
  // A secret is its text; a key is its bytes, and they have one spelling.
  if (body === undefined || (isKey && fromBase64url(body) === null)) {
    return `has the wrong length or characters for a ${prefix} ${isKey ? 'key' : 'secret'}`;
  }
  return crc32(body) === checksum ? null : 'has a wrong checksum: it was mistyped or cut';
}

/** A private key of Ed25519 as PKCS #8 (RFC 8410 §7), which node:crypto and Web Crypto both read. */
export function toPkcs8(seed: Uint8Array): Uint8Array<ArrayBuffer> {
  return Uint8Array.of(48, 46, 2, 1, 0, 48, 5, 6, 3, 43, 101, 112, 4, 34, 4, 32, ...seed);
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
