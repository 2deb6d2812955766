import type { AlgorithmName } from './envelope.ts';

/** What a signature of Ed25519 begins with; nothing else tells the forms apart. */
export const ED25519_PREFIX = 'ed25519:';

/** 64 bytes leave four bits of the last character over: one spelling each, so they must be zero. */
export const SIGNATURE_FORMS: Readonly<Record<AlgorithmName, RegExp>> = {
  'hmac-sha256': /^[0-9a-f]{64}$/,
  ed25519: /^ed25519:[A-Za-z0-9_-]{85}[AQgw]$/,
};

/** Is this the name of an algorithm, as records and credentials say it? */
export function isAlgorithmName(value: unknown): value is AlgorithmName {
  return typeof value === 'string' && Object.hasOwn(SIGNATURE_FORMS, value);
}

/** Does the text look like a signature of one of the algorithms? */
export function isSignature(text: string): boolean {
  return SIGNATURE_FORMS[formOf(text)].test(text);
}

/**
 * Which algorithm a signature claims to be of. It says what a refusal costs and never what is believed:
 * that is in the client's record.
 */
export function formOf(signature: string): AlgorithmName {
  return signature.startsWith(ED25519_PREFIX) ? 'ed25519' : 'hmac-sha256';
}
