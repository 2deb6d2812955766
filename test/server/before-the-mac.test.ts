import { createHmac } from 'node:crypto';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, onTestFinished, test } from 'vitest';
import { MESSAGE_LIMITS } from '../../src/limits.ts';
import { openClientStore } from '../../src/store/index.ts';
import { openDatabase } from '../../src/store/sqlite/driver.ts';
import { createServer } from '../../src/transports/index.ts';
import { clientRecord } from '../support/clients.ts';
import { START_MS } from '../support/clock.ts';
import { anyTool, codeOf, jobTool, readTool, startServer, type TestServer } from '../support/server.ts';
import { canonicalText, macOf, request, unsignedReply, verifiedReply } from '../support/signing.ts';
import { tempFolder } from '../support/temp.ts';

const echo = readTool('echo', (args) => args);

/** Rows that a request can have left behind. */
function rowsOf({ dir }: TestServer): number {
  const db = openDatabase(join(dir, 'waybill.db'));
  onTestFinished(() => void db.close());
  const sql = 'SELECT (SELECT count(*) FROM requests) + (SELECT count(*) FROM jobs) AS n';
  return Number(db.prepare(sql).get()?.['n']);
}

/** The members of a request that is signed right. */
function membersOf(peer: TestServer): Record<string, unknown> {
  return JSON.parse(peer.request('echo', { n: 1 }).toString()) as Record<string, unknown>;
}

describe('§4 before the MAC holds', () => {
  test('nothing is stored: thousands of forged messages leave no nonce and no row', async () => {
    const peer = await startServer({ tools: [anyTool('write', () => ({})), jobTool('job', () => ({}))] });
    const forger = { ...peer.credential, request_key: 'not the key' };
    const stranger = { ...peer.credential, client_id: 'nobody' };
    const forged = Array.from({ length: 4_000 }, (_, i) => {
      const members = { ts_ms: peer.clock.nowMs };
      return request(i % 2 === 0 ? forger : stranger, i % 4 < 2 ? 'write' : 'job', { i }, members);
    });
    const replies = await Promise.all(forged.map((bytes) => peer.send(bytes)));
    const errors = new Set(replies.map(({ body }) => unsignedReply(body).error));
    expect([...errors]).toEqual(['bad_signature: unknown client or wrong signature']);
    expect(peer.server.stats()).toMatchObject({ nonces: 0, callsInFlight: 0 });
    expect(rowsOf(peer)).toBe(0);
    await peer.call('write');
    expect(peer.server.stats().nonces).toBe(1);
    expect(rowsOf(peer)).toBe(1);
  });

  test('every byte of a signed request flipped is refused, and the request itself still passes', async () => {
    const peer = await startServer({ tools: [echo] });
    const bytes = peer.request('echo', { text: 'ü', n: [1.5, true, null] });
    const codes: Record<string, number> = {};
    let flips = 0;
    for (let at = 0; at < bytes.length; at++) {
      // Each bit of some bytes, one bit of every byte.
      const bits = at % 16 === 0 ? [0, 1, 2, 3, 4, 5, 6, 7] : [at % 8];
      for (const bit of bits) {
        const flipped = Buffer.from(bytes);
        flipped[at] = (bytes[at] ?? 0) ^ (1 << bit);
        const { body } = await peer.send(flipped);
        const code = codeOf(unsignedReply(body)) ?? '';
        codes[code] = (codes[code] ?? 0) + 1;
        flips++;
      }
    }
    expect(Object.keys(codes).toSorted()).toEqual(['bad_envelope', 'bad_signature']);
    expect(flips).toBeGreaterThan(bytes.length);
    expect(peer.server.stats().nonces).toBe(0);
    expect(verifiedReply((await peer.send(bytes)).body, peer.credential).status).toBe('ok');
  });

  test('whatever bytes come, the reply is one message, unsigned and a refusal', async () => {
    const peer = await startServer({ tools: [echo] });
    const anyBytes = fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      fc.json().map((text) => Buffer.from(text)),
      fc.tuple(fc.constantFrom(...Object.keys(membersOf(peer))), fc.jsonValue()).map(([name, value]) => {
        return Buffer.from(JSON.stringify({ ...membersOf(peer), [name]: value }));
      }),
    );
    await fc.assert(
      fc.asyncProperty(anyBytes, async (bytes) => {
        const { body, httpStatus } = await peer.send(bytes);
        const reply = unsignedReply(body);
        expect(['bad_envelope', 'bad_signature']).toContain(codeOf(reply));
        expect(Object.keys(reply).toSorted()).toEqual(REPLY_MEMBERS);
        expect([400, 401]).toContain(httpStatus);
      }),
      { numRuns: 300 },
    );
    expect(peer.server.stats().nonces).toBe(0);
  });

  const REPLY_MEMBERS = [
    'error',
    'ok',
    'request_id',
    'result',
    'server_id',
    'signature',
    'status',
    'ts_ms',
    'v',
  ];

  test('a message over the limit is too_large before anything of it is read', async () => {
    const peer = await startServer({ tools: [echo] });
    const { httpStatus, body } = await peer.send(Buffer.alloc(MESSAGE_LIMITS.maxMessageBytes + 1, '{'));
    expect([httpStatus, codeOf(unsignedReply(body))]).toEqual([413, 'too_large']);
    const atLimit = await peer.send(Buffer.alloc(MESSAGE_LIMITS.maxMessageBytes, '['));
    expect([atLimit.httpStatus, codeOf(unsignedReply(atLimit.body))]).toEqual([400, 'bad_envelope']);
  });

  test('limits that are set hold: bytes, depth and members', async () => {
    const limits = { maxMessageBytes: 2_048, maxDepth: 4, maxMembers: 20 };
    const peer = await startServer({ tools: [echo], messageLimits: limits });
    const passes = {
      deep: { er: {} },
      ...Object.fromEntries(Array.from({ length: 8 }, (_, i) => [`m${i}`, 1])),
    };
    expect((await peer.call('echo', passes)).result).toEqual(passes);
    const refused = [
      { text: 'x'.repeat(2_048) },
      { deep: { er: { and: {} } } },
      { ...passes, one: { more: { than: 1 } } },
      Object.fromEntries(Array.from({ length: 12 }, (_, i) => [`m${i}`, 1])),
    ];
    const codes = await Promise.all(
      refused.map(async (args) => codeOf(unsignedReply((await peer.send(peer.request('echo', args))).body))),
    );
    expect(codes).toEqual(['too_large', 'bad_envelope', 'bad_envelope', 'bad_envelope']);
  });

  test('the reply echoes the request_id of a message that shows one, else it is "-"', async () => {
    const peer = await startServer({ tools: [echo] });
    const idOf = async (message: unknown) =>
      unsignedReply((await peer.send(Buffer.from(JSON.stringify(message)))).body).request_id;
    const members = membersOf(peer);
    expect(await idOf({ ...members, request_id: 'mine', extra: 1 })).toBe('mine');
    expect(await idOf({ ...members, request_id: 'mine', v: 'mcp/9' })).toBe('mine');
    expect(await idOf({ ...members, request_id: 'mine', tool: 'other' })).toBe('mine');
    for (const request_id of ['', 'ü', 'a b', 'x'.repeat(129), 7, null]) {
      expect(await idOf({ ...members, request_id })).toBe('-');
    }
    expect(await idOf([])).toBe('-');
    expect(await idOf(null)).toBe('-');
  });
});

describe('§2 the signature covers the values that were sent', () => {
  test('in any order of members and with any white space', async () => {
    const peer = await startServer({ tools: [echo] });
    for (const turn of [Object.entries, (o: object) => Object.entries(o).toReversed()]) {
      const text = JSON.stringify(Object.fromEntries(turn(membersOf(peer))), null, 3);
      const { body } = await peer.send(Buffer.from(`\n\t ${text} \r\n`));
      expect(verifiedReply(body, peer.credential)).toMatchObject({ ok: true, result: { n: 1 } });
    }
  });

  test('strings escaped in any way are the same strings', async () => {
    const peer = await startServer({ tools: [echo] });
    const text = peer.request('echo', { text: 'Zoë/😀' }).toString();
    const escaped = text
      .replace('Zoë/😀', '\\u005ao\\u00EB\\/\\ud83d\\uDE00')
      .replace('"tool"', '"t\\u006fol"');
    expect(escaped).not.toBe(text);
    const { body } = await peer.send(Buffer.from(escaped));
    expect(verifiedReply(body, peer.credential).result).toEqual({ text: 'Zoë/😀' });
  });

  test.each([
    ['another spelling of a number is the same number', '1e3', '1000', 'ok'],
    ['a large integral double is allowed', '1e21', '1e+21', 'ok'],
    [
      'an integer that no double holds never verifies',
      '9007199254740993',
      '9007199254740993',
      'bad_signature',
    ],
    ['the double nearest to it does', '9007199254740993', '9007199254740992', 'ok'],
    ['minus zero is zero', '-0', '0', 'ok'],
    ['a number beyond all doubles is refused', '1e999', '1e999', 'bad_envelope'],
  ])('%s', async (_what, sent, signed, expected) => {
    const peer = await startServer({ tools: [echo] });
    const { signature: _signature, ...members } = membersOf(peer);
    const canonical = canonicalText({ ...members, args: { n: 'NUMBER' } }).replace('"NUMBER"', signed);
    const signature = createHmac('sha256', peer.credential.request_key).update(canonical).digest('hex');
    const wire = canonical.replace(`"n":${signed}`, `"n":${sent}`).slice(0, -1);
    const { body } = await peer.send(Buffer.from(`${wire},"signature":"${signature}"}`));
    if (expected === 'ok') expect(verifiedReply(body, peer.credential).status).toBe('ok');
    else expect(codeOf(unsignedReply(body))).toBe(expected);
  });

  test.each([
    ['a name that stands twice', '"n":1', '"n":1,"n":1'],
    ['a name that stands twice, spelled with an escape', '"n":1', '"n":1,"\\u006e":1'],
    ['a member of the envelope that stands twice', '"tool":"echo"', '"tool":"echo","tool":"echo"'],
    ['the name __proto__', '"n":1', '"__proto__":1'],
    ['a lone surrogate', '"n":1', '"n":"\\ud800"'],
  ])('refused before the MAC: %s', async (_what, part, instead) => {
    const peer = await startServer({ tools: [echo] });
    const text = peer.request('echo', { n: 1 }).toString();
    expect(text).toContain(part);
    const { body } = await peer.send(Buffer.from(text.replace(part, instead)));
    expect(codeOf(unsignedReply(body))).toBe('bad_envelope');
  });
});

describe('§3 keys', () => {
  test('an unknown client and a wrong key get the same reply, byte for byte', async () => {
    const peer = await startServer({ tools: [echo] });
    const members = { ts_ms: START_MS, request_id: 'the-same' };
    const unknown = { ...peer.credential, client_id: 'nobody' };
    const wrong = { ...peer.credential, request_key: 'not the key' };
    const crossed = { ...peer.credential, request_key: peer.credential.response_key };
    const replies = await Promise.all(
      [unknown, wrong, crossed].map((credential) => peer.send(request(credential, 'echo', {}, members))),
    );
    expect(new Set(replies.map(({ body, httpStatus }) => `${httpStatus} ${body}`)).size).toBe(1);
    expect(codeOf(unsignedReply(replies[0]?.body ?? ''))).toBe('bad_signature');
  });

  test('a signature of the right client under another’s key is refused', async () => {
    const peer = await startServer({ tools: [echo] });
    const other = await peer.addClient('agent-b');
    const bytes = request(
      { ...peer.credential, request_key: other.request_key },
      'echo',
      {},
      { ts_ms: START_MS },
    );
    expect(codeOf(unsignedReply((await peer.send(bytes)).body))).toBe('bad_signature');
  });

  test('both generations of keys are accepted, and a reply is signed with the key of the generation that asked', async () => {
    const dir = tempFolder();
    const clients = openClientStore({ dir, serverId: 'srv-1' });
    const generations = [
      { request: 'request-2', response: 'response-2' },
      { request: 'request-1', response: 'response-1' },
    ] as const;
    await clients.clients.add(clientRecord('rotating', { keys: generations }));
    await clients.close();
    const credential = {
      client_id: 'rotating',
      server_id: 'srv-1',
      url: '',
      request_key: '',
      response_key: '',
    };
    const peer = await startServer({ dir, tools: [echo], credential });
    for (const { request: request_key, response: response_key } of generations) {
      const holder = peer.as({ ...credential, request_key, response_key });
      expect((await holder.call('echo', { n: 1 })).result).toEqual({ n: 1 });
      expect((await holder.call('server_identity')).result?.['fingerprint']).toBe(
        createHmac('sha256', response_key).update('mcp fingerprint').digest('hex').slice(0, 32),
      );
    }
    const older = request({ ...credential, request_key: 'request-0' }, 'echo', {}, { ts_ms: START_MS });
    expect(codeOf(unsignedReply((await peer.send(older)).body))).toBe('bad_signature');
  });

  test('a client that another process adds is known without a restart', async () => {
    const peer = await startServer({ tools: [echo] });
    const clients = openClientStore({ dir: peer.dir });
    onTestFinished(() => clients.close());
    await clients.clients.add(clientRecord('late', { keys: [{ request: 'q', response: 'p' }] }));
    const late = { ...peer.credential, client_id: 'late', request_key: 'q', response_key: 'p' };
    const answered = async () => {
      const { body } = await peer.send(request(late, 'echo', {}, { ts_ms: START_MS }));
      return body.includes('"ok":true');
    };
    await expect.poll(answered).toBe(true);
  });

  test('secrets are in no reply and in no line of the log', async () => {
    const failing = readTool('fail', () => {
      throw new Error('a fault');
    });
    const peer = await startServer({ tools: [echo, failing] });
    const bodies: string[] = [];
    for (const bytes of [
      peer.request('echo'),
      peer.request('fail'),
      peer.request('list_tools'),
      peer.request('server_identity'),
      peer.request('echo', {}, { signature: macOf({}, 'x') }),
      peer.request('echo', {}, { ts_ms: 0 }),
    ]) {
      bodies.push((await peer.send(bytes)).body);
    }
    const told = JSON.stringify([bodies, peer.log.lines.map((line) => [line, String(line.fields['err'])])]);
    expect(told).not.toContain(peer.credential.request_key);
    expect(told).not.toContain(peer.credential.response_key);
    expect(peer.log.complaints).toHaveLength(1);
  });
});

describe('adding a client', () => {
  const url = 'http://127.0.0.1:9/call';

  test('gives two new secrets and the ids, which is all that a call needs', async () => {
    const peer = await startServer({ tools: [echo] });
    const credential = await peer.server.addClient({ id: 'agent-b', url });
    expect(Object.keys(credential)).toEqual(['client_id', 'server_id', 'url', 'request_key', 'response_key']);
    expect(credential).toMatchObject({ client_id: 'agent-b', server_id: 'srv-1', url });
    for (const key of [credential.request_key, credential.response_key]) expect(key).toMatch(/^wb_/);
    expect(credential.request_key).not.toBe(credential.response_key);
    expect((await peer.as(credential).call('echo', { n: 1 })).result).toEqual({ n: 1 });
  });

  const strong = 'k3J9-xQ2vB7nL0pR5tY8wE1uI4oA6sDf';
  const other = 'Zm4T-cV6bN8mX1qW3eR5tY7uI9oP0aSd';
  test.each([
    ['an id with a space', { id: 'agent b', url }, 'a client id must be'],
    ['an empty id', { id: '', url }, 'a client id must be'],
    ['an id that is taken', { id: 'agent-a', url }, 'exists already'],
    [
      'a short key',
      { id: 'new', url, keys: { request: 'short', response: strong } },
      'request key is shorter',
    ],
    [
      'a key that repeats itself',
      { id: 'new', url, keys: { request: strong, response: 'a'.repeat(40) } },
      'response key repeats',
    ],
    [
      'one key for both sides',
      { id: 'new', url, keys: { request: strong, response: strong } },
      'must differ',
    ],
    [
      'an empty key',
      { id: 'new', url, keys: { request: '', response: strong }, allowWeakKey: true },
      'is empty',
    ],
    [
      'a damaged secret',
      { id: 'new', url, keys: { request: `wb_${'a'.repeat(51)}`, response: strong }, allowWeakKey: true },
      'checksum',
    ],
  ])('is refused, and adds nobody: %s', async (_what, client, words) => {
    const peer = await startServer();
    await expect(peer.server.addClient(client)).rejects.toThrow(words);
    const clients = openClientStore({ dir: peer.dir });
    onTestFinished(() => clients.close());
    expect((await clients.clients.list()).map(({ id }) => id)).toEqual(['agent-a']);
  });

  test('no refusal shows the secret', async () => {
    const peer = await startServer();
    const keys = { request: 'short-secret', response: other };
    await expect(peer.server.addClient({ id: 'new', url, keys })).rejects.not.toThrow('short-secret');
  });

  test('takes strong keys, and weak ones when told to', async () => {
    const peer = await startServer({ tools: [echo] });
    const given = await peer.server.addClient({ id: 'b', url, keys: { request: strong, response: other } });
    expect(given).toMatchObject({ request_key: strong, response_key: other });
    const weak = { id: 'c', url, keys: { request: 'weak-1', response: 'weak-2' }, allowWeakKey: true };
    expect((await peer.as(await peer.server.addClient(weak)).call('echo')).ok).toBe(true);
  });
});

describe('options that make no sense are refused, and the folder stays free', () => {
  test.each([
    ['tools that are none', { tools: [{ name: 'fake' }] }, TypeError],
    ['tools that are no array', { tools: {} }, TypeError],
    ['two tools of one name', { tools: [echo, echo] }, TypeError],
    ['a tool of a built-in name', { tools: [readTool('poll_job', () => ({}))] }, TypeError],
    ['a store of another kind', { store: 'mysql:there' }, TypeError],
    ['a store without a folder', { store: 'sqlite:' }, TypeError],
    ['a server id with a space', { serverId: 'srv 1' }, TypeError],
    ['a share of a call', { maxCallsInFlight: 1.5 }, RangeError],
    ['no calls', { maxCallsInFlight: 0 }, RangeError],
    ['time as text', { directTimeoutMs: '5' }, RangeError],
    ['a time that no timer holds', { directTimeoutMs: 2 ** 31 }, RangeError],
    ['a lease that ends before it is renewed', { leaseMs: 10 }, RangeError],
    ['a window that is closed', { window: { maxPastMs: 0 } }, RangeError],
    ['a depth that peers cannot follow', { messageLimits: { maxDepth: 33 } }, RangeError],
    ['a negative drain', { drainMs: -1 }, RangeError],
    ['no nonces', { maxNonces: 0 }, RangeError],
  ])('%s', async (_what, wrong, kind) => {
    const options = { tools: [], store: `sqlite:${tempFolder()}`, ...wrong };
    // What plain JavaScript may hand over.
    await expect(createServer(options as Parameters<typeof createServer>[0])).rejects.toBeInstanceOf(kind);
    if (options.store.startsWith('sqlite:/')) {
      // And the folder is free again.
      const server = await createServer({ tools: [], store: options.store });
      await server.close();
    }
  });
});
