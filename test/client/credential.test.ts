import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createClient, parseCredential } from '../../src/client/index.ts';
import { generateSecret } from '../../src/wire/secret.ts';
import { ALGORITHMS } from '../../src/wire/algorithms.ts';
import { credential } from './peer.ts';

const text = (changes: Record<string, unknown>) => JSON.stringify({ ...credential, ...changes });

const { client, server } = ALGORITHMS.ed25519.generate();
const ed25519 = { algorithm: 'ed25519', request_key: client.request, response_key: client.response };

describe('a credential', () => {
  it('is read as it was printed', () => {
    expect(parseCredential(JSON.stringify(credential, null, 2))).toEqual(credential);
  });

  it('may do without url when there is a transport', () => {
    const { url: _, ...rest } = credential;
    expect(parseCredential(JSON.stringify(rest))).toEqual(rest);
    expect(() => createClient(rest)).toThrow(/no url/);
    expect(() => createClient(rest, { transport: async (bytes) => bytes })).not.toThrow();
  });

  it('may hold short secrets of the operator', () => {
    const own = { request_key: 'short', response_key: 'also short' };
    expect(parseCredential(text(own))).toMatchObject(own);
  });

  it('may name its algorithm, and then holds the keys of that', () => {
    const shared = { ...credential, algorithm: 'hmac-sha256' };
    expect(parseCredential(JSON.stringify(shared))).toEqual(shared);
    const own = { ...credential, ...ed25519 };
    expect(parseCredential(JSON.stringify(own))).toEqual(own);
    expect(() => createClient(parseCredential(JSON.stringify(own)))).not.toThrow();
  });

  const { request_key } = credential;
  const flipped = request_key.slice(0, -1) + (request_key.endsWith('0') ? '1' : '0');

  it.each<[why: string, text: string, message: string]>([
    ['not JSON', `{"request_key": "${request_key}"`, 'credential: is not JSON'],
    ['no object', JSON.stringify(request_key), 'credential: must be an object'],
    ['an array', JSON.stringify([credential]), 'credential: must be an object'],
    ['a member too many', text({ [generateSecret()]: 1 }), 'credential: has a member besides url, algorithm'],
    ['no client_id', text({ client_id: undefined }), 'credential: client_id: is missing'],
    ['no server_id', text({ server_id: undefined }), 'credential: server_id: is missing'],
    ['no request_key', text({ request_key: undefined }), 'credential: request_key: is missing'],
    ['no response_key', text({ response_key: undefined }), 'credential: response_key: is missing'],
    ['a wrong client_id', text({ client_id: '-x' }), 'credential: client_id: must be 1-128 of'],
    ['a wrong server_id', text({ server_id: 'a b' }), 'credential: server_id: must be 1-128 of'],
    ['a url that is none', text({ url: 'srv' }), 'credential: url: must be an http(s) URL'],
    ['another kind of url', text({ url: 'file:///tmp/x' }), 'credential: url: must be an http(s) URL'],
    ['a url with a password', text({ url: 'https://a:b@srv/call' }), 'credential: url: must not contain'],
    [
      'an empty key',
      text({ request_key: '' }),
      'credential: request_key: must be a string that is not empty',
    ],
    ['a key that is a number', text({ response_key: 7 }), 'credential: response_key: must be a string'],
    ['a lone surrogate', text({ response_key: 'x\ud800' }), 'credential: response_key: has a lone surrogate'],
    ['a mistyped key', text({ request_key: flipped }), 'credential: request_key: has a wrong checksum'],
    [
      'a cut key',
      text({ request_key: request_key.slice(0, -3) }),
      'credential: request_key: has the wrong length',
    ],
    [
      'no private key yet',
      text({ ...ed25519, request_key: undefined }),
      'credential: request_key: is missing; put your private key there (wbs_)',
    ],
    [
      'an algorithm that is none',
      text({ algorithm: 'none' }),
      'credential: algorithm: must be one of hmac-sha256, ed25519',
    ],
    [
      'an algorithm of the prototype',
      text({ algorithm: 'toString' }),
      'credential: algorithm: must be one of',
    ],
    ['no algorithm but null', text({ algorithm: null }), 'credential: algorithm: must be one of'],
    [
      'shared secrets for ed25519',
      text({ algorithm: 'ed25519' }),
      'request_key: is a shared secret (wb_), where a private key (wbs_) must stand (algorithm: ed25519)',
    ],
    [
      'a shared secret beside a private key',
      text({ ...ed25519, response_key: credential.response_key }),
      'response_key: is a shared secret (wb_), where a public key (wbp_) must stand (algorithm: ed25519)',
    ],
    [
      'a public key where the private one must stand',
      text({ ...ed25519, request_key: server.request }),
      'request_key: is a public key (wbp_), where a private key (wbs_) must stand (algorithm: ed25519)',
    ],
    [
      'the private key of the server',
      text({ ...ed25519, response_key: server.response }),
      'response_key: is a private key (wbs_), where a public key (wbp_) must stand (algorithm: ed25519)',
    ],
    [
      'keys of ed25519 without its name',
      text({ ...ed25519, algorithm: undefined }),
      'request_key: is a private key (wbs_), where a shared secret (wb_) must stand (algorithm: hmac-sha256)',
    ],
    [
      'a password for ed25519',
      text({ ...ed25519, request_key: 'short' }),
      'request_key: is not a private key (wbs_) (algorithm: ed25519)',
    ],
    [
      'a mistyped private key',
      text({ ...ed25519, request_key: client.request.replace(/.$/, (last) => (last === '0' ? '1' : '0')) }),
      'credential: request_key: has a wrong checksum',
    ],
    [
      'a cut public key',
      text({ ...ed25519, response_key: client.response.slice(0, -1) }),
      'credential: response_key: has the wrong length or characters for a wbp_ key',
    ],
    [
      'a bearer token',
      text({ request_key: request_key.replace('wb_', 'wbt_') }),
      'request_key: is a bearer token (wbt_), where a shared secret (wb_) must stand',
    ],
    [
      'one key twice',
      text({ response_key: request_key }),
      'credential: request_key and response_key must differ',
    ],
  ])('with %s is refused with a clear message without a secret', (_, json, message) => {
    let error: unknown;
    try {
      parseCredential(json);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(TypeError);
    if (!(error instanceof TypeError)) return;
    expect(error.message).toContain(message);
    expect(error.message).not.toMatch(/wb[stp]?_[A-Za-z0-9]/);
    expect(error.cause).toBeUndefined();
  });

  it('whatever is broken in it, no error shows a secret', () => {
    const member = fc.constantFrom('client_id', 'server_id', 'url', 'request_key', 'response_key', 'other');
    const secret = fc.constantFrom(`${generateSecret()} x`, `${client.request} x`);
    const place = fc.constantFrom<((text: string) => unknown)[]>(
      (value) => value,
      (value) => [value],
      (value) => ({ [value]: value }),
    );
    fc.assert(
      fc.property(member, secret, place, fc.constantFrom({}, ed25519), (name, value, put, base) => {
        expect(() => parseCredential(text({ ...base, [name]: put(value) }))).toThrow(
          expect.objectContaining({ message: expect.not.stringContaining(value.slice(0, 20)) }),
        );
      }),
    );
  });

  it('is checked by createClient as well', () => {
    expect(() => createClient({ ...credential, server_id: '' })).toThrow(/credential: server_id/);
  });
});
