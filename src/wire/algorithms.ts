import type { KeyObject } from 'node:crypto';
import * as ed25519 from './ed25519.ts';
import type { AlgorithmName } from './envelope.ts';
import { generateSecret, mistakeIn, weaknessOf } from './secret.ts';
import * as hmac from './signature.ts';
import { formOf } from './signature-form.ts';

/** The texts of one generation, as one side holds them. */
export interface KeyTexts {
  /** Of the key that requests are signed or verified with. */
  readonly request: string;
  /** The same for replies. */
  readonly response: string;
}

/** A new generation: what goes into the client's credential and what the server keeps. */
export interface IssuedKeys {
  readonly client: KeyTexts;
  readonly server: KeyTexts;
}

/** What a server does with the keys of a client; texts are those of the server's slots. */
export interface Algorithm {
  readonly name: AlgorithmName;
  generate(): IssuedKeys;
  /** Why a text should not stand in the slot, or null. The reason never contains the text. */
  weaknessOf(text: string, slot: keyof KeyTexts): string | null;
  /** From the text of the request slot. @throws TypeError without the text */
  verifyingKey(text: string): KeyObject;
  /** From the text of the response slot. @throws TypeError without the text */
  signingKey(text: string): KeyObject;
  /** The signature as a message carries it (docs/protocol.md §2). */
  sign(signedText: string, key: KeyObject): string;
  /** Does it hold under the key? Any text may be asked for; the time tells nothing that is secret. */
  holds(signedText: string, signature: string, key: KeyObject): boolean;
  /**
   * How a server shows a client which response key it holds: `fingerprintOf` of `response_key` as it stands
   * in the client's credential (§3). From the text of the response slot. @throws TypeError without the text
   */
  fingerprint(responseText: string): string;
  /** A key to verify with that nobody signs for. */
  readonly decoy: KeyObject;
}

/** Every algorithm; nothing else depends on which there are. A client's record says which one holds for it. */
export const ALGORITHMS: Readonly<Record<AlgorithmName, Algorithm>> = {
  'hmac-sha256': {
    name: 'hmac-sha256',
    generate() {
      const both = { request: generateSecret(), response: generateSecret() };
      return { client: both, server: both };
    },
    weaknessOf: (text) => weaknessOf(text),
    verifyingKey: hmac.keyOf,
    signingKey: hmac.keyOf,
    sign: hmac.sign,
    holds: hmac.holds,
    fingerprint: fingerprintOf,
    decoy: hmac.keyOf(generateSecret()),
  },
  ed25519: {
    name: 'ed25519',
    generate() {
      const [client, server] = [ed25519.generateKeyPair(), ed25519.generateKeyPair()];
      return {
        client: { request: client.privateKey, response: server.publicKey },
        server: { request: client.publicKey, response: server.privateKey },
      };
    },
    weaknessOf: (text, slot) =>
      slot === 'request' ? ed25519.weaknessOfPublicKey(text) : mistakeIn(text, 'private'),
    verifyingKey: ed25519.publicKeyOf,
    signingKey: ed25519.privateKeyOf,
    sign: ed25519.sign,
    holds: ed25519.holds,
    fingerprint: (text) => fingerprintOf(ed25519.publicTextOf(text)),
    decoy: ed25519.publicKeyOf(ed25519.generateKeyPair().publicKey),
  },
};

/** Generations that a client has at most (docs/protocol.md §3). */
const MAX_KEYS = 2;

/**
 * Which of a client's keys the signature holds under: its index, or -1.
 *
 * A refusal takes `MAX_KEYS` checks of the form that was sent, so its time depends on nothing that the
 * sender did not choose: not on whether there is such a client, how many keys it has, or its algorithm.
 *
 * @param keys of the client, at most two; none for an unknown one
 * @param algorithm of the client's record; of an unknown client either
 */
export function verifyAmong(
  signedText: string,
  signature: string,
  keys: readonly KeyObject[],
  algorithm: AlgorithmName,
): number {
  const form = ALGORITHMS[formOf(signature)];
  const own = form.name === algorithm ? keys : [];
  let found = -1;
  // Each key is tried, also behind one that fits.
  own.forEach((key, index) => {
    if (form.holds(signedText, signature, key) && found === -1) found = index;
  });
  if (found === -1) {
    for (let i = own.length; i < MAX_KEYS; i++) form.holds(signedText, signature, form.decoy);
  }
  return found;
}

/** 32 hex digits that name a key without showing it: HMAC-SHA256(text, `mcp fingerprint`) (§3). */
export function fingerprintOf(keyText: string): string {
  return hmac.fingerprint(hmac.keyOf(keyText));
}
