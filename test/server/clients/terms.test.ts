import { describe, expect, onTestFinished, test } from 'vitest';
import { ProtocolError } from '../../../src/errors/index.ts';
import { SERVER_LIMITS, TERMS_LIMITS } from '../../../src/limits.ts';
import { BUILT_IN_NAMES } from '../../../src/server/built-in/names.ts';
import { revokeClient, setTerms } from '../../../src/server/clients/clients.ts';
import { checkScopes } from '../../../src/server/clients/terms.ts';
import { type ClientTerms, OPEN_TERMS } from '../../../src/store/index.ts';
import type { JsonObject, ResponseMessage } from '../../../src/wire/index.ts';
import { generateSecret } from '../../../src/wire/index.ts';
import { openDesk } from '../../support/clients.ts';
import { createTestClock, START_MS } from '../../support/clock.ts';
import { gate } from '../../support/gate.ts';
import {
  anyTool,
  codeOf,
  jobIdOf,
  jobTool,
  readTool,
  startServer,
  type TestServer,
} from '../../support/server.ts';
import { postgresUrl } from '../../support/services/shared.ts';

const URL_OF_NONE = 'http://127.0.0.1:9/call';
const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
/** Midnight in UTC. */
const DAY_START_MS = Math.floor(START_MS / DAY_MS) * DAY_MS;

const echo = readTool('echo', (args) => args);
const work = jobTool('work', () => ({}));
const named = (...names: readonly string[]) => names.map((name) => readTool(name, () => ({})));

/** The same server for a client with these terms. */
async function withTerms(server: TestServer, terms: Partial<ClientTerms>, id = 'bob'): Promise<TestServer> {
  return server.as(await server.server.addClient({ id, url: URL_OF_NONE, terms }));
}

/** Changes a client's record beside its server, as an operator does, and waits until the server knows. */
async function beside(
  { dir }: TestServer,
  change: (store: Awaited<ReturnType<typeof openDesk>>['store']) => Promise<unknown>,
  known: () => Promise<boolean>,
): Promise<void> {
  const { store } = await openDesk(dir);
  await change(store);
  await store.close();
  await expect.poll(known, { interval: 20 }).toBe(true);
}

const sorted = (codes: readonly (string | undefined)[]) => codes.map((code) => code ?? 'ok').toSorted();

async function codesOf(calls: readonly Promise<ResponseMessage>[]): Promise<readonly string[]> {
  return sorted((await Promise.all(calls)).map(codeOf));
}

const times = <T>(count: number, make: (n: number) => T): T[] =>
  Array.from({ length: count }, (_, n) => make(n));

describe('scopes that an operator gives', () => {
  test.each([
    [[], /a client without scopes could call nothing/],
    [
      ['reports:*'],
      /scope "reports:\*" matches nothing: names of tools are made of A-Z a-z 0-9 _ - \. \/ and/,
    ],
    [['ok', ''], /scope "" matches nothing/],
    [['häuser'], /matches nothing/],
    [['a\n'], /scope "a\\n" matches nothing/],
    [['a'.repeat(TERMS_LIMITS.maxScopeChars + 1)], /is longer than 128 characters/],
    [times(TERMS_LIMITS.maxScopes + 1, (n) => `t${n}`), /may have 100 scopes, not 101/],
  ])('%j are refused', (patterns, message) => {
    expect(() => checkScopes(patterns)).toThrow(message);
    expect(() => checkScopes(patterns)).toThrow(RangeError);
  });

  test('are taken up to the limits', () => {
    const most = times(TERMS_LIMITS.maxScopes, () => 'a'.repeat(TERMS_LIMITS.maxScopeChars));
    for (const patterns of [['*'], ['A-Z/a_z.0*9'], most]) expect(() => checkScopes(patterns)).not.toThrow();
  });

  test.each([
    [{ scopes: [] }, /without scopes/],
    [{ callsPerMinute: 0 }, /callsPerMinute must be an integer from 1 to/],
    [{ maxOpenJobs: 1.5 }, /maxOpenJobs must be/],
    [{ jobsPerDay: Number.POSITIVE_INFINITY }, /jobsPerDay must be/],
    [{ expiresMs: 9e15 }, /expiresMs must be a time/],
    [{ note: 'x'.repeat(TERMS_LIMITS.maxNoteChars + 1) }, /a note may have/],
  ])('terms like %j make no client, and change none', async (terms, message) => {
    const peer = await startServer();
    const { server } = peer;
    await expect(server.addClient({ id: 'bob', url: URL_OF_NONE, terms })).rejects.toThrow(message);
    await server.addClient({ id: 'bob', url: URL_OF_NONE });
    const { store } = await openDesk(peer.dir);
    onTestFinished(() => store.close());
    await expect(setTerms(store, 'bob', terms)).rejects.toThrow(message);
    expect((await store.clients.get('bob'))?.terms).toEqual(OPEN_TERMS);
  });
});

describe('scopes', () => {
  const tools = [...named('reports.read', 'reports.write', 'admin.reset'), work];

  test('let a client call what they name, and the tools that every server has', async () => {
    const bob = await withTerms(await startServer({ tools }), { scopes: ['reports.*', 'admin.x*'] });
    for (const tool of ['reports.read', 'reports.write', 'server_identity', 'list_jobs'])
      expect(await bob.call(tool)).toMatchObject({ ok: true, status: 'ok' });
    for (const tool of ['admin.reset', 'work'])
      expect(await bob.call(tool)).toMatchObject({
        ok: false,
        error: `forbidden: your scopes do not include ${tool}`,
      });
  });

  test('do not tell whether a tool outside them exists, is a job or takes these arguments', async () => {
    const bob = await withTerms(await startServer({ tools }), { scopes: ['reports.*'], jobsPerDay: 1 });
    const errors = await Promise.all(
      ['work', 'admin.reset', 'admin.none'].map((tool) => bob.call(tool, { n: 1 })),
    );
    expect(errors.map(codeOf)).toEqual(['forbidden', 'forbidden', 'forbidden']);
    expect(codeOf(await bob.call('reports.none'))).toBe('unknown_tool');
  });

  test('do not tell it by a request_id either: one that was used says nothing of another tool', async () => {
    const pay = anyTool('reports.pay', () => ({ paid: true }));
    const hidden = anyTool('admin.pay', () => ({ paid: true }));
    const server = await startServer({ tools: [...tools, pay, hidden] });
    const bob = await withTerms(server, { scopes: ['reports.*'] });
    const used = { request_id: 'request-1' };
    expect(await bob.call('reports.pay', {}, used)).toMatchObject({ ok: true });
    for (const tool of ['admin.pay', 'work', 'admin.reset', 'admin.none'])
      expect((await bob.call(tool, {}, used)).error).toBe(`forbidden: your scopes do not include ${tool}`);
    expect(codeOf(await bob.call('reports.pay', { other: 1 }, used))).toBe('request_id_conflict');
  });

  test('start no job outside them', async () => {
    const bob = await withTerms(await startServer({ tools }), { scopes: ['reports.*'] });
    await bob.call('work');
    expect((await bob.call('list_jobs')).result).toMatchObject({ jobs: [] });
  });

  test('come before the policy of the program, and both must let a call pass', async () => {
    const asked: string[] = [];
    const server = await startServer({
      tools,
      policy({ tool }) {
        asked.push(tool);
        if (tool === 'reports.write') throw new ProtocolError('forbidden', 'not on Sundays');
      },
    });
    const bob = await withTerms(server, { scopes: ['reports.*'] });
    expect((await bob.call('admin.reset')).error).toBe('forbidden: your scopes do not include admin.reset');
    expect((await bob.call('reports.write')).error).toBe('forbidden: not on Sundays');
    expect(await bob.call('reports.read')).toMatchObject({ ok: true });
    expect(asked).toEqual(['reports.write', 'reports.read']);
  });

  test('that change beside a running server hold there within moments', async () => {
    const server = await startServer({ tools });
    const bob = await withTerms(server, { scopes: ['reports.*'] });
    const may = async (tool: string) => (await bob.call(tool)).ok;
    await beside(
      server,
      (store) => setTerms(store, 'bob', { scopes: ['admin.*'] }),
      () => may('admin.reset'),
    );
    expect(await may('reports.read')).toBe(false);
  });

  test('that name no tool are warned of once, until they change', async () => {
    const server = await startServer({ tools });
    await withTerms(server, { scopes: ['reports.*', 'reprots.*', 'list_*', '*'] });
    // Not what the server says of the moment in which an operator holds its file.
    const warnings = () =>
      server.log.complaints.flatMap(({ fields, message }) =>
        'scope' in fields ? [Object.assign({ message }, fields)] : [],
      );
    const first = { client_id: 'bob', scope: 'reprots.*', message: 'a scope names no tool of this server' };
    expect(warnings()).toEqual([first]);
    // Read again, and again for another client's sake.
    await server.addClient('carol');
    await server.addClient('dave');
    expect(warnings()).toEqual([first]);
    const { store } = await openDesk(server.dir);
    await setTerms(store, 'bob', { scopes: ['admin'] });
    await store.close();
    await expect.poll(warnings, { interval: 20 }).toEqual([first, { ...first, scope: 'admin' }]);
  });
});

describe('list_tools', () => {
  // What list_tools gives by its output schema.
  type Page = { readonly tools: readonly { readonly name: string }[]; readonly next_cursor: string | null };
  const namesIn = (result: JsonObject | null) => (result as Page | null)?.tools.map(({ name }) => name) ?? [];
  const lastOf = (result: JsonObject | null) => (result as Page | null)?.next_cursor ?? null;

  async function listAll(peer: TestServer): Promise<{ readonly names: string[]; readonly pages: number }> {
    const names: string[] = [];
    let cursor: string | null = null;
    let pages = 0;
    do {
      const { result } = await peer.call('list_tools', cursor === null ? {} : { cursor });
      names.push(...namesIn(result));
      cursor = lastOf(result);
      pages++;
    } while (cursor !== null);
    return { names, pages };
  }

  const all = times(
    3 * SERVER_LIMITS.pageSize,
    (n) => `${n % 2 === 0 ? 'even' : 'odd'}.${String(n).padStart(4, '0')}`,
  );

  test('shows a client what it may call and nothing else, page by page', async () => {
    const server = await startServer({ tools: named(...all) });
    const bob = await withTerms(server, { scopes: ['odd.*'] });
    const expected = [...all.filter((name) => name.startsWith('odd.')), ...BUILT_IN_NAMES].toSorted();
    const listed = await listAll(bob);
    expect(listed.names).toEqual(expected);
    expect(listed.pages).toBe(Math.ceil(expected.length / SERVER_LIMITS.pageSize));
    expect((await listAll(server)).names).toEqual([...all, ...BUILT_IN_NAMES].toSorted());
  });

  test('goes on where it was when the scopes change between two pages', async () => {
    const server = await startServer({ tools: named(...all) });
    const bob = await withTerms(server, { scopes: ['even.*'] });
    const cursor = lastOf((await bob.call('list_tools')).result) ?? '';
    await beside(
      server,
      (store) => setTerms(store, 'bob', { scopes: ['odd.*'] }),
      async () => (await bob.call('odd.0001')).ok,
    );
    expect(namesIn((await bob.call('list_tools', { cursor })).result)).toEqual(
      [...all, ...BUILT_IN_NAMES]
        .filter((name) => !name.startsWith('even.') && name > cursor)
        .toSorted()
        .slice(0, SERVER_LIMITS.pageSize),
    );
  });
});

describe('a rate limit', () => {
  test('lets so many calls pass in a minute, whatever they call, and says when the next one begins', async () => {
    const clock = createTestClock(START_MS + 12_345);
    const server = await startServer({ tools: [echo], clock });
    const bob = await withTerms(server, { callsPerMinute: 4 });
    for (const tool of ['echo', 'server_identity', 'list_tools'])
      expect(await bob.call(tool)).toMatchObject({ ok: true });
    // Refused, and counted: it was authenticated.
    expect(codeOf(await bob.call('none'))).toBe('unknown_tool');
    const leftMs = MINUTE_MS - (clock.nowMs % MINUTE_MS);
    expect(await bob.call('echo')).toMatchObject({
      ok: false,
      error: 'rate_limited: you may make 4 calls a minute',
      result: { retry_after_ms: leftMs },
    });
    clock.nowMs += leftMs - 1;
    expect(codeOf(await bob.call('echo'))).toBe('rate_limited');
    clock.nowMs += 1;
    expect(await bob.call('echo')).toMatchObject({ ok: true });
  });

  test('is one client’s own, and exact for calls that come at once', async () => {
    const server = await startServer({ tools: [echo] });
    const bob = await withTerms(server, { callsPerMinute: 7 });
    const carol = await withTerms(server, { callsPerMinute: 7 }, 'carol');
    const calls = (peer: TestServer) => codesOf(times(20, () => peer.call('echo')));
    const expected = [...times(7, () => 'ok'), ...times(13, () => 'rate_limited')];
    expect(await Promise.all([calls(bob), calls(carol)])).toEqual([expected, expected]);
    expect(await calls(server)).toEqual(times(20, () => 'ok'));
  });

  test('counts a message only if it is new and in time: nobody can use up the rate of another by repeating it', async () => {
    const server = await startServer({ tools: [echo] });
    const bob = await withTerms(server, { callsPerMinute: 2 });
    const bytes = bob.request('echo');
    for (let n = 0; n < 5; n++) await bob.send(bytes);
    expect(await bob.call('echo')).toMatchObject({ ok: true });
    expect(codeOf(await bob.call('echo'))).toBe('rate_limited');
  });

  test('comes before quota, scope and policy', async () => {
    const asked: string[] = [];
    const policy = ({ tool }: { tool: string }) => void asked.push(tool);
    const server = await startServer({ tools: [echo], policy });
    const bob = await withTerms(server, { callsPerMinute: 1, scopes: ['echo'] });
    await bob.call('echo');
    expect([codeOf(await bob.call('echo')), codeOf(await bob.call('none'))]).toEqual([
      'rate_limited',
      'rate_limited',
    ]);
    expect(asked).toEqual(['echo']);
  });
});

describe('quotas of jobs', () => {
  test('a client has no more open jobs than its own limit, or the server’s if that is lower', async () => {
    const stay = gate();
    onTestFinished(() => stay.open());
    const hold = jobTool('hold', async () => {
      await stay.opened;
      return {};
    });
    const server = await startServer({ tools: [hold], maxOpenJobs: 3 });
    const bob = await withTerms(server, { maxOpenJobs: 2 });
    const carol = await withTerms(server, { maxOpenJobs: 9 }, 'carol');
    const start = (peer: TestServer) => codesOf(times(5, () => peer.call('hold')));
    expect(await start(bob)).toEqual(['busy', 'busy', 'busy', 'ok', 'ok']);
    expect(await start(carol)).toEqual(['busy', 'busy', 'ok', 'ok', 'ok']);
    expect(await bob.call('hold')).toMatchObject({ error: 'busy: you have 2 jobs that have not ended' });
  });

  test('a client starts so many jobs a day, in UTC; direct calls and looks at jobs are free', async () => {
    const clock = createTestClock(DAY_START_MS + 5_000);
    const server = await startServer({ tools: [work, echo], clock });
    const bob = await withTerms(server, { jobsPerDay: 3 });
    expect(await codesOf(times(8, () => bob.call('work')))).toEqual([
      ...times(3, () => 'ok'),
      ...times(5, () => 'rate_limited'),
    ]);
    expect(await bob.call('work')).toMatchObject({
      error: 'rate_limited: you may start 3 jobs a day',
      result: { retry_after_ms: DAY_MS - 5_000 },
    });
    for (const tool of ['echo', 'list_jobs']) expect(await bob.call(tool)).toMatchObject({ ok: true });
    clock.nowMs = DAY_START_MS + DAY_MS;
    expect(await bob.call('work')).toMatchObject({ status: 'accepted' });
  });

  test('a call that starts no new job takes nothing of the day: a retry, one that is busy, wrong or forbidden', async () => {
    const stay = gate();
    onTestFinished(() => stay.open());
    const hold = jobTool('hold', async () => {
      await stay.opened;
      return {};
    });
    const policy = ({ tool }: { tool: string }) => {
      if (tool === 'work') throw new ProtocolError('forbidden', 'no');
    };
    const server = await startServer({ tools: [hold, work], policy });
    const bob = await withTerms(server, { jobsPerDay: 3, maxOpenJobs: 2 });
    const members = { request_id: 'request-1' };
    // All but one of these find the job of the one.
    const same = await Promise.all(times(5, () => bob.call('hold', {}, members)));
    const [id, ...others] = new Set(same.map(({ result }) => jobIdOf(result)));
    expect(others).toEqual([]);
    await bob.call('work');
    expect(codeOf(await bob.call('hold', { other: true }, members))).toBe('request_id_conflict');
    await bob.call('hold');
    for (let n = 0; n < 4; n++) expect(codeOf(await bob.call('hold'))).toBe('busy');
    await bob.call('cancel_job', { job_id: id ?? '' });
    expect(await bob.call('hold')).toMatchObject({ status: 'accepted' });
    expect(codeOf(await bob.call('hold'))).toBe('rate_limited');
  });

  test('retries of the last job of the day get that job, also those that come at the same moment', async () => {
    const server = await startServer({ tools: [work] });
    const bob = await withTerms(server, { jobsPerDay: 1 });
    const start = () => bob.call('work', {}, { request_id: 'request-1' });
    const replies = [...(await Promise.all(times(20, start))), await start()];
    expect(new Set(replies.map(({ status, result }) => `${status} ${jobIdOf(result)}`)).size).toBe(1);
    expect(codeOf(await bob.call('work'))).toBe('rate_limited');
  });

  test('what is used of a day is known after a restart', async () => {
    const server = await startServer({ tools: [work] });
    const bob = await withTerms(server, { jobsPerDay: 2 });
    await bob.call('work');
    await server.close();
    const again = (await startServer({ tools: [work], dir: server.dir, credential: server.credential })).as(
      bob.credential,
    );
    expect(await codesOf(times(3, () => again.call('work')))).toEqual(['ok', 'rate_limited', 'rate_limited']);
  });
});

describe('a client whose time is over', () => {
  test('is told so in a signed reply, from the moment on, before its message is looked at any further', async () => {
    const server = await startServer({ tools: [echo] });
    const expiresMs = START_MS + 10_000;
    const bob = await withTerms(server, { expiresMs, callsPerMinute: 1 });
    server.clock.nowMs = expiresMs;
    const bytes = bob.request(
      'echo',
      {},
      { request_id: 'request-1', server_id: 'other', nonce: 'nonce-0001' },
    );
    const { body, httpStatus } = await bob.send(bytes);
    expect(httpStatus).toBe(403);
    expect(JSON.parse(body)).toMatchObject({
      error: `forbidden: this client expired at ${new Date(expiresMs).toISOString()}`,
    });
    const refused = { request_id: 'request-2', nonce: 'nonce-0002' };
    expect(codeOf(await bob.call('echo', {}, refused))).toBe('forbidden');
    expect(server.server.stats().nonces).toBe(0);
    // Neither its nonce nor its rate was touched.
    server.clock.nowMs = expiresMs - 1;
    expect(await bob.call('echo', {}, refused)).toMatchObject({ ok: true });
    expect(await server.call('echo')).toMatchObject({ ok: true });
  });

  test('and one that is revoked, at once and for good, while others go on', async () => {
    const server = await startServer({ tools: [echo] });
    const bob = await withTerms(server, {});
    expect(await bob.call('echo')).toMatchObject({ ok: true });
    await beside(
      server,
      (store) => revokeClient(store, 'bob'),
      async () => (await bob.call('echo')).error === 'forbidden: this client was revoked',
    );
    const before = server.server.stats().nonces;
    expect(codeOf(await bob.call('echo'))).toBe('forbidden');
    expect(server.server.stats().nonces).toBe(before);
    expect(await server.call('echo')).toMatchObject({ ok: true });
  });
});

describe('two replicas on one PostgreSQL', { tags: ['postgres'] }, () => {
  async function openTwo(terms: Partial<ClientTerms>): Promise<readonly [TestServer, TestServer]> {
    const options = { tools: [echo, work], store: await postgresUrl(), masterKey: generateSecret() };
    const first = await startServer(options);
    const bob = await withTerms(first, terms);
    const second = await startServer({ ...options, credential: bob.credential });
    return [bob, second];
  }

  test('share a rate limit', async () => {
    const both = await openTwo({ callsPerMinute: 25 });
    const codes = await codesOf(times(80, (n) => (both[n % 2] ?? both[0]).call('echo')));
    expect(codes).toEqual([...times(25, () => 'ok'), ...times(55, () => 'rate_limited')]);
  });

  test('share a quota of jobs a day, and of open jobs', async () => {
    const both = await openTwo({ jobsPerDay: 15 });
    const codes = await codesOf(times(40, (n) => (both[n % 2] ?? both[0]).call('work')));
    expect(codes).toEqual([...times(15, () => 'ok'), ...times(25, () => 'rate_limited')]);
  });
});
