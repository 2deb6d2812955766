import { describe, expect, test } from 'vitest';
import { createClient } from '../../../src/client/index.ts';
import { StoreError } from '../../../src/errors/index.ts';
import { addPartner, revokeTokens, setTerms } from '../../../src/server/clients/clients.ts';
import { rotatePartner } from '../../../src/server/clients/rotation.ts';
import { generateKeyPair } from '../../../src/wire/ed25519.ts';
import { generateSecret } from '../../../src/wire/index.ts';
import { type Credential, inProcess } from '../../../src/transports/index.ts';
import { openDesk } from '../../support/clients.ts';
import { gate } from '../../support/gate.ts';
import { betweenTurns, lookAt } from '../../support/second-connection.ts';
import { codeOf, jobIdOf, jobTool, readTool, startServer, type TestServer } from '../../support/server.ts';
import { unsignedReply } from '../../support/signing.ts';

const url = 'http://127.0.0.1:9/call';
const echo = readTool('echo', (args) => args);

/** The code of a refusal that proves nothing. */
async function refusal(peer: TestServer): Promise<string | undefined> {
  return codeOf(unsignedReply((await peer.send(peer.request('echo'))).body));
}

describe('rotating the keys of a client', () => {
  test('gives it new ones, and the ones before stay good until it is finished (§3)', async () => {
    const peer = await startServer({ tools: [echo] });
    const credential = await peer.server.rotateClient('agent-a', { url });
    expect(credential).toMatchObject({ client_id: 'agent-a', server_id: 'srv-1', url });
    const newer = peer.as(credential);
    // Each reply is signed with the key of the generation that asked.
    for (const each of [peer, newer]) expect((await each.call('echo', { n: 1 })).result).toEqual({ n: 1 });
    await peer.server.finishRotation('agent-a');
    expect(await refusal(peer)).toBe('bad_signature');
    expect((await newer.call('echo')).ok).toBe(true);
    await peer.server.finishRotation('agent-a');
    expect((await newer.call('echo')).ok).toBe(true);
  });

  test('keeps its jobs, its tokens and its terms', async () => {
    const peer = await startServer({ tools: [jobTool('work', () => ({ done: true }))] });
    const token = await peer.server.addToken('agent-a');
    const jobId = jobIdOf((await peer.call('work')).result);
    const newer = peer.as(await peer.server.rotateClient('agent-a', { url }));
    await peer.server.finishRotation('agent-a');
    const poll = async () => (await newer.call('poll_job', { job_id: jobId })).status;
    await expect.poll(poll).toBe('done');
    expect(peer.server.calls.clientOf(token)?.clientId).toBe('agent-a');
  });

  test('is refused while the keys of before are there still, and changes nothing', async () => {
    const peer = await startServer({ tools: [echo] });
    const newer = peer.as(await peer.server.rotateClient('agent-a', { url }));
    await expect(peer.server.rotateClient('agent-a', { url })).rejects.toThrow(
      new RangeError(
        'client agent-a still has the keys of before: drop them with "waybill clients rotate agent-a --finish"',
      ),
    );
    for (const each of [peer, newer]) expect((await each.call('echo')).ok).toBe(true);
  });

  test('of two at once, one does it', async () => {
    const peer = await startServer({ tools: [echo] });
    const both = await Promise.allSettled([1, 2].map(() => peer.server.rotateClient('agent-a', { url })));
    expect(both.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
    for (const end of both)
      if (end.status === 'fulfilled') expect((await peer.as(end.value).call('echo')).ok).toBe(true);
  });

  test('takes secrets of the operator’s own, by the rules for new clients', async () => {
    const peer = await startServer({ tools: [echo] });
    const rotate = (request: string, response: string) =>
      peer.server.rotateClient('agent-a', { url, keys: { request, response } });
    const [one, two] = [generateSecret(), generateSecret()];
    await expect(rotate(one, one)).rejects.toThrow(/the two keys must differ/);
    await expect(rotate('short', two)).rejects.toThrow(/the request key is shorter than 32 bytes/);
    await expect(rotate(one, generateKeyPair().privateKey)).rejects.toThrow(
      /the response key is a private key/,
    );
    const credential = await rotate(one, two);
    expect(credential).toMatchObject({ request_key: one, response_key: two });
    expect((await peer.as(credential).call('echo')).ok).toBe(true);
  });

  test('that is not there is refused', async () => {
    const { server } = await startServer();
    for (const refused of [
      server.rotateClient('nobody', { url }),
      server.finishRotation('nobody'),
      server.revokeClient('nobody'),
    ])
      await expect(refused).rejects.toThrow(new RangeError('there is no client nobody: add it first'));
  });
});

describe('a client with Ed25519', () => {
  test('shares no secret: the server keeps what its owner may show, and a key of its own, sealed', async () => {
    const peer = await startServer({ tools: [echo], now: Date.now });
    const own = generateKeyPair();
    const desk = await openDesk(peer.dir);
    const issued = await addPartner(desk, { id: 'partner', url, publicKey: own.publicKey });
    expect(issued).toEqual({
      client_id: 'partner',
      server_id: 'srv-1',
      url,
      algorithm: 'ed25519',
      response_key: expect.stringMatching(/^wbp_/),
    });
    const kept = JSON.stringify(await desk.store.clients.get('partner'));
    for (const key of [own.privateKey, own.publicKey, 'wbs_']) expect(kept).not.toContain(key);
    const call = (requestKey: string, responseKey: string) =>
      createClient(
        { ...issued, request_key: requestKey, response_key: responseKey },
        { transport: inProcess(peer.server) },
      ).call('echo', { n: 1 });
    expect(await call(own.privateKey, issued.response_key)).toEqual({ n: 1 });

    const next = generateKeyPair();
    const rotated = await rotatePartner(desk, 'partner', { url, publicKey: next.publicKey });
    await desk.store.close();
    const both = async () => [
      await call(own.privateKey, issued.response_key),
      await call(next.privateKey, rotated.response_key),
    ];
    await expect.poll(both).toEqual([{ n: 1 }, { n: 1 }]);
  });

  test('gets a public key for a public key, and a client with secrets none', async () => {
    const peer = await startServer();
    const desk = await openDesk(peer.dir);
    const { publicKey, privateKey } = generateKeyPair();
    for (const wrong of [privateKey, generateSecret(), '', `${publicKey}0`]) {
      const added = addPartner(desk, { id: 'partner', url, publicKey: wrong });
      await expect(added).rejects.toThrow(/^the request key is|^the request key has/);
      if (wrong !== '') await expect(added).rejects.not.toThrow(wrong);
    }
    await expect(rotatePartner(desk, 'agent-a', { url, publicKey })).rejects.toThrow(
      'client agent-a has shared secrets and no public key',
    );
    expect((await desk.store.clients.list()).map(({ id }) => id)).toEqual(['agent-a']);
    await desk.store.close();
  });
});

function nullIfStoreFailed(error: unknown): null {
  if (error instanceof StoreError) return null;
  throw error;
}

test('a credential is given although the clients cannot be read just then', async () => {
  const peer = await startServer();
  const db = lookAt(peer.dir);
  // A column that cannot be read.
  const fault = `fault GENERATED ALWAYS AS (CASE id WHEN 'agent-a' THEN json('x') END) VIRTUAL`;
  await betweenTurns(() => db.exec(`ALTER TABLE clients ADD COLUMN ${fault}`));
  expect(() => db.prepare('SELECT * FROM clients').all()).toThrow('malformed JSON');
  let credential: Credential | null = null;
  // If the server looks for changes just while it is written, all of that is lost: then there is no such client yet.
  while (credential === null) credential = await peer.addClient('agent-b').catch(nullIfStoreFailed);
  await betweenTurns(() => db.exec('ALTER TABLE clients DROP COLUMN fault'));
  const added = peer.as(credential);
  await expect.poll(async () => (await added.send(added.request('list_tools'))).httpStatus).toBe(200);
});

describe('revoking a client', () => {
  test('refuses its calls with a signed reply, forgets its tokens, and leaves the others', async () => {
    const peer = await startServer({ tools: [echo] });
    const token = await peer.server.addToken('agent-a');
    const other = peer.as(await peer.addClient('agent-b'));
    await peer.server.revokeClient('agent-a');
    expect(await peer.call('echo')).toMatchObject({ ok: false, error: 'forbidden: this client was revoked' });
    expect(peer.server.calls.clientOf(token)).toBeNull();
    expect((await other.call('echo')).ok).toBe(true);
  });

  test('refuses what it waits for as well: a poll that is held tells nothing any more', async () => {
    const stay = gate();
    const hold = jobTool('hold', () => stay.opened.then(() => ({ secret: 1 })));
    const peer = await startServer({ tools: [hold] });
    const { calls } = peer.server;
    const client = calls.clientOf(await peer.server.addToken('agent-a'));
    if (client === null) throw new Error('the token is not known');
    const id = jobIdOf((await peer.call('hold')).result);
    while ((await peer.call('poll_job', { job_id: id })).status !== 'running');
    const held = [
      peer.call('poll_job', { job_id: id, wait_ms: 30_000 }),
      calls
        .job(client, id, { ms: 30_000, signal: new AbortController().signal })
        .catch((error: unknown) => ({ error: String(error) })),
    ];
    await peer.server.revokeClient('agent-a');
    stay.open();
    for (const each of held) expect(String((await each).error)).toMatch(/: this client was revoked$/);
  });

  test('of its tokens alone ends what was begun with them, and nothing else', async () => {
    const stay = gate();
    const hold = jobTool('hold', () => stay.opened.then(() => ({ secret: 1 })));
    const peer = await startServer({ tools: [hold, echo] });
    const { calls } = peer.server;
    const client = calls.clientOf(await peer.server.addToken('agent-a'));
    if (client === null) throw new Error('the token is not known');
    const id = jobIdOf((await peer.call('hold')).result);
    while ((await peer.call('poll_job', { job_id: id })).status !== 'running');
    const held = calls.job(client, id, { ms: 30_000, signal: new AbortController().signal });
    const { store } = await openDesk(peer.dir);
    await revokeTokens(store, 'agent-a');
    await store.close();
    const ask = () => calls.call(client, { requestId: 'r', tool: 'echo', args: {} }).then(() => '', String);
    await expect.poll(ask, { interval: 20 }).toContain('this token was taken back');
    stay.open();
    await expect(held).rejects.toThrow('this token was taken back');
    expect((await peer.call('echo')).ok).toBe(true);
  });

  test('is for good: it gets no keys, no token and no terms, and its id stays taken', async () => {
    const peer = await startServer();
    await peer.server.revokeClient('agent-a');
    const desk = await openDesk(peer.dir);
    const before = await desk.store.clients.get('agent-a');
    for (const refused of [
      peer.server.rotateClient('agent-a', { url }),
      peer.server.addToken('agent-a'),
      setTerms(desk.store, 'agent-a', { note: 'back' }),
    ])
      await expect(refused).rejects.toThrow('client agent-a was revoked, for good');
    await expect(peer.addClient('agent-a')).rejects.toThrow('client agent-a exists already');
    expect(await desk.store.clients.get('agent-a')).toEqual(before);
    await peer.server.revokeClient('agent-a');
    expect((await desk.store.clients.get('agent-a'))?.revokedMs).toBe(before?.revokedMs);
    await desk.store.close();
  });
});
