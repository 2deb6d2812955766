import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { createSigner } from '../../src/client/signer.ts';
import { keyOf, sign } from '../../src/wire/signature.ts';
import { credential } from './peer.ts';

const secret = fc.string({ minLength: 1, maxLength: 200, unit: 'grapheme' });
const text = fc.string({ maxLength: 500, unit: 'grapheme' });

afterEach(() => {
  vi.unstubAllGlobals();
});

describe('the signer', () => {
  it('signs like node:crypto with the request key', async () => {
    await fc.assert(
      fc.asyncProperty(secret, text, async (request_key, message) => {
        const signer = createSigner({ ...credential, request_key });
        expect(await signer.sign(message)).toBe(sign(message, keyOf(request_key)));
      }),
    );
  });

  it('verifies what node:crypto signed with the response key, and nothing else', async () => {
    await fc.assert(
      fc.asyncProperty(secret, text, async (response_key, message) => {
        const signer = createSigner({ ...credential, response_key });
        const signature = sign(message, keyOf(response_key));
        expect(await signer.verify(message, signature)).toBe(true);
        expect(await signer.verify(`${message}.`, signature)).toBe(false);
        expect(await signer.verify(message, sign(message, keyOf(`${response_key}.`)))).toBe(false);
        expect(await signer.verify(message, await signer.sign(message))).toBe(false);
      }),
    );
  });

  it('holds on to keys that cannot be read out', async () => {
    const importKey = vi.spyOn(crypto.subtle, 'importKey');
    const signer = createSigner(credential);
    expect(importKey).not.toHaveBeenCalled();
    await Promise.all([signer.sign('a'), signer.sign('b'), signer.verify('c', '0'.repeat(64))]);
    expect(importKey.mock.calls.map(([, , , extractable, uses]) => [extractable, uses])).toEqual([
      [false, ['sign']],
      [false, ['verify']],
    ]);
    importKey.mockRestore();
  });

  it('says what to do where Web Crypto is missing', () => {
    vi.stubGlobal('crypto', { getRandomValues: () => {} });
    expect(() => createSigner(credential)).toThrow(/https or from localhost/);
    vi.stubGlobal('crypto', undefined);
    expect(() => createSigner(credential)).toThrow(TypeError);
  });
});
