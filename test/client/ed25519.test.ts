import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { ClientError, createClient, type Credential, type Transport } from '../../src/client/index.ts';
import { createSigner } from '../../src/client/signer.ts';
import { MESSAGE_LIMITS } from '../../src/limits.ts';
import { ALGORITHMS, verifyAmong } from '../../src/wire/algorithms.ts';
import { DEFAULT_CODEC, decodeRequest, withSignature } from '../../src/wire/codec.ts';
import type { AlgorithmName } from '../../src/wire/envelope.ts';
import { credential as ids, createTestClock, membersOf, rejection } from './peer.ts';

const utf8 = new TextEncoder();
const text = fc.string({ maxLength: 500, unit: 'grapheme' });
const names = ['hmac-sha256', 'ed25519'] as const;

/** A client and the server that knows it, both with the keys of one new generation. */
function pairOf(algorithm: AlgorithmName) {
  const { generate, verifyingKey, signingKey } = ALGORITHMS[algorithm];
  const { client, server } = generate();
  const credential: Credential = {
    ...ids,
    algorithm,
    request_key: client.request,
    response_key: client.response,
  };
  return {
    credential,
    serverVerifies: verifyingKey(server.request),
    serverSigns: signingKey(server.response),
  };
}

/** A server of one reply: an honest one, but for its signature. */
function serverOf(pair: ReturnType<typeof pairOf>, sign: (signedText: string) => string) {
  const seen: number[] = [];
  const transport: Transport = async (bytes) => {
    const { message, signedText } = decodeRequest(bytes, MESSAGE_LIMITS);
    const { algorithm = 'hmac-sha256' } = pair.credential;
    seen.push(verifyAmong(signedText, message.signature, [pair.serverVerifies], algorithm));
    const reply = DEFAULT_CODEC.responseText(membersOf(message, { result: { honest: true } }), {
      members: 0,
    });
    return utf8.encode(withSignature(reply, sign(reply)));
  };
  const client = createClient(pair.credential, { transport, clock: createTestClock() });
  return { seen, call: () => client.call('tool', { größe: ['€', 1e-5] }) };
}

afterEach(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

describe.each(names)('a client with a credential for %s', (name) => {
  const pair = pairOf(name);
  const { sign, holds } = ALGORITHMS[name];

  it('signs what the server verifies, and verifies what the server signs', async () => {
    const signer = createSigner(pair.credential);
    await fc.assert(
      fc.asyncProperty(text, async (message) => {
        expect(holds(message, await signer.sign(message), pair.serverVerifies)).toBe(true);
        const signature = sign(message, pair.serverSigns);
        expect(await signer.verify(message, signature)).toBe(true);
        expect(await signer.verify(`${message}.`, signature)).toBe(false);
        expect(await signer.verify(message, await signer.sign(message))).toBe(false);
        expect(await signer.verify(message, sign(message, pairOf(name).serverSigns))).toBe(false);
      }),
      { numRuns: 50 },
    );
  });

  it('calls a server', async () => {
    const server = serverOf(pair, (reply) => sign(reply, pair.serverSigns));
    expect(await server.call()).toEqual({ honest: true });
    expect(server.seen).toEqual([0]);
  });

  it('believes no reply of the other algorithm, also under a key made of its own', async () => {
    const hmac = ALGORITHMS['hmac-sha256'];
    const { response_key } = pair.credential;
    const forgers =
      name === 'ed25519'
        ? // The public key is no secret: who verifies replies by their form takes a MAC under it.
          [response_key, response_key.slice(4, -8)].map(
            (key) => (reply: string) => hmac.sign(reply, hmac.signingKey(key)),
          )
        : [(reply: string) => ALGORITHMS.ed25519.sign(reply, pairOf('ed25519').serverSigns)];
    for (const forge of forgers) {
      const error = await rejection(serverOf(pair, forge).call());
      expect(error).toBeInstanceOf(ClientError);
      expect(error).toMatchObject({
        kind: 'reply_unverified',
        message: expect.stringMatching('signature of the reply is wrong'),
      });
    }
  });

  it('believes no reply with a bit of its signature flipped', async () => {
    const signer = createSigner(pair.credential);
    const signature = sign('text', pair.serverSigns);
    const [prefix, encoding] =
      name === 'ed25519' ? (['ed25519:', 'base64url'] as const) : (['', 'hex'] as const);
    const bytes = Buffer.from(signature.slice(prefix.length), encoding);
    for (let bit = 0; bit < 8 * bytes.length; bit++) {
      const changed = Buffer.from(bytes);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(await signer.verify('text', prefix + changed.toString(encoding))).toBe(false);
    }
    expect(await signer.verify('text', signature)).toBe(true);
  });
});

describe('a client with a credential for ed25519', () => {
  const pair = pairOf('ed25519');

  it('keeps keys that cannot be read out, and imports them at first use', async () => {
    const importKey = vi.spyOn(crypto.subtle, 'importKey');
    const signer = createSigner(pair.credential);
    expect(importKey).not.toHaveBeenCalled();
    await Promise.all([signer.sign('a'), signer.sign('b')]);
    expect(
      importKey.mock.calls.map(([format, , , extractable, uses]) => [format, extractable, uses]),
    ).toEqual([
      ['pkcs8', false, ['sign']],
      ['raw', false, ['verify']],
    ]);
  });

  it('says so where Web Crypto has no Ed25519, and sends nothing', async () => {
    vi.spyOn(crypto.subtle, 'importKey').mockRejectedValue(
      new DOMException('Unrecognized algorithm name', 'NotSupportedError'),
    );
    const server = serverOf(pair, () => '');
    const error = await rejection(server.call());
    expect(error).toEqual(
      new TypeError('Web Crypto of this runtime takes no keys for ed25519: it may be too old'),
    );
    expect(error).toMatchObject({ cause: { name: 'NotSupportedError' } });
    expect(server.seen).toEqual([]);
  });

  it('makes Node warn of nothing', async () => {
    const warnings: Error[] = [];
    const listen = (warning: Error) => warnings.push(warning);
    process.on('warning', listen);
    try {
      const signer = createSigner(pair.credential);
      await signer.verify('a', ALGORITHMS.ed25519.sign('a', pair.serverSigns));
      await signer.sign('a');
      await new Promise(setImmediate);
    } finally {
      process.off('warning', listen);
    }
    expect(warnings).toEqual([]);
  });
});
