import type { Credential } from './credential.ts';

/** The two keys of a client, each for its own direction (docs/protocol.md §3). */
export interface Signer {
  /** HMAC-SHA256 under the request key, as 64 lower-case hex digits (§2). */
  sign(text: string): Promise<string>;
  /** Does the signature (64 hex digits) hold under the response key? The comparison is constant-time. */
  verify(text: string, signature: string): Promise<boolean>;
}

type Keys = readonly [request: CryptoKey, response: CryptoKey];

const HMAC_SHA256 = { name: 'HMAC', hash: 'SHA-256' } as const;
const utf8 = new TextEncoder();

/**
 * Signs with Web Crypto, which every runtime has.
 *
 * @throws TypeError where Web Crypto is missing: a browser page that is neither https nor localhost
 */
export function createSigner(credential: Credential): Signer {
  const { subtle } = globalThis.crypto ?? {};
  if (subtle === undefined) {
    throw new TypeError('Web Crypto is missing: in a browser, load the page over https or from localhost');
  }
  const secrets = [utf8.encode(credential.request_key), utf8.encode(credential.response_key)] as const;
  let imported: Promise<Keys> | undefined;

  // At first use, not at construction: Workers allow no cryptography while a module is loaded.
  function keys(): Promise<Keys> {
    imported ??= Promise.all([
      subtle.importKey('raw', secrets[0], HMAC_SHA256, false, ['sign']),
      subtle.importKey('raw', secrets[1], HMAC_SHA256, false, ['verify']),
    ]);
    return imported;
  }

  return {
    async sign(text) {
      const [key] = await keys();
      return toHex(new Uint8Array(await subtle.sign('HMAC', key, utf8.encode(text))));
    },
    async verify(text, signature) {
      const [, key] = await keys();
      return subtle.verify('HMAC', key, fromHex(signature), utf8.encode(text));
    },
  };
}

function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

function fromHex(hex: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(hex.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}
