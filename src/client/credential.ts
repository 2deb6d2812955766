import { type Credential, DEFAULT_ALGORITHM } from '../wire/credential.ts';
import type { AlgorithmName } from '../wire/envelope.ts';
import { isObject } from '../wire/json.ts';
import { type KeyKind, mistakeIn } from '../wire/secret.ts';
import { isAlgorithmName } from '../wire/signature-form.ts';
import { problemOf } from './request.ts';

const REQUIRED = ['client_id', 'server_id', 'request_key', 'response_key'];

type Slot = 'request_key' | 'response_key';

/** What stands in each slot. */
const KINDS: Readonly<Record<AlgorithmName, Readonly<Record<Slot, KeyKind>>>> = {
  'hmac-sha256': { request_key: 'secret', response_key: 'secret' },
  ed25519: { request_key: 'private', response_key: 'public' },
};

/**
 * A credential from its JSON text.
 *
 * @throws TypeError that says which member is wrong; it never contains a secret
 */
export function parseCredential(text: string): Credential {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // The parser's own message quotes the text, which holds secrets.
    throw new TypeError('credential: is not JSON');
  }
  return checkCredential(value);
}

/** The same for a value. @throws TypeError */
export function checkCredential(value: unknown): Credential {
  const problem = isObject(value) ? credentialProblem(value) : 'must be an object';
  if (problem !== null) throw new TypeError(`credential: ${problem}`);
  // Every member has just been checked.
  return value as Credential;
}

function credentialProblem(value: Record<string, unknown>): string | null {
  const { client_id, server_id, url, algorithm = DEFAULT_ALGORITHM, ...keysAndOthers } = value;
  const { request_key, response_key, ...others } = keysAndOthers;
  for (const name of REQUIRED) {
    if (value[name] !== undefined) continue;
    // A partner gets its credential without it: nobody else has it.
    const isPrivate = name === 'request_key' && algorithm === 'ed25519';
    return `${name}: is missing${isPrivate ? '; put your private key there (wbs_)' : ''}`;
  }
  // The name is not printed: in a file that was put together wrongly it may be a secret.
  if (Object.keys(others).length > 0) return `has a member besides url, algorithm, ${REQUIRED.join(', ')}`;
  if (!isAlgorithmName(algorithm)) return `algorithm: must be one of ${Object.keys(KINDS).join(', ')}`;
  return (
    problemOf({ client_id, server_id }) ??
    urlProblem(url) ??
    keyProblem('request_key', request_key, algorithm) ??
    keyProblem('response_key', response_key, algorithm) ??
    // One key for both directions would let the server forge requests of the client (§3).
    (request_key === response_key ? 'request_key and response_key must differ' : null)
  );
}

function urlProblem(value: unknown): string | null {
  if (value === undefined) return null;
  if (typeof value !== 'string' || !URL.canParse(value)) return 'url: must be an http(s) URL';
  const url = new URL(value);
  if (url.protocol !== 'http:' && url.protocol !== 'https:') return 'url: must be an http(s) URL';
  return url.username + url.password === '' ? null : 'url: must not contain a user name or a password';
}

function keyProblem(slot: Slot, value: unknown, algorithm: AlgorithmName): string | null {
  if (typeof value !== 'string' || value === '') return `${slot}: must be a string that is not empty`;
  if (!value.isWellFormed()) return `${slot}: has a lone surrogate`;
  // Whether a secret of the operator's own is long enough was decided where it was added (§3).
  const mistake = mistakeIn(value, KINDS[algorithm][slot]);
  return mistake === null ? null : `${slot}: ${mistake} (algorithm: ${algorithm})`;
}
