import { createHmac, type KeyObject, sign as signBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { ALGORITHMS, type Algorithm, fingerprintOf, verifyAmong } from '../../src/wire/algorithms.ts';
import type { AlgorithmName } from '../../src/wire/index.ts';
import { generateSecret, keyText } from '../../src/wire/secret.ts';
import { formOf, isAlgorithmName, isSignature } from '../../src/wire/signature-form.ts';
import { anyText } from './arbitraries.ts';

const TEXT = '{"args":{},"v":"mcp/0.1"}';
const all = Object.values(ALGORITHMS);
const [hmac, ed25519] = [ALGORITHMS['hmac-sha256'], ALGORITHMS.ed25519];

/** The keys of one generation, ready for use on both sides. */
function issue(algorithm: Algorithm) {
  const { client, server } = algorithm.generate();
  return {
    texts: { client, server },
    // What a client signs with has the form of what a server signs with.
    clientSigns: algorithm.signingKey(client.request),
    serverVerifies: algorithm.verifyingKey(server.request),
    serverSigns: algorithm.signingKey(server.response),
    clientVerifies: algorithm.verifyingKey(client.response),
  };
}

describe('RFC 8032 §7.1', () => {
  const vectors = [
    {
      name: 'TEST 1',
      seed: '9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60',
      publicKey: 'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a',
      message: '',
      signature:
        'e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b',
    },
    {
      name: 'TEST 2',
      seed: '4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb',
      publicKey: '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c',
      message: '72',
      signature:
        '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
    },
    {
      // Its message is no UTF-8, so only its keys and bytes can be tried, not its text.
      name: 'TEST 3',
      seed: 'c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7',
      publicKey: 'fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025',
      message: 'af82',
      signature:
        '6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a',
    },
  ];

  test.each(vectors)('$name', ({ seed, publicKey, message, signature }) => {
    const privateText = keyText('private', Buffer.from(seed, 'hex'));
    const publicText = keyText('public', Buffer.from(publicKey, 'hex'));
    const [signs, verifies] = [ed25519.signingKey(privateText), ed25519.verifyingKey(publicText)];
    const bytes = Buffer.from(message, 'hex');
    expect(signBytes(null, bytes, signs).toString('hex')).toBe(signature);
    expect(ed25519.fingerprint(privateText)).toBe(fingerprintOf(publicText));
    const text = bytes.toString();
    if (!Buffer.from(text).equals(bytes)) return;
    const written = `ed25519:${Buffer.from(signature, 'hex').toString('base64url')}`;
    expect(ed25519.sign(text, signs)).toBe(written);
    expect(ed25519.holds(text, written, verifies)).toBe(true);
    expect(ed25519.holds(`${text} `, written, verifies)).toBe(false);
  });
});

describe.each(all)('a signature of $name', (algorithm) => {
  const keys = issue(algorithm);
  const signature = algorithm.sign(TEXT, keys.clientSigns);
  const index = (text: string, ...ring: KeyObject[]) => verifyAmong(TEXT, text, ring, algorithm.name);

  test('holds for any text in its own direction, and not in the other', () => {
    fc.assert(
      fc.property(anyText, (text) => {
        const [request, response] = [
          algorithm.sign(text, keys.clientSigns),
          algorithm.sign(text, keys.serverSigns),
        ];
        expect(algorithm.holds(text, request, keys.serverVerifies)).toBe(true);
        expect(algorithm.holds(text, response, keys.clientVerifies)).toBe(true);
        expect(algorithm.holds(text, response, keys.serverVerifies)).toBe(false);
        expect(algorithm.holds(text, request, keys.clientVerifies)).toBe(false);
        expect(algorithm.holds(`${text} `, request, keys.serverVerifies)).toBe(false);
      }),
    );
  });

  test('has its form, and only its own', () => {
    expect(formOf(signature)).toBe(algorithm.name);
    expect(isSignature(signature)).toBe(true);
    for (const other of all) {
      if (other.name === algorithm.name) continue;
      expect(other.holds(TEXT, signature, issue(other).serverVerifies)).toBe(false);
    }
  });

  test('never holds when it is empty, cut, longer or of another length', () => {
    for (const wrong of [
      '',
      signature.slice(0, -1),
      `${signature}0`,
      signature.slice(1),
      ` ${signature}`,
      'é',
    ])
      expect(algorithm.holds(TEXT, wrong, keys.serverVerifies)).toBe(false);
  });

  test('is found under the key that fits, wherever it stands', () => {
    const other = issue(algorithm).serverVerifies;
    const own = keys.serverVerifies;
    expect(index(signature, own)).toBe(0);
    expect(index(signature, own, other)).toBe(0);
    expect(index(signature, other, own)).toBe(1);
    expect(index(signature, own, own)).toBe(0);
    expect(index(signature, other, other)).toBe(-1);
    expect(index(signature)).toBe(-1);
  });

  test('does not hold for a client whose record names another algorithm, whatever its key', () => {
    for (const { name } of all) {
      const expected = name === algorithm.name ? 0 : -1;
      expect(verifyAmong(TEXT, signature, [keys.serverVerifies], name)).toBe(expected);
    }
  });

  test('of nobody never holds under the decoy', () => {
    for (const { name } of all) expect(verifyAmong(TEXT, signature, [], name)).toBe(-1);
  });
});

describe('a signature of ed25519', () => {
  const { clientSigns, serverVerifies } = issue(ed25519);
  const signature = ed25519.sign(TEXT, clientSigns);
  const bytes = Buffer.from(signature.slice(8), 'base64url');
  const written = (changed: Uint8Array) => `ed25519:${Buffer.from(changed).toString('base64url')}`;
  const holds = (text: string) => ed25519.holds(TEXT, text, serverVerifies);

  test('is the same each time', () => {
    expect(written(bytes)).toBe(signature);
    expect(ed25519.sign(TEXT, clientSigns)).toBe(signature);
  });

  test('with any bit of its bytes flipped does not hold', () => {
    for (let bit = 0; bit < 512; bit++) {
      const changed = Buffer.from(bytes);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(holds(written(changed))).toBe(false);
    }
    expect(holds(signature)).toBe(true);
  });

  test('with any character changed does not hold: there is one spelling', () => {
    const holding = Array.from(signature).flatMap((_, i) =>
      Array.from('AQgwBRhx09_-+/= ', (char) => signature.slice(0, i) + char + signature.slice(i + 1)).filter(
        holds,
      ),
    );
    expect(new Set(holding)).toEqual(new Set([signature]));
  });

  test('with the order of the group added to its second half does not hold', () => {
    const L = 2n ** 252n + 27742317777372353535851937790883648493n;
    const s = BigInt(`0x${Buffer.from(bytes.subarray(32).toReversed()).toString('hex')}`);
    const more = Buffer.from((s + L).toString(16).padStart(64, '0'), 'hex').toReversed();
    expect(holds(written(Buffer.concat([bytes.subarray(0, 32), more])))).toBe(false);
  });
});

describe('a refusal', () => {
  const { serverVerifies: known } = issue(ed25519);
  const secret = hmac.verifyingKey(generateSecret());
  const someone: Readonly<Record<string, readonly [AlgorithmName, ...KeyObject[]]>> = {
    'an unknown client': ['hmac-sha256'],
    'a client with one secret': ['hmac-sha256', secret],
    'a client in a rotation of secrets': ['hmac-sha256', secret, secret],
    'a client with one key pair': ['ed25519', known],
    'a client in a rotation of key pairs': ['ed25519', known, known],
  };

  test.each(all)('of a signature of $name is as much work whoever it names', (algorithm) => {
    const { clientSigns } = issue(algorithm);
    const signature = algorithm.sign(TEXT, clientSigns);
    const spies = all.map((each) => vi.spyOn(each, 'holds'));
    for (const [name, ...keys] of Object.values(someone)) {
      for (const spy of spies) spy.mockClear();
      expect(verifyAmong(TEXT, signature, keys, name)).toBe(-1);
      expect(spies.map((spy) => spy.mock.calls.length)).toEqual(
        all.map((each) => (each.name === algorithm.name ? 2 : 0)),
      );
    }
    for (const spy of spies) spy.mockRestore();
  });
});

describe('keys', () => {
  test.each(all)('of $name are new each time and may stand where they were made for', (algorithm) => {
    const texts = Array.from({ length: 20 }, () => algorithm.generate());
    for (const { server } of texts) {
      expect(algorithm.weaknessOf(server.request, 'request')).toBeNull();
      expect(algorithm.weaknessOf(server.response, 'response')).toBeNull();
    }
    const flat = texts.flatMap(({ server, client }) => [...Object.values(server), ...Object.values(client)]);
    const sides = algorithm.name === 'ed25519' ? 4 : 2;
    expect(new Set(flat).size).toBe(texts.length * sides);
  });

  test('of hmac-sha256 are the same on both sides; of ed25519 each side keeps its private one', () => {
    const shared = hmac.generate();
    expect(shared.client).toEqual(shared.server);
    const { client, server } = ed25519.generate();
    expect([client.request, server.response].every((text) => text.startsWith('wbs_'))).toBe(true);
    expect([client.response, server.request].every((text) => text.startsWith('wbp_'))).toBe(true);
  });

  const [privateText, publicText] = [ed25519.generate().client.request, ed25519.generate().server.request];
  const secret = generateSecret();

  test.each<[AlgorithmName, 'request' | 'response', string, string]>([
    ['hmac-sha256', 'request', publicText, 'is a public key (wbp_), where a shared secret (wb_) must stand'],
    [
      'hmac-sha256',
      'response',
      privateText,
      'is a private key (wbs_), where a shared secret (wb_) must stand',
    ],
    ['hmac-sha256', 'request', 'password', 'is shorter than 32 bytes'],
    ['ed25519', 'request', privateText, 'is a private key (wbs_), where a public key (wbp_) must stand'],
    ['ed25519', 'request', secret, 'is a shared secret (wb_), where a public key (wbp_) must stand'],
    ['ed25519', 'request', 'x'.repeat(55), 'is not a public key (wbp_)'],
    ['ed25519', 'request', `${publicText}0`, 'has the wrong length or characters for a wbp_ key'],
    ['ed25519', 'response', publicText, 'is a public key (wbp_), where a private key (wbs_) must stand'],
    ['ed25519', 'response', secret, 'is a shared secret (wb_), where a private key (wbs_) must stand'],
    ['ed25519', 'response', '', 'is not a private key (wbs_)'],
  ])('%s refuses in the %s slot what does not belong there', (name, slot, text, why) => {
    expect(ALGORITHMS[name].weaknessOf(text, slot)).toBe(why);
    if (name === 'hmac-sha256') return;
    const use = slot === 'request' ? ed25519.verifyingKey : ed25519.signingKey;
    expect(() => use(text)).toThrow(new TypeError(`the key ${why}`));
  });
});

test('the fingerprint is the first 32 hex digits of a MAC under the text of response_key as the client has it', () => {
  for (const algorithm of all) {
    const { client, server } = algorithm.generate();
    const mac = createHmac('sha256', client.response).update('mcp fingerprint').digest('hex');
    expect(algorithm.fingerprint(server.response)).toBe(mac.slice(0, 32));
    expect(fingerprintOf(client.response)).toBe(mac.slice(0, 32));
  }
});

test('an algorithm is named exactly as records name it', () => {
  expect(Object.entries(ALGORITHMS).every(([key, { name }]) => key === name && isAlgorithmName(name))).toBe(
    true,
  );
  for (const other of ['', 'HMAC-SHA256', 'Ed25519', 'none', 'toString', null, 1])
    expect(isAlgorithmName(other)).toBe(false);
});
