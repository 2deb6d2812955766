import { ALGORITHMS, type IssuedKeys, type KeyTexts } from '../../wire/algorithms.ts';
import { DEFAULT_ALGORITHM } from '../../wire/credential.ts';
import type { AlgorithmName } from '../../wire/index.ts';
import type { Sealer } from './sealer.ts';

/** Which keys a client is to have. */
export interface KeyChoice {
  /** How both sides sign. Default `hmac-sha256`. */
  readonly algorithm?: AlgorithmName;
  /** `hmac-sha256`: secrets brought by the operator; both are generated if they are left out. */
  readonly keys?: KeyTexts;
  /** Take secrets that are short or repeat themselves. */
  readonly allowWeakKey?: boolean;
}

/** @throws TypeError, RangeError for keys that must not be taken; never with the keys */
export function checkKeys({ algorithm = DEFAULT_ALGORITHM, keys, allowWeakKey = false }: KeyChoice): void {
  if (keys === undefined) return;
  if (algorithm !== 'hmac-sha256') throw new TypeError(`${algorithm} has no shared secrets to bring`);
  refuseWeak('request key', keys.request, allowWeakKey);
  refuseWeak('response key', keys.response, allowWeakKey);
  if (keys.request === keys.response) {
    throw new RangeError('the two keys must differ: whoever holds one could forge the other side');
  }
}

/** Keys as they were chosen, and checked; new ones where none were. */
export function issueKeys({ algorithm = DEFAULT_ALGORITHM, keys }: KeyChoice): IssuedKeys {
  return keys === undefined ? ALGORITHMS[algorithm].generate() : { client: keys, server: keys };
}

/**
 * Keys for a partner who keeps the private key: the server gets the public one, and a pair of its own to answer with.
 *
 * @param publicKey `wbp_…`
 * @throws RangeError for a text that is none
 */
export function issueFor(publicKey: string): IssuedKeys {
  const weakness = ALGORITHMS.ed25519.weaknessOf(publicKey, 'request');
  if (weakness !== null) throw new RangeError(`the request key ${weakness}`);
  const { client, server } = ALGORITHMS.ed25519.generate();
  return { client: { ...client, request: '' }, server: { ...server, request: publicKey } };
}

/** What is kept of a generation. */
export function sealKeys(sealer: Sealer, id: string, { request, response }: KeyTexts): KeyTexts {
  return {
    request: sealer.seal(id, 'request', request),
    response: sealer.seal(id, 'response', response),
  };
}

function refuseWeak(which: string, secret: string, allowed: boolean): void {
  if (secret === '') throw new RangeError(`the ${which} is empty`);
  const weakness = ALGORITHMS['hmac-sha256'].weaknessOf(secret, 'request');
  // A damaged text of ours, or one of another kind, is a mistake, not a choice.
  const isOurs = /^wb[stp]?_/.test(secret);
  if (weakness === null || (allowed && !isOurs)) return;
  const hint = isOurs ? '' : '; --allow-weak-key takes it all the same';
  throw new RangeError(`the ${which} ${weakness}${hint}`);
}
