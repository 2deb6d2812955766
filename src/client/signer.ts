import { fromBase64url, toBase64url } from '../wire/base64url.ts';
import type { AlgorithmName } from '../wire/envelope.ts';
import { keyBytes, toPkcs8 } from '../wire/secret.ts';
import { ED25519_PREFIX, formOf } from '../wire/signature-form.ts';
import { type Credential, DEFAULT_ALGORITHM } from '../wire/credential.ts';

/** The two keys of a client, each for its own direction (docs/protocol.md §3). */
export interface Signer {
  /** The signature under the request key, as a message carries it (§2). */
  sign(text: string): Promise<string>;
  /**
   * Does a signature that the envelope's check let pass hold under the response key? One of the other
   * algorithm never does. An HMAC is compared in constant time.
   */
  verify(text: string, signature: string): Promise<boolean>;
}

type Bytes = Uint8Array<ArrayBuffer>;
type Keys = readonly [request: CryptoKey, response: CryptoKey];

/** What Web Crypto has to be told about an algorithm. */
interface Algorithm {
  readonly parameters: { readonly name: string; readonly hash?: string };
  readonly requestFormat: 'raw' | 'pkcs8';
  readonly requestBytes: (text: string) => Bytes;
  readonly responseBytes: (text: string) => Bytes;
  readonly write: (signature: Bytes) => string;
  readonly read: (signature: string) => Bytes | null;
}

const utf8 = new TextEncoder();
const bytesOf = (text: string): Bytes => utf8.encode(text);

const ALGORITHMS: Readonly<Record<AlgorithmName, Algorithm>> = {
  'hmac-sha256': {
    parameters: { name: 'HMAC', hash: 'SHA-256' },
    requestFormat: 'raw',
    requestBytes: bytesOf,
    responseBytes: bytesOf,
    write: toHex,
    read: fromHex,
  },
  ed25519: {
    parameters: { name: 'Ed25519' },
    requestFormat: 'pkcs8',
    requestBytes: (text) => toPkcs8(keyBytes('private', text)),
    responseBytes: (text) => keyBytes('public', text),
    write: (signature) => ED25519_PREFIX + toBase64url(signature),
    read: (signature) => fromBase64url(signature.slice(ED25519_PREFIX.length)),
  },
};

/**
 * Signs with Web Crypto, which every runtime has. Where it has no Ed25519 yet, a credential of that
 * algorithm makes the first `sign` or `verify` reject with a TypeError.
 *
 * @throws TypeError where Web Crypto is missing: a browser page that is neither https nor localhost
 */
export function createSigner(credential: Credential): Signer {
  const { subtle } = globalThis.crypto ?? {};
  if (subtle === undefined) {
    throw new TypeError('Web Crypto is missing: in a browser, load the page over https or from localhost');
  }
  const name = credential.algorithm ?? DEFAULT_ALGORITHM;
  const { parameters, requestFormat, requestBytes, responseBytes, write, read } = ALGORITHMS[name];
  const request = requestBytes(credential.request_key);
  const response = responseBytes(credential.response_key);
  let imported: Promise<Keys> | undefined;

  // At first use, not at construction: Workers allow no cryptography while a module is loaded.
  function keys(): Promise<Keys> {
    imported ??= Promise.all([
      subtle.importKey(requestFormat, request, parameters, false, ['sign']),
      subtle.importKey('raw', response, parameters, false, ['verify']),
    ]).catch((cause: unknown) => {
      throw new TypeError(`Web Crypto of this runtime takes no keys for ${name}: it may be too old`, {
        cause,
      });
    });
    return imported;
  }

  return {
    async sign(text) {
      const [key] = await keys();
      return write(new Uint8Array(await subtle.sign(parameters, key, utf8.encode(text))));
    },
    async verify(text, signature) {
      const [, key] = await keys();
      const bytes = formOf(signature) === name ? read(signature) : null;
      return bytes !== null && subtle.verify(parameters, key, bytes, utf8.encode(text));
    },
  };
}

function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

function fromHex(hex: string): Bytes {
  const bytes = new Uint8Array(hex.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}
