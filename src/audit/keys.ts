import { createHmac, type KeyObject } from 'node:crypto';
import { generateKeyPair, privateKeyOf, publicKeyOf, weaknessOfPublicKey } from '../wire/ed25519.ts';

/** What signs the heads of every chain of a store: all its servers and workers derive the same. */
export interface AuditKeys {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  /** The public key as text, `wbp_…`: what an auditor is given. */
  readonly publicText: string;
}

/** The audit keys (Ed25519) of a master key. */
export function auditKeys(master: KeyObject): AuditKeys {
  const seed = createHmac('sha256', master).update('waybill audit key').digest();
  const { privateKey, publicKey } = generateKeyPair(seed);
  return { privateKey: privateKeyOf(privateKey), publicKey: publicKeyOf(publicKey), publicText: publicKey };
}

/** The key that the text of a public audit key stands for; `null` if it proves nothing. */
export function auditKeyOf(text: unknown): KeyObject | null {
  return typeof text === 'string' && weaknessOfPublicKey(text) === null ? publicKeyOf(text) : null;
}
