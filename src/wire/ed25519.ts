import { createPrivateKey, createPublicKey, type KeyObject, sign as signBytes, verify } from 'node:crypto';
import { fromBase64url } from './base64url.ts';
import { keyBytes, keyText, mistakeIn, randomKeyBytes, toPkcs8 } from './secret.ts';
import { ED25519_PREFIX, SIGNATURE_FORMS } from './signature-form.ts';

/** Ed25519 (RFC 8032), as algorithms.ts has it in its table. */

/** What stands before the 32 bytes of a public key in its SubjectPublicKeyInfo (RFC 8410 §4). */
const SPKI = Buffer.from('302a300506032b6570032100', 'hex');

/** Both halves as text: the private one stays with whoever signs, the public one is given away. */
export interface KeyPair {
  /** `wbs_…` */
  readonly privateKey: string;
  /** `wbp_…` */
  readonly publicKey: string;
}

/** @throws TypeError for a text that is no private key, without the text */
export function privateKeyOf(text: string): KeyObject {
  return createPrivateKey({
    key: Buffer.from(toPkcs8(keyBytes('private', text))),
    format: 'der',
    type: 'pkcs8',
  });
}

/** @throws TypeError for a text that is no public key, without the text */
export function publicKeyOf(text: string): KeyObject {
  return createPublicKey({
    key: Buffer.concat([SPKI, keyBytes('public', text)]),
    format: 'der',
    type: 'spki',
  });
}

/** The public half of a private key. @throws TypeError */
export function publicTextOf(privateText: string): string {
  return textOf(createPublicKey(privateKeyOf(privateText)));
}

/**
 * A new key pair for somebody who must not share a secret.
 *
 * @param seed 32 bytes that decide which pair it is; random unless given
 */
export function generateKeyPair(seed: Uint8Array = randomKeyBytes()): KeyPair {
  const privateKey = keyText('private', seed);
  return { privateKey, publicKey: publicTextOf(privateKey) };
}

/** `ed25519:` and 86 characters of base64url (docs/protocol.md §2). */
export function sign(signedText: string, key: KeyObject): string {
  return `${ED25519_PREFIX}${signBytes(null, Buffer.from(signedText, 'utf8'), key).toString('base64url')}`;
}

/** Does the signature hold? Any text may be asked for. */
export function holds(signedText: string, signature: string, key: KeyObject): boolean {
  if (!SIGNATURE_FORMS.ed25519.test(signature)) return false;
  const bytes = Buffer.from(signature.slice(ED25519_PREFIX.length), 'base64url');
  return verify(null, Buffer.from(signedText, 'utf8'), key, bytes);
}

/**
 * The public key that somebody sent, as `wbp_…`: from that text or from the PEM that
 * `openssl pkey -pubout` writes.
 *
 * @throws TypeError that says what is wrong and never contains the text
 */
export function readPublicKey(text: string): string {
  const trimmed = text.trim();
  const key = trimmed.startsWith('-----BEGIN') ? textOf(readPem(trimmed)) : trimmed;
  const weakness = weaknessOfPublicKey(key);
  if (weakness !== null) throw new TypeError(`the key ${weakness}`);
  return key;
}

function readPem(pem: string): KeyObject {
  if (/^-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(pem)) {
    throw new TypeError('the key is a private key: it stays with its owner, who sends the public one');
  }
  if (!pem.startsWith('-----BEGIN PUBLIC KEY-----')) throw new TypeError('the key is not a PEM PUBLIC KEY');
  let key: KeyObject;
  try {
    key = createPublicKey(pem);
  } catch {
    throw new TypeError('the key is a PEM that cannot be read: it was cut or changed');
  }
  if (key.asymmetricKeyType === 'ed25519') return key;
  throw new TypeError(`the key is of ${key.asymmetricKeyType}, not of ed25519`);
}

function textOf(publicKey: KeyObject): string {
  const bytes = fromBase64url(publicKey.export({ format: 'jwk' }).x ?? '');
  if (bytes === null) throw new Error('node:crypto gave a public key without its bytes');
  return keyText('public', bytes);
}

const P = 2n ** 255n - 19n;
/** −121665/121666 */
const D = 37095705934669439343138083508754565189542113879843219016388785533085940283555n;

/**
 * Why a public key proves nothing, or null. Under a point of small order one signature fits every text;
 * its owner could say of any message that somebody else made it.
 */
export function weaknessOfPublicKey(text: string): string | null {
  const mistake = mistakeIn(text, 'public');
  if (mistake !== null) return mistake;
  const bigEndian = Buffer.from(keyBytes('public', text).toReversed());
  // The first bit is the sign of x.
  const y = BigInt(`0x${bigEndian.toString('hex')}`) & (2n ** 255n - 1n);
  const yy = y ** 2n % P;
  // x² = (y² − 1) / (d·y² + 1), and the quotient of two numbers is a square when their product is (Euler).
  const square = (yy - 1n) * (D * yy + 1n);
  const isPoint = y < P && power(square, (P - 1n) / 2n) !== P - 1n;
  // Orders 1 and 2: y = ±1; order 4: y = 0; order 8: the double has y = 0, so x² = −y².
  const isSmall = (y * (yy - 1n) * (D * yy * yy + 2n * yy - 1n)) % P === 0n;
  return isPoint && !isSmall ? null : 'is no point of Ed25519 that can be a public key';
}

function power(base: bigint, exponent: bigint): bigint {
  let result = 1n;
  let square = ((base % P) + P) % P;
  for (let left = exponent; left > 0n; left >>= 1n) {
    if (left & 1n) result = (result * square) % P;
    square = (square * square) % P;
  }
  return result;
}
