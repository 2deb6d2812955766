import { createPrivateKey, createPublicKey, sign, verify } from 'node:crypto';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createClient } from '../../src/client/index.ts';
import { createServer, type Credential, inProcess, type Server } from '../../src/transports/index.ts';
import { ALGORITHMS } from '../../src/wire/algorithms.ts';
import { START_MS } from '../support/clock.ts';
import { createTestLog } from '../support/log.ts';
import { jobTool, readTool } from '../support/server.ts';
import { canonicalText, request, unsignedReply, verifiedReply } from '../support/signing.ts';
import { tempFolder } from '../support/temp.ts';

const ECHO = readTool('echo', (args) => args);

async function open(): Promise<Server> {
  const server = await createServer({
    tools: [ECHO, jobTool('slow', (args) => args)],
    store: `sqlite:${tempFolder()}`,
    serverId: 'srv-1',
    log: createTestLog(),
    now: () => START_MS,
  });
  onTestFinished(() => server.close());
  return server;
}

/** Ed25519 by node:crypto alone: the 32 bytes behind the prefix of a key's text, wrapped as PKCS #8 or SPKI. */
const bytesOf = (text: string) => Buffer.from(text.slice(4, -8), 'base64url');
const privateKey = (text: string) =>
  createPrivateKey({
    key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), bytesOf(text)]),
    ...{ format: 'der', type: 'pkcs8' },
  });
const publicKey = (text: string) =>
  createPublicKey({
    key: Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), bytesOf(text)]),
    ...{ format: 'der', type: 'spki' },
  });

/** A request that the test signs by itself with Ed25519. */
function signedBy(secret: string, credential: Credential, args: object): Buffer {
  const members = { ts_ms: START_MS, request_id: 'one', nonce: `nonce-${Math.random()}` };
  const { signature: _, ...message } = JSON.parse(
    String(request({ ...credential, request_key: '' }, 'echo', { ...args }, members)),
  );
  const text = canonicalText(message);
  const signature = `ed25519:${sign(null, Buffer.from(text), privateKey(secret)).toString('base64url')}`;
  return Buffer.from(JSON.stringify({ ...message, signature }));
}

const url = 'http://127.0.0.1:9/call';

describe('§3 a client of Ed25519', () => {
  test('calls, starts a job and waits for it; everything but the signature is as with HMAC', async () => {
    const server = await open();
    const credential = await server.addClient({ id: 'partner', url, algorithm: 'ed25519' });
    const client = createClient(credential, { transport: inProcess(server) });
    expect(await client.call('echo', { text: 'Zoë' })).toEqual({ text: 'Zoë' });
    const job = await client.start('slow', { n: 1 });
    expect(await job.result()).toEqual({ n: 1 });
  });

  test('is answered with a signature that holds under the public key that it was given, for anybody who has it', async () => {
    const server = await open();
    const credential = await server.addClient({ id: 'partner', url, algorithm: 'ed25519' });
    const { body } = await server.handle(signedBy(credential.request_key, credential, { n: 1 }));
    const { signature, ...message } = JSON.parse(body);
    const bytes = Buffer.from(signature.slice('ed25519:'.length), 'base64url');
    const key = publicKey(credential.response_key);
    expect(message).toMatchObject({ ok: true, result: { n: 1 } });
    expect(verify(null, Buffer.from(canonicalText(message)), key, bytes)).toBe(true);
    expect(verify(null, Buffer.from(canonicalText({ ...message, result: { n: 2 } })), key, bytes)).toBe(
      false,
    );
  });
});

describe('§3 the record of a client says which algorithm is believed, never the message', () => {
  test('a MAC under the public key of a client of Ed25519, which everybody may know, is refused', async () => {
    const server = await open();
    const keys = ALGORITHMS.ed25519.generate();
    const credential = await server.addClient({ id: 'partner', url, algorithm: 'ed25519' });
    // The mix-up that broke other formats: the public key taken for a shared secret.
    for (const known of [credential.response_key, keys.client.response]) {
      const forged = request({ ...credential, request_key: known }, 'echo', {}, { ts_ms: START_MS });
      expect(unsignedReply((await server.handle(forged)).body).error).toMatch(/^bad_signature: /);
    }
  });

  test('a signature of Ed25519 by anybody is refused from a client of HMAC', async () => {
    const server = await open();
    const credential = await server.addClient({ id: 'shared', url });
    const { request: own } = ALGORITHMS.ed25519.generate().client;
    const { body } = await server.handle(signedBy(own, credential, {}));
    expect(unsignedReply(body).error).toMatch(/^bad_signature: /);
    const honest = request(credential, 'echo', { n: 1 }, { ts_ms: START_MS });
    expect(verifiedReply((await server.handle(honest)).body, credential).result).toEqual({ n: 1 });
  });

  test('a signature of Ed25519 under another key than that of the client is refused', async () => {
    const server = await open();
    const credential = await server.addClient({ id: 'partner', url, algorithm: 'ed25519' });
    const other = await server.addClient({ id: 'other', url, algorithm: 'ed25519' });
    const { body } = await server.handle(signedBy(other.request_key, credential, {}));
    expect(unsignedReply(body).error).toMatch(/^bad_signature: /);
  });
});
