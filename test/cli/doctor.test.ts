import { chmodSync, existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createHttp, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createClient } from '../../src/client/index.ts';
import { credentialOf } from '../../src/cli/client.ts';
import exampleTools from '../../src/cli/serve/example-tools.ts';
import { EXITS, failureOf } from '../../src/cli/exits.ts';
import { ProtocolError } from '../../src/errors/index.ts';
import { changeClient } from '../../src/server/clients/clients.ts';
import { openClientStore } from '../../src/store/index.ts';
import { createServer, type Credential, listen, type Server } from '../../src/transports/index.ts';
import { generateSecret } from '../../src/wire/index.ts';
import { hasOpenssl, makeCertificate, makeExpired } from '../support/certificates.ts';
import { createCaller } from '../support/caller.ts';
import { waybill } from './waybill.ts';

/** Real servers, one for each clock and policy, and credentials of every kind in files; commands are processes. */
let cwd = '';
const ends: (() => Promise<unknown>)[] = [];

type Options = Partial<Parameters<typeof createServer>[0]>;

interface Served {
  readonly server: Server;
  readonly url: string;
  add(id: string, terms?: Parameters<Server['addClient']>[0]['terms']): Promise<Credential>;
}

interface Place {
  readonly tls?: ReturnType<typeof makeCertificate>;
  readonly onMessage?: () => void;
}

async function serveHere(name: string, options: Options = {}, { tls, onMessage }: Place = {}) {
  const server = await createServer({
    tools: exampleTools,
    store: `sqlite:${join(cwd, name)}`,
    serverId: 'acme',
    drainMs: 0,
    log: { debug() {}, info() {}, warn() {}, error() {} },
    ...options,
  });
  const handle: Server['handle'] = (bytes) => {
    onMessage?.();
    return server.handle(bytes);
  };
  const listener = await listen({ ...server, handle }, tls === undefined ? {} : { tls });
  ends.push(async () => Promise.all([listener.close(), server.close()]));
  const { url } = listener;
  const served: Served = {
    server,
    url,
    async add(id, terms = {}) {
      const credential = await server.addClient({ id, url, terms });
      save(id, credential);
      return credential;
    },
  };
  return served;
}

function save(name: string, credential: object): void {
  writeFileSync(join(cwd, `${name}.json`), JSON.stringify(credential), { mode: 0o600 });
}

const DAY_MS = 86_400_000;

/** It stands still: its minute, and with it what is counted in it, does not end. */
function minuteClock(): () => number {
  const nowMs = Date.now();
  return () => nowMs;
}

beforeAll(async () => {
  cwd = mkdtempSync(join(tmpdir(), 'waybill-doctor-'));
  const race = racingClock();
  const [main, counting, ahead, racing, forbids, older] = await Promise.all([
    serveHere('main'),
    serveHere('counting', { now: minuteClock(), window: { maxFutureMs: 300_000 } }),
    serveHere('ahead', { now: () => Date.now() + 3_600_000 }),
    serveHere('racing', { now: race.now, window: { maxPastMs: 20_000 } }, { onMessage: race.step }),
    serveHere('forbids', { policy: refuseExplaining('forbidden') }),
    serveHere('older', { policy: refuseExplaining('unknown_tool') }),
  ]);
  await people(main);
  await counting.add('rated', { callsPerMinute: 1 });
  await counting.add('spent', { callsPerMinute: 1 });
  await counting.add('worked', { jobsPerDay: 1 });
  await ahead.add('ahead');
  await racing.add('racing');
  await forbids.add('silenced');
  await older.add('older');
  await Promise.all([
    call(JSON.parse(readFileSync(join(cwd, 'spent.json'), 'utf8')), 'list_jobs', {}),
    call(JSON.parse(readFileSync(join(cwd, 'worked.json'), 'utf8')), 'start_long_task', { seconds: 1 }),
  ]);
  save('doubled', { ...(await main.add('twin')), url: await doublingProxy(main.url) });
  save('html', { ...(await main.add('lost')), url: await page() });
});

/** The clients of the main server. */
async function people(main: Served): Promise<void> {
  const alice = await main.add('alice');
  const bob = await main.add('bob');
  save('stranger', { ...alice, client_id: 'stranger' });
  save('wrong-key', { ...alice, request_key: bob.request_key });
  save('wrong-reply-key', { ...alice, response_key: bob.response_key });
  save('elsewhere', { ...alice, server_id: 'another' });
  save('down', { ...alice, url: 'http://127.0.0.1:1/call' });
  save('nowhere', { ...alice, url: 'http://nowhere.invalid/call' });
  writeFileSync(join(cwd, 'open.json'), JSON.stringify(alice), { mode: 0o644 });
  const { url } = main;
  save('signer', await main.server.addClient({ id: 'signer', url, algorithm: 'ed25519' }));
  await main.add('previous');
  await main.server.rotateClient('previous', { url });
  await main.add('dropped');
  await main.server.rotateClient('dropped', { url });
  await main.server.finishRotation('dropped');
  await main.add('revoked');
  await main.server.revokeClient('revoked');
  await main.add('expired', { expiresMs: Date.now() - 1_000 });
  await main.add('ending', { expiresMs: Date.now() + 3 * DAY_MS, scopes: ['batch_*', 'refund_*'] });
}

afterAll(async () => {
  await Promise.all(ends.map((end) => end()));
  rmSync(cwd, { recursive: true, force: true });
});

/** Each message finds it half a minute later: correcting one's own by it is no help. */
function racingClock() {
  let aheadMs = 0;
  return {
    now: () => Date.now() + aheadMs,
    step() {
      aheadMs += 30_000;
    },
  };
}

function refuseExplaining(code: 'forbidden' | 'unknown_tool') {
  return ({ tool }: { readonly tool: string }): void => {
    if (tool === 'explain_call') throw new ProtocolError(code, 'nothing is explained here');
  };
}

async function call(credential: Credential, tool: string, args: { readonly seconds?: number }) {
  const caller = createCaller(credential);
  const { code } = await caller.send(credential.url, caller.request(tool, { ...args }));
  expect(code).toBeNull();
}

/** Sends each body twice, and passes on the second answer. */
function doublingProxy(url: string): Promise<string> {
  const twice = async (request: IncomingMessage, response: ServerResponse) => {
    const headers = { 'content-type': 'application/json' };
    const init = { method: 'POST', headers, body: await text(request) };
    await (await fetch(url, init)).arrayBuffer();
    const second = await fetch(url, init);
    response.writeHead(second.status, headers).end(await second.text());
  };
  return listening(createHttp((request, response) => void twice(request, response)));
}

const page = () =>
  listening(
    createHttp((_request, response) => response.writeHead(502, { 'content-type': 'text/html' }).end('<p>')),
  );

async function listening(http: ReturnType<typeof createHttp>): Promise<string> {
  http.listen(0, '127.0.0.1');
  ends.push(async () => {
    http.closeAllConnections();
    await new Promise((resolve) => http.close(resolve));
  });
  await new Promise((resolve) => http.once('listening', resolve));
  // Of a server on a port.
  return `http://127.0.0.1:${(http.address() as AddressInfo).port}/call`;
}

const run = (line: string, env: Record<string, string> = {}) => waybill(line.split(' '), { cwd, env });

interface Shown {
  readonly accepted: boolean;
  readonly refused_by: string | null;
  readonly error: { readonly code: string } | null;
  readonly clock_ahead_ms: number | null;
  readonly key: string | null;
  readonly steps: readonly { readonly step: string; readonly state: string; readonly detail: string }[];
}

const ADD = 'batch_sum {"numbers":[1]}';
const WORK = 'start_long_task {"seconds":1}';

/** Credential, call, the step that refuses, the code of its refusal, the exit code. */
const SITUATIONS: readonly (readonly [string, string, string | null, string | null, number])[] = [
  ['rated', ADD, 'rate', 'rate_limited', 1],
  ['spent', ADD, 'rate', 'rate_limited', 1],
  ['worked', WORK, 'quota', 'rate_limited', 1],
  ['worked', ADD, null, null, 0],
  ['alice', ADD, null, null, 0],
  ['alice', WORK, null, null, 0],
  ['previous', ADD, null, null, 0],
  ['ahead', ADD, null, null, 0],
  ['open', ADD, 'credential', 'setup', 2],
  ['missing', ADD, 'credential', 'setup', 2],
  ['down', ADD, 'connection', 'connection', 3],
  ['nowhere', ADD, 'connection', 'connection', 3],
  ['html', ADD, 'connection', 'connection', 3],
  ['stranger', ADD, 'signature', 'reply_unverified', 3],
  ['wrong-key', ADD, 'signature', 'reply_unverified', 3],
  ['wrong-reply-key', ADD, 'signature', 'reply_unverified', 3],
  ['dropped', ADD, 'signature', 'reply_unverified', 3],
  ['elsewhere', ADD, 'server_id', 'reply_unverified', 3],
  ['revoked', ADD, 'client', 'forbidden', 1],
  ['expired', ADD, 'client', 'forbidden', 1],
  ['racing', ADD, 'time', 'stale', 1],
  ['doubled', ADD, 'nonce', 'replayed', 1],
  ['ending', ADD, null, null, 0],
  ['ending', WORK, 'scope', 'forbidden', 1],
  ['ending', 'nothing_here', 'scope', 'forbidden', 1],
  ['alice', 'nothing_here', 'tool', 'unknown_tool', 1],
  ['alice', 'batch_sum {"numbers":["x"]}', 'args', 'invalid_args', 1],
];

/** Starts no more processes at once than a small machine can run. */
async function inTurn<In, Out>(
  items: readonly In[],
  work: (item: In) => Promise<Out>,
): Promise<Map<In, Out>> {
  const results = new Map<In, Out>();
  const left = items.values();
  const lane = async () => {
    for (const item of left) results.set(item, await work(item));
  };
  await Promise.all([lane(), lane(), lane(), lane()]);
  return results;
}

/** How the call itself ends: its exit code and the code of its refusal. Retries do not wait. */
async function really(who: string, what: string): Promise<readonly [number, string | null]> {
  const [tool = '', args = '{}'] = what.split(' ');
  const clock = { now: () => Date.now(), sleep: async () => {} };
  try {
    const credential = credentialOf({ credential: join(cwd, `${who}.json`) });
    await createClient(credential, { clock, timeoutMs: 20_000 }).start(tool, JSON.parse(args));
    return [0, null];
  } catch (error) {
    // A direct tool that has run.
    if (error instanceof TypeError && error.cause !== undefined) return [0, null];
    const { exit, code } = failureOf(error);
    return [EXITS[exit].exitCode, code];
  }
}

describe('waybill call --explain', () => {
  test('each cause is named by the step that refuses it, and the call itself ends the same way', async () => {
    const seen = await inTurn(SITUATIONS, async ([who, what]) => {
      const { code: exit, stdout } = await run(`call ${what} --credential ${who}.json --json --explain`);
      const { accepted, refused_by, error, steps }: Shown = JSON.parse(stdout);
      // Another step may refuse as well, but only behind it.
      const first = steps.find(({ state }) => state === 'refused')?.step ?? null;
      expect([accepted, first]).toEqual([refused_by === null, refused_by]);
      const end = await really(who, what);
      return [who, what, refused_by, error?.code ?? null, exit, ...end];
    });
    const expected = SITUATIONS.map((each) => [...each, each[4], each[3]]);
    expect(SITUATIONS.map((each) => seen.get(each))).toEqual(expected);
  }, 120_000);

  test('shows each step in a line, with what it found', async () => {
    const { stdout, code } = await run(`call ${WORK} --credential alice.json --explain`);
    expect(code).toBe(0);
    const lines = stdout.trimEnd().split('\n');
    expect(lines.map((line) => line.split(/ +/)[1])).toEqual([
      'credential',
      'connection',
      'envelope',
      'signature',
      'server',
      'client',
      'server_id',
      'time',
      'nonce',
      'request_id',
      'rate',
      'quota',
      'scope',
      'policy',
      'tool',
      'args',
      'run',
      'call',
    ]);
    expect(stdout).toMatch(
      /^✓ time +this clock is \d+ ms (ahead of|behind) the server, which takes 300000 ms /m,
    );
    expect(stdout).toMatch(
      /^✓ run +becomes a job; \d+ of 10000 jobs are queued or running\nthe call would be accepted: /m,
    );
  });

  test('shows the skew of the first message, also where the client corrects it', async () => {
    const { stdout, code } = await run(`call ${ADD} --credential ahead.json --explain --json`);
    const shown: Shown = JSON.parse(stdout);
    expect(code).toBe(0);
    expect(shown.clock_ahead_ms).toBeGreaterThan(-3_660_000);
    expect(shown.clock_ahead_ms).toBeLessThan(-3_540_000);
    expect(shown.steps.find(({ step }) => step === 'time')).toMatchObject({
      state: 'warning',
      detail: expect.stringMatching(/behind the server.*the first message was stale/),
    });
  });

  test('steps behind the one that refused are not reached, and nothing is said of them', async () => {
    const { stdout } = await run(`call ${ADD} --credential elsewhere.json --explain --json`);
    const { steps }: Shown = JSON.parse(stdout);
    const at = steps.findIndex(({ step }) => step === 'server_id');
    expect(steps[at]?.detail).toMatch(/^this server is acme, the credential is for another/);
    expect(steps.slice(0, at).every(({ state }) => state === 'ok')).toBe(true);
    expect(steps.slice(at + 1).every(({ detail }) => detail === 'not reached')).toBe(true);
    expect(steps.at(-1)?.step).toBe('run');
  });

  test('a bad signature is told with all that it may come of', async () => {
    const { stdout } = await run(`call ${ADD} --credential dropped.json --explain`);
    expect(stdout).toMatch(
      /^✗ signature +bad_signature, unsigned: the server has no client dropped, or .*key.* rotation.* algorithm.*"waybill clients show dropped"$/m,
    );
  });

  test.each([
    ['silenced', 'policy', 'forbidden'],
    ['older', 'explain', 'unknown_tool'],
  ])('where the server explains nothing (%s) it says so', async (who, step, code) => {
    const { stdout, code: exit } = await run(`call ${ADD} --credential ${who}.json --explain --json`);
    const shown: Shown = JSON.parse(stdout);
    expect({ exit, by: shown.refused_by, code: shown.error?.code }).toEqual({ exit: 1, by: step, code });
    expect(shown.steps.find((each) => each.step === 'request_id')?.state).toBe('ok');
    expect(shown.steps.find((each) => each.step === 'run')?.state).toBe('unknown');
  });

  test('runs nothing', async () => {
    await run(`call ${WORK} --credential bob.json --explain`);
    expect((await run('jobs list --credential bob.json')).stdout).toBe('no jobs\n');
  });

  test('does not go with --request-id', async () => {
    const { code, stderr } = await run(`call ${ADD} --credential alice.json --explain --request-id x`);
    expect(code).toBe(2);
    expect(stderr).toMatch(/^waybill: option '--explain' cannot be used with option '--request-id <id>'/);
  });
});

interface Doctor {
  readonly ok: boolean;
  readonly checks: Shown['steps'];
}

async function doctor(who: string, env?: Record<string, string>) {
  const { stdout, code } = await run(`doctor --credential ${who}.json --json`, env);
  const { ok, checks }: Doctor = JSON.parse(stdout);
  const of = (state: string) => checks.filter((each) => each.state === state).map(({ step }) => step);
  const detail = (name: string) => checks.find(({ step }) => step === name)?.detail;
  return {
    ok,
    code,
    refused: of('refused'),
    warnings: of('warning'),
    detail,
    steps: checks.map(({ step }) => step),
  };
}

describe('waybill doctor', () => {
  test('has a line for each thing that could be wrong', async () => {
    const { stdout, code, stderr } = await run('doctor --credential alice.json');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const lines = stdout.trimEnd().split('\n');
    expect(lines.pop()).toBe('calls with this credential are taken');
    expect(lines.map((line) => line.split(/ {2,}/)[0])).toEqual([
      '✓ credential',
      '✓ address',
      '✓ tls',
      '✓ connection',
      '✓ signature',
      '✓ client',
      '✓ server_id',
      '✓ time',
      '✓ key',
      '✓ expiry',
      '✓ rate',
      '✓ quota',
      '✓ open jobs',
      '✓ fingerprint',
      '✓ audit key',
      '✓ tools',
      '✓ scopes',
    ]);
    expect(stdout).toMatch(/^✓ tools +2 that this client may call: batch_sum, start_long_task$/m);
    expect(stdout).toMatch(/^✓ audit key +wbp_\S+$/m);
  });

  test('warns of what will end, or does not do what it seems to', async () => {
    const [ending, previous, ahead] = await Promise.all([
      doctor('ending'),
      doctor('previous'),
      doctor('ahead'),
    ]);
    expect(ending).toMatchObject({ ok: true, code: 0, refused: [], warnings: ['expiry', 'scopes'] });
    expect(ending.detail('scopes')).toMatch(/^refund_\* names no tool of this server/);
    expect(ending.detail('tools')).toBe('1 that this client may call: batch_sum');
    expect(previous).toMatchObject({ ok: true, code: 0, refused: [], warnings: ['key'] });
    expect(ahead).toMatchObject({ ok: true, code: 0, refused: [], warnings: ['time'] });
  });

  const FAILING: readonly (readonly [string, number, readonly string[]])[] = [
    ['open', 2, ['credential']],
    ['nowhere', 3, ['address', 'connection']],
    ['down', 3, ['connection']],
    ['stranger', 3, ['signature']],
    ['wrong-reply-key', 3, ['signature']],
    ['elsewhere', 3, ['server_id']],
    ['revoked', 1, ['client']],
    ['expired', 1, ['client']],
    ['racing', 1, ['time']],
    ['doubled', 1, ['nonce']],
    ['rated', 1, ['rate']],
  ];

  test('names what is to be mended, and ends as a call would', async () => {
    const looked = await inTurn(FAILING, ([who]) => doctor(who));
    const seen = FAILING.map((each) => looked.get(each));
    expect(seen).toMatchObject(FAILING.map(([, code, refused]) => ({ ok: false, code, refused })));
  }, 120_000);

  test('knows the keys of Ed25519', async () => {
    const found = await doctor('signer');
    expect(found).toMatchObject({ ok: true, code: 0, refused: [], warnings: [] });
    expect(found.detail('signature')).toBe('of the request and of the reply hold (ed25519)');
    expect(found.steps).toContain('fingerprint');
  });

  test('tells no secret', async () => {
    const secrets: string[] = [];
    for (const who of ['alice', 'wrong-key', 'dropped', 'elsewhere']) {
      const { request_key, response_key }: Credential = JSON.parse(
        readFileSync(join(cwd, `${who}.json`), 'utf8'),
      );
      secrets.push(request_key.slice(3, 20), response_key.slice(3, 20));
    }
    const env = { WAYBILL_DEBUG: '1' };
    const ended = await Promise.all([
      run('doctor --credential alice.json', env),
      run('doctor --credential dropped.json --json', env),
      run(`call ${ADD} --credential wrong-key.json --explain`, env),
      run(`call ${ADD} --credential elsewhere.json --explain --json`, env),
    ]);
    const printed = ended.map(({ stdout, stderr }) => stdout + stderr).join('');
    expect(printed.length).toBeGreaterThan(2_000);
    for (const secret of secrets) expect(printed).not.toContain(secret);
  });

  describe.skipIf(!hasOpenssl)('over TLS', () => {
    test('looks at the certificate: believed or not, and until when', async () => {
      const own = await serveHere('tls', {}, { tls: makeCertificate(cwd) });
      const old = await serveHere('tls-old', {}, { tls: makeExpired(cwd) });
      await Promise.all([own.add('secure'), old.add('outdated')]);
      const [unknown, known, expired] = await Promise.all([
        doctor('secure'),
        doctor('secure', { NODE_EXTRA_CA_CERTS: join(cwd, 'tls.crt') }),
        doctor('outdated', { NODE_EXTRA_CA_CERTS: join(cwd, 'expired.crt') }),
      ]);
      expect(unknown).toMatchObject({ ok: false, code: 3, refused: ['tls', 'connection'] });
      expect(unknown.detail('tls')).toMatch(
        /^the certificate is not believed: DEPTH_ZERO_SELF_SIGNED_CERT; valid until /,
      );
      expect(unknown.detail('connection')).toMatch(/NODE_EXTRA_CA_CERTS/);
      // It is made for two days.
      expect(known).toMatchObject({ ok: true, code: 0, refused: [], warnings: ['tls'] });
      expect(expired).toMatchObject({ ok: false, refused: ['tls', 'connection'] });
      expect(expired.detail('tls')).toMatch(/CERT_HAS_EXPIRED/);
    });
  });
});

describe('waybill doctor of a store', () => {
  async function storeDoctor(line: string, env?: Record<string, string>) {
    const { stdout, code } = await run(`doctor --json ${line}`.trim(), env);
    const { ok, checks }: Doctor = JSON.parse(stdout);
    return { ok, code, checks, of: (name: string) => checks.find(({ step }) => step === name) };
  }

  test('looks at files, master key, clients and audit, and changes nothing', async () => {
    const dir = join(cwd, 'main');
    const before = readFileSync(join(dir, 'master.key'), 'utf8');
    const { ok, code, checks, of } = await storeDoctor('--data main');
    expect({ ok, code }).toEqual({ ok: true, code: 0 });
    expect(checks.map(({ step, state }) => [step, state])).toEqual([
      ['store', 'ok'],
      ['files', 'ok'],
      ['master key', 'ok'],
      ['clients', 'ok'],
      ['expiry', 'warning'],
      ['rotation', 'warning'],
      ['audit', 'ok'],
    ]);
    expect(of('store')?.detail).toBe('data main, of server acme');
    expect(of('clients')?.detail).toMatch(/^\d+, of them 1 revoked and 1 expired$/);
    expect(of('expiry')?.detail).toMatch(/^ending on \d{4}-/);
    expect(of('rotation')?.detail).toMatch(/^previous can still use the previous keys/);
    expect(readFileSync(join(dir, 'master.key'), 'utf8')).toBe(before);
  });

  test('tells a master key that is lost or another, files that are open, and keys that were changed', async () => {
    const dir = join(cwd, 'sick');
    const { server, add } = await serveHere('sick');
    await add('sick');
    await server.close();
    writeFileSync(join(cwd, 'other.key'), `${generateSecret()}\n`, { mode: 0o600 });
    const other = await storeDoctor('--data sick --master-key-file other.key');
    expect(other).toMatchObject({ ok: false, code: 2 });
    expect(other.of('master key')).toMatchObject({
      state: 'refused',
      detail: expect.stringMatching(/sealed under another master key/),
    });
    const store = openClientStore({ dir });
    await changeClient(store, 'sick', (client) => ({
      ...client,
      keys: [{ ...client.keys[0], request: client.keys[0].response }],
    }));
    await store.close();
    chmodSync(join(dir, 'waybill.db'), 0o640);
    const changed = await storeDoctor('--store sqlite:sick');
    expect(changed.of('master key')?.detail).toBe('the keys of sick were changed in the store: revoke them');
    expect(changed.of('files')).toMatchObject({
      state: 'refused',
      detail: 'open to other users: waybill.db: run chmod -R go= sick',
    });
    renameSync(join(dir, 'master.key'), join(cwd, 'lost.key'));
    const lost = await storeDoctor('', { WAYBILL_DATA: 'sick' });
    expect(lost.of('master key')?.detail).toMatch(/there is no master key in sick\/master\.key/);
    expect(existsSync(join(dir, 'master.key'))).toBe(false);
  });

  test('wants to know what to look at, and makes no store that is not there', async () => {
    const [none, both, missing] = await Promise.all([
      run('doctor'),
      run('doctor --data main --credential alice.json'),
      storeDoctor('--data nothing'),
    ]);
    expect(none.stderr).toMatch(/^waybill: name --credential of a client, or --data or --store of a server/);
    expect(both.stderr).toMatch(/^waybill: a credential and a store are both named: name one of the two/);
    expect([none.code, both.code, missing.code]).toEqual([2, 2, 2]);
    expect(missing.of('store')?.state).toBe('refused');
    expect(existsSync(join(cwd, 'nothing'))).toBe(false);
  });
});
