import {
  createHmac,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  verify,
} from 'node:crypto';

/** What a client was given for one server; the members of the file that `waybill clients add` prints. */
export interface Credential {
  readonly client_id: string;
  readonly server_id: string;
  readonly url: string;
  /** `hmac-sha256` if it is left out. */
  readonly algorithm?: 'hmac-sha256' | 'ed25519';
  readonly request_key: string;
  readonly response_key: string;
}

/** What a client does with the keys of its credential. */
export interface Keys {
  /** Signs with the key of requests, with the other one as far as it can sign, or with a key that nobody has. */
  sign(text: string, key?: 'request_key' | 'response_key' | 'wrong'): string;
  /** Was the text signed by the server? */
  holds(text: string, signature: string): boolean;
}

/** @throws TypeError for keys that are none */
export function keysOf(credential: Pick<Credential, 'algorithm' | 'request_key' | 'response_key'>): Keys {
  const { algorithm = 'hmac-sha256', request_key, response_key } = credential;
  if (algorithm === 'ed25519') {
    const [requests, replies] = [privateKeyOf(request_key), publicKeyOf(response_key)];
    return {
      // Of the server's key the client has the half that cannot sign.
      sign: (text, key = 'request_key') =>
        ed25519(key === 'request_key' ? requests : generateKeyPairSync('ed25519').privateKey, text),
      holds: (text, signature) => ed25519Holds(replies, text, signature),
    };
  }
  return {
    sign: (text, key = 'request_key') =>
      hmac(key === 'wrong' ? randomBytes(32).toString('hex') : credential[key], text),
    holds: (text, signature) => signature === hmac(response_key, text),
  };
}

/** HMAC-SHA256 of the UTF-8 text under the UTF-8 bytes of the secret, in lower-case hex. */
export function hmac(secret: string, text: string): string {
  return createHmac('sha256', Buffer.from(secret, 'utf8')).update(text, 'utf8').digest('hex');
}

/** `ed25519:` and the signature of the UTF-8 text in base64url. */
function ed25519(key: KeyObject, text: string): string {
  return `ed25519:${sign(null, Buffer.from(text, 'utf8'), key).toString('base64url')}`;
}

/** A signature has one spelling: 86 characters, of which the last has no bits left over. */
function ed25519Holds(key: KeyObject, text: string, signature: string): boolean {
  const [, body = ''] = /^ed25519:([A-Za-z0-9_-]{85}[AQgw])$/.exec(signature) ?? [];
  return body !== '' && verify(null, Buffer.from(text, 'utf8'), key, Buffer.from(body, 'base64url'));
}

/** @throws TypeError for a text that is none */
function privateKeyOf(text: string): KeyObject {
  // What stands before the 32 bytes in PKCS #8 (RFC 8410 §7).
  const head = Buffer.from('302e020100300506032b657004220420', 'hex');
  return createPrivateKey({
    key: Buffer.concat([head, bytesOf('wbs_', text)]),
    format: 'der',
    type: 'pkcs8',
  });
}

/** @throws TypeError for a text that is none */
function publicKeyOf(text: string): KeyObject {
  // What stands before the 32 bytes in a SubjectPublicKeyInfo (RFC 8410 §4).
  const head = Buffer.from('302a300506032b6570032100', 'hex');
  return createPublicKey({ key: Buffer.concat([head, bytesOf('wbp_', text)]), format: 'der', type: 'spki' });
}

function bytesOf(prefix: string, text: string): Buffer {
  const [, body] = /^wb[sp]_([A-Za-z0-9_-]{43})[0-9a-f]{8}$/.exec(text) ?? [];
  if (body === undefined || !text.startsWith(prefix))
    throw new TypeError(`a key must begin with ${prefix} and have 55 characters`);
  return Buffer.from(body, 'base64url');
}
