import { existsSync } from 'node:fs';
import { join } from 'node:path';
import canonicalize from 'canonicalize';
import { describe, expect, onTestFinished, test } from 'vitest';
import { AUDIT_LIMITS } from '../../src/audit/limits.ts';
import { ProtocolError, ToolError } from '../../src/errors/index.ts';
import { createWorker, type Credential } from '../../src/transports/index.ts';
import { generateSecret, type JsonObject, type RequestMessage } from '../../src/wire/index.ts';
import { openStore } from '../store/open.ts';
import { type AuditLine, chainFiles, digest, expectVerified, linesIn, readAll } from '../support/audit.ts';
import { type Caller, createCaller, nullIfNoReply } from '../support/caller.ts';
import { runChild } from '../support/child.ts';
import { createTestClock, START_MS } from '../support/clock.ts';
import { canLimitFiles, limitFiles } from '../support/disk.ts';
import { gate } from '../support/gate.ts';
import { createTestLog } from '../support/log.ts';
import {
  anyTool,
  codeOf,
  jobIdOf,
  jobTool,
  readTool,
  startServer,
  type TestServer,
} from '../support/server.ts';
import { postgresUrl } from '../support/services/shared.ts';
import { canonicalText } from '../support/signing.ts';
import { tempFolder } from '../support/temp.ts';

const ofType = (lines: readonly AuditLine[], type: string) => lines.filter((line) => line['type'] === type);
const callsIn = (dir: string) => ofType(linesIn(dir), 'call');
const statesOf = (lines: readonly AuditLine[], job: string) =>
  ofType(lines, 'job')
    .filter((line) => line['job'] === job)
    .map(({ state, attempt }) => (attempt === undefined ? state : [state, attempt].join(' ')));

/** What a message's signature covers, from the text on the wire. */
function signedTextOf(wire: string): string {
  const { signature: _, ...message } = JSON.parse(wire) as JsonObject;
  return canonicalText(message);
}

/** Sends a request, and what the audit must say of it as far as the two texts on the wire tell. */
async function exchange(peer: TestServer, tool: string, args: JsonObject = {}, members = {}) {
  const request = peer.request(tool, args, members);
  const { body } = await peer.send(request);
  const sent = JSON.parse(request.toString()) as JsonObject;
  const reply = JSON.parse(body) as {
    readonly status: string;
    readonly error: string | null;
    readonly result: JsonObject | null;
  };
  return {
    reply,
    expected: {
      client: 'agent-a',
      wire: 'mcp/0.1',
      request_id: sent['request_id'],
      tool,
      request: digest(signedTextOf(request.toString())),
      reply: digest(signedTextOf(body)),
      outcome: reply.error === null ? reply.status : codeOf(reply),
    },
  };
}

describe('every authenticated call is in the audit', () => {
  test('with the digests of what was on the wire, in the order of the replies', async () => {
    const tools = [
      readTool('echo', (args) => args),
      anyTool('pay', () => ({ paid: true })),
      anyTool('fail', () => {
        throw new ToolError('no luck');
      }),
      anyTool('break', () => {
        throw new Error('a bug');
      }),
      jobTool('work', () => ({ done: 'ü€😀' })),
    ];
    const policy = ({ tool }: { readonly tool: string }) => {
      if (tool === 'poll_job') return;
      if (tool === 'list_jobs') throw new ProtocolError('forbidden', 'not today');
    };
    const peer = await startServer({ tools, policy });
    const old = { ts_ms: peer.clock.nowMs - 400_000 };
    const nonce = { nonce: 'the-same-nonce' };
    const pay = { request_id: 'pay-1' };
    const made = [
      await exchange(peer, 'echo', { text: 'ü€😀', n: 1.5 }),
      await exchange(peer, 'echo', { text: 'quote " and \\' }, { request_id: 'a"b\\c' }),
      await exchange(peer, 'pay', {}, pay),
      await exchange(peer, 'pay', {}, pay),
      await exchange(peer, 'pay', { other: 1 }, pay),
      await exchange(peer, 'fail'),
      await exchange(peer, 'break'),
      await exchange(peer, 'nothing'),
      await exchange(peer, 'list_jobs'),
      await exchange(peer, 'poll_job', { job_id: 'no-such-job' }),
      await exchange(peer, 'server_identity', { more: 1 }),
      await exchange(peer, 'echo', {}, old),
      await exchange(peer, 'echo', {}, { server_id: 'another' }),
      await exchange(peer, 'echo', {}, nonce),
      await exchange(peer, 'echo', {}, nonce),
      await exchange(peer, 'work'),
    ];
    const id = jobIdOf(made.at(-1)?.reply.result ?? null);
    const poll = await exchange(peer, 'poll_job', { job_id: id, wait_ms: 10_000 });
    const cancel = await exchange(peer, 'cancel_job', { job_id: id });
    expect(made.map(({ expected }) => expected.outcome)).toEqual([
      'ok',
      'ok',
      'ok',
      'ok',
      'request_id_conflict',
      'job_failed',
      'internal',
      'unknown_tool',
      'forbidden',
      'not_found',
      'invalid_args',
      'stale',
      'wrong_server',
      'ok',
      'replayed',
      'accepted',
    ]);
    const calls = callsIn(peer.dir);
    expect(calls).toMatchObject([...made, poll, cancel].map(({ expected }) => expected));
    expect(calls.map(({ job }) => job).filter((job) => job !== undefined)).toEqual([id, id, id]);
    // All were signed under one key, which is named and not shown.
    expect(new Set(calls.map(({ key }) => key)).size).toBe(1);
    expect(calls[0]?.['key']).toMatch(/^[0-9a-f]{32}$/);
    await peer.close();
    expect(await expectVerified(openStore({ dir: peer.dir }).audit)).toBeGreaterThan(calls.length);
  });

  test('what nobody signed, and what was refused before the MAC held, is not', async () => {
    const peer = await startServer();
    const wrong = peer.request('server_identity', {}, { signature: '0'.repeat(64) });
    for (const bytes of [Buffer.from('x'), Buffer.from('{}'), wrong, peer.request('a tool')]) {
      expect(JSON.parse((await peer.send(bytes)).body)).toMatchObject({ signature: '' });
    }
    expect(callsIn(peer.dir)).toEqual([]);
  });

  test('a reply leaves when its record is in the file, and no earlier', async () => {
    const peer = await startServer({ tools: [readTool('echo', (args) => args)] });
    await Promise.all(
      Array.from({ length: 50 }, async (_, n) => {
        await peer.call('echo', { n }, { request_id: `call-${n}` });
        expect(callsIn(peer.dir).some((line) => line['request_id'] === `call-${n}`)).toBe(true);
      }),
    );
  });

  test('no word of arguments, results, errors or keys is in the files', async () => {
    const canary = 'canary-4711';
    const tools = [
      readTool('echo', (args) => ({ ...args, job_id: canary })),
      jobTool('work', (args) => args),
      anyTool('fail', () => {
        throw new ToolError(canary);
      }),
    ];
    const peer = await startServer({ tools });
    const args = { [canary]: canary, job_id: canary };
    const { result } = await peer.call('work', args);
    await peer.call('poll_job', { job_id: jobIdOf(result), wait_ms: 10_000 });
    await peer.call('poll_job', { job_id: canary });
    for (const tool of ['echo', 'fail']) await peer.call(tool, args);
    await peer.close();
    const text = [...chainFiles(peer.dir).values()].join('');
    expect(callsIn(peer.dir).length).toBe(5);
    for (const word of [canary, peer.credential.request_key, peer.credential.response_key])
      expect(text).not.toContain(word);
  });

  test('without an audit nothing is written, and everything is answered as before', async () => {
    const peer = await startServer({ audit: false, tools: [jobTool('work', () => ({}))] });
    const { result } = await peer.call('work');
    await peer.call('poll_job', { job_id: jobIdOf(result), wait_ms: 10_000 });
    await peer.close();
    expect(existsSync(join(peer.dir, 'audit'))).toBe(false);
  });

  test('audit must be true or false', async () => {
    await expect(startServer({ audit: 'no' as never })).rejects.toThrow('audit must be true or false');
  });
});

describe('calls of another wire', () => {
  test('are in the audit with the digests of what was asked and answered, under the token that was shown', async () => {
    const tools = [readTool('echo', (args) => args), jobTool('work', () => ({ n: 1 }))];
    const peer = await startServer({ tools });
    const { calls } = peer.server;
    const token = await peer.server.addToken('agent-a');
    const client = calls.clientOf(token);
    if (client === null) throw new Error('the token is not known');
    const echo = { requestId: 'r-1', tool: 'echo', args: { b: 'ü', a: 1 } };
    const outcome = await calls.call(client, echo);
    await expect(calls.call(client, { ...echo, requestId: 'r-2', tool: 'nothing' })).rejects.toThrow(
      'no tool',
    );
    const { result } = await calls.call(client, { requestId: 'r-3', tool: 'work', args: {} });
    const id = jobIdOf(result);
    const record = await calls.job(client, id, { ms: 10_000, signal: new AbortController().signal });
    await expect(calls.job(client, 'no-such-job')).rejects.toThrow('no such job');
    const lines = callsIn(peer.dir);
    const key = digest(token).slice(0, 16);
    expect(lines).toMatchObject([
      {
        client: 'agent-a',
        wire: 'mcp',
        key,
        request_id: 'r-1',
        tool: 'echo',
        request: digest(canonicalize({ args: echo.args, tool: 'echo' }) ?? ''),
        reply: digest(canonicalize(outcome) ?? ''),
        outcome: 'ok',
      },
      { request_id: 'r-2', tool: 'nothing', outcome: 'unknown_tool' },
      { request_id: 'r-3', tool: 'work', outcome: 'accepted', job: id },
      { tool: 'poll_job', outcome: record.state === 'succeeded' ? 'done' : 'running', job: id },
      { tool: 'poll_job', outcome: 'not_found' },
    ]);
    const refused = { ok: false, status: 'error', result: null, error: 'not_found: you have no such job' };
    expect(lines.at(-1)?.['reply']).toBe(digest(canonicalize(refused) ?? ''));
    expect(JSON.stringify(lines)).not.toContain(token);
  });
});

/** Sends so many calls, not all at once, and the codes of the replies. */
async function codesOf(peer: TestServer, tool: string, count: number): Promise<Set<string | undefined>> {
  const codes = new Set<string | undefined>();
  for (let n = 0; n < count; n += 100) {
    const batch = Array.from({ length: Math.min(100, count - n) }, () => peer.call(tool));
    for (const reply of await Promise.all(batch)) codes.add(codeOf(reply));
  }
  return codes;
}

describe('refusals without end', () => {
  const { refusalsPerMinute } = AUDIT_LIMITS;
  const echo = readTool('echo', (args) => args);
  const START_OF_MINUTE_MS = START_MS - (START_MS % 60_000);

  test('a revoked client that calls on and on is answered as ever; beyond 600 a minute it is counted, in one record', async () => {
    const peer = await startServer({ tools: [echo] });
    const bob = peer.as(await peer.addClient('bob'));
    await peer.server.revokeClient('agent-a');
    expect(await codesOf(peer, 'echo', refusalsPerMinute + 100)).toEqual(new Set(['forbidden']));
    await bob.call('echo', {}, { request_id: 'of-bob' });
    const calls = callsIn(peer.dir);
    expect(calls).toHaveLength(refusalsPerMinute + 1);
    expect(calls.at(-1)).toMatchObject({ client: 'bob', request_id: 'of-bob', outcome: 'ok' });
    expect(ofType(linesIn(peer.dir), 'refusals')).toEqual([]);
    // The next minute: there is room again, and the last one is told of.
    peer.clock.nowMs += 60_000;
    await peer.call('echo', {}, { request_id: 'later' });
    const lines = linesIn(peer.dir).filter(({ type }) => type !== 'head');
    expect(lines.slice(-2)).toMatchObject([
      { type: 'refusals', client: 'agent-a', count: 100, from_ms: START_OF_MINUTE_MS },
      { type: 'call', request_id: 'later', outcome: 'forbidden' },
    ]);
    expect(await codesOf(peer, 'echo', refusalsPerMinute + 6)).toEqual(new Set(['forbidden']));
    // What was counted since is told of at the end.
    await peer.close();
    const last = linesIn(peer.dir).filter(({ type }) => type !== 'head');
    expect(last.at(-2)).toMatchObject({
      type: 'refusals',
      client: 'agent-a',
      count: 7,
      from_ms: START_OF_MINUTE_MS + 60_000,
    });
    expect(callsIn(peer.dir)).toHaveLength(2 * refusalsPerMinute + 1);
    await expectVerified(openStore({ dir: peer.dir }).audit);
  });

  test('are counted on another wire as well', async () => {
    const peer = await startServer({ tools: [echo] });
    const terms = { callsPerMinute: 1 };
    await peer.server.addClient({ id: 'bob', url: 'http://127.0.0.1:9/call', terms });
    const bob = peer.server.calls.clientNamed('bob');
    if (bob === null) throw new Error('bob is not known');
    const codes = new Set<unknown>();
    for (let n = 0; n < refusalsPerMinute + 11; n++) {
      const call = { requestId: `r-${n}`, tool: 'echo', args: {} };
      const outcome = await peer.server.calls.call(bob, call).catch((error: unknown) => error);
      if (outcome instanceof ProtocolError) codes.add(outcome.code);
    }
    expect(codes).toEqual(new Set(['rate_limited']));
    await peer.close();
    expect(callsIn(peer.dir)).toHaveLength(refusalsPerMinute + 1);
    expect(ofType(linesIn(peer.dir), 'refusals')).toMatchObject([{ client: 'bob', count: 10 }]);
  });

  test('what a tool answers that ran is recorded call by call, whatever its code', async () => {
    const refuse = () => {
      throw new ProtocolError('forbidden', 'not for you');
    };
    const peer = await startServer({ tools: [readTool('refuse', refuse)] });
    expect(await codesOf(peer, 'refuse', refusalsPerMinute + 10)).toEqual(new Set(['forbidden']));
    await peer.close();
    expect(callsIn(peer.dir)).toHaveLength(refusalsPerMinute + 10);
    expect(ofType(linesIn(peer.dir), 'refusals')).toEqual([]);
  });
});

describe('every transition of a job is in the audit', () => {
  test('through retries to its end', async () => {
    let runs = 0;
    const flaky = anyTool(
      'flaky',
      () => {
        if (++runs < 3) throw new ToolError('again', { retryable: true });
        return { runs };
      },
      { job: { attempts: 3, backoffMs: 0 } },
    );
    const peer = await startServer({ tools: [flaky] });
    const id = jobIdOf((await peer.call('flaky')).result);
    let status = 'accepted';
    while (status === 'accepted' || status === 'running') {
      peer.clock.nowMs += 1_000;
      ({ status } = await peer.call('poll_job', { job_id: id, wait_ms: 1_000 }));
    }
    expect(status).toBe('done');
    expect(statesOf(linesIn(peer.dir), id)).toEqual([
      'queued',
      'running 1',
      'queued 1',
      'running 2',
      'queued 2',
      'running 3',
      'succeeded 3',
    ]);
    expect(ofType(linesIn(peer.dir), 'job')[0]).toMatchObject({ client: 'agent-a', tool: 'flaky' });
  });

  test('cancelled: once, however often it is asked for', async () => {
    const wait = jobTool(
      'wait',
      (_, { signal }) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => reject(new Error('aborted')));
        }),
    );
    const peer = await startServer({ tools: [wait] });
    const id = jobIdOf((await peer.call('wait')).result);
    for (let n = 0; n < 3; n++) await peer.call('cancel_job', { job_id: id });
    const states = statesOf(linesIn(peer.dir), id);
    expect(states.filter((state) => state === 'cancelled')).toHaveLength(1);
    expect(states.at(-1)).toBe('cancelled');
  });

  test('given back at shutdown, and taken over by the next process, whose chain links to the last', async () => {
    const dir = tempFolder();
    let isFirst = true;
    const started = gate();
    const work = jobTool('work', (_, { signal }) => {
      started.open();
      if (!isFirst) return { done: true };
      return new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(new Error('aborted')));
      });
    });
    const first = await startServer({ dir, tools: [work] });
    const id = jobIdOf((await first.call('work')).result);
    await started.opened;
    await first.close();
    isFirst = false;
    const clock = createTestClock(START_MS + 1_000);
    const second = await startServer({ dir, clock, tools: [work], credential: first.credential });
    while ((await second.call('poll_job', { job_id: id, wait_ms: 1_000 })).status !== 'done');
    await second.close();
    expect(statesOf(linesIn(dir), id)).toEqual([
      'queued',
      'running 1',
      'queued 1',
      'running 1',
      'succeeded 1',
    ]);
    expect(chainFiles(dir).size).toBe(2);
    await expectVerified(openStore({ dir }).audit);
  });
});

describe.skipIf(!canLimitFiles)('a full disk', () => {
  test('calls are busy and nothing runs; later everything that was acknowledged is there, and every chain holds', async () => {
    let runs = 0;
    const peer = await startServer({ tools: [readTool('echo', () => ({ runs: ++runs }))] });
    const acknowledged: unknown[] = [];
    const send = async (id: string) => {
      const reply = await peer.call('echo', {}, { request_id: id });
      if (reply.ok) acknowledged.push(id);
      return reply;
    };
    for (let n = 0; n < 20; n++) await send(`before-${n}`);
    const [size] = [...chainFiles(peer.dir).values()].map((text) => Buffer.byteLength(text));
    // Room for two records and a half.
    const allow = limitFiles((size ?? 0) + 1_000);
    for (let n = 0; n < 20; n++) await Promise.all([send(`full-${n}-a`), send(`full-${n}-b`)]);
    // Now and then one runs, and is busy all the same: it finds out whether the store can be written again.
    let [ran, isRefused] = [0, false];
    while (!isRefused) {
      ran = runs;
      const reply = await send('full');
      expect([codeOf(reply), reply.result]).toEqual(['busy', { retry_after_ms: 1_000 }]);
      isRefused = runs === ran;
    }
    allow();
    // Once the time is over in which nobody asks the store.
    while (codeOf(await send('after')) === 'busy') await new Promise((resolve) => setTimeout(resolve, 50));
    await peer.close();
    const there = callsIn(peer.dir).map((line) => line['request_id']);
    expect(there).toEqual(expect.arrayContaining(acknowledged));
    expect(acknowledged).toContain('after');
    expect(acknowledged).not.toContain('full');
    await expectVerified(openStore({ dir: peer.dir }).audit);
  });
});

const SERVER = `
  import { defineTool } from 'DIST/tools/index.js';
  import { createServer, listen } from 'DIST/transports/index.js';
  import { z } from 'zod';
  const [dir] = process.argv.slice(-1);
  const any = z.record(z.string(), z.unknown());
  const echo = { name: 'echo', description: 'd', input: any, output: any, run: async (args) => args };
  const tools = [
    defineTool({ ...echo, annotations: { readOnlyHint: true } }),
    defineTool({ ...echo, name: 'pay' }),
    defineTool({ ...echo, name: 'work', job: true }),
    defineTool({ ...echo, name: 'hang', job: { attempts: 2, backoffMs: 0 }, run: () => new Promise(() => {}) }),
  ];
  const server = await createServer({ tools, store: 'sqlite:' + dir, serverId: 'srv-1' });
  const { url } = await listen(server);
  console.log(url);
  console.log(JSON.stringify(await server.addClient({ id: 'agent-a', url }).catch(() => null)));
`;

describe('kill -9 under load', () => {
  test('every reply that a client received is in the audit, the chains hold, and each start links to the last', async () => {
    const dir = tempFolder();
    const received: { readonly id: string; readonly reply: string; readonly request: string }[] = [];
    let caller: Caller | null = null;
    for (let kill = 0; kill < 3; kill++) {
      const child = runChild(SERVER, [dir]);
      const url = await child.line();
      const credential = JSON.parse(await child.line()) as Credential | null;
      if (credential !== null) caller = createCaller(credential);
      if (caller === null) throw new Error('no client');
      const { request, send } = caller;
      let isAlive = true;
      let count = 0;
      const lanes = Array.from({ length: 16 }, async (_, lane) => {
        const tool = ['echo', 'pay', 'work', 'list_jobs'][lane % 4] ?? '';
        while (isAlive) {
          const bytes = request(tool, tool === 'list_jobs' ? { limit: 1 } : { lane });
          const answer = await send(url, bytes).catch(nullIfNoReply);
          if (answer === null) return;
          const { signature: _signature, ...message } = answer.message;
          const wire = bytes.toString();
          const { request_id: id } = JSON.parse(wire) as RequestMessage;
          received.push({ id, reply: digest(canonicalText(message)), request: digest(signedTextOf(wire)) });
          if (++count === 150) {
            isAlive = false;
            child.process.kill('SIGKILL');
          }
        }
      });
      await Promise.all(lanes);
      expect(await child.exited).toBe('SIGKILL');
    }
    const found = new Map(callsIn(dir).map((line) => [line['request_id'], line]));
    const missing = received.filter(({ id, reply, request }) => {
      const line = found.get(id);
      return line?.['reply'] !== reply || line['request'] !== request;
    });
    expect(missing).toEqual([]);
    expect(received.length).toBeGreaterThanOrEqual(450);
    const { audit } = openStore({ dir });
    await expectVerified(audit);
    const chains = await readAll(audit);
    expect(chains.map(([first]) => first?.['links'])).toMatchObject(
      [0, 1, 2].map((n) => (n === 0 ? [] : [{ seq: chains[n - 1]?.at(-1)?.['seq'] }])),
    );
  }, 60_000);
});

test('a job whose process was killed is begun again by the next one, as its second attempt', async () => {
  const dir = tempFolder();
  const child = runChild(SERVER, [dir]);
  const url = await child.line();
  const { request, send, credential } = createCaller(JSON.parse(await child.line()) as Credential);
  const id = jobIdOf((await send(url, request('hang', {}))).message.result);
  while ((await send(url, request('poll_job', { job_id: id }))).message.status !== 'running');
  child.process.kill('SIGKILL');
  await child.exited;
  const hang = anyTool('hang', () => ({ done: true }), { job: { attempts: 2, backoffMs: 0 } });
  const clock = createTestClock(Date.now());
  const peer = await startServer({ dir, clock, tools: [hang], credential });
  while ((await peer.call('poll_job', { job_id: id, wait_ms: 1_000 })).status !== 'done');
  expect(statesOf(linesIn(dir), id)).toEqual(['queued', 'running 1', 'running 2', 'succeeded 2']);
});

describe('PostgreSQL', { tags: ['postgres'] }, () => {
  test('two replicas and a worker write a chain each; a job is in those that had to do with it, and all hold', async () => {
    const store = await postgresUrl();
    const shared = {
      store,
      tools: [jobTool('work', () => ({ n: 1 }))],
      masterKey: generateSecret(),
      now: Date.now,
    };
    const a = await startServer({ ...shared, worker: false });
    const b = await startServer({ ...shared, worker: false, credential: a.credential });
    const worker = await createWorker({ ...shared, serverId: 'srv-1', log: createTestLog() });
    onTestFinished(() => worker.close());
    const at = { ts_ms: Date.now() };
    const id = jobIdOf((await a.call('work', {}, at)).result);
    let status = '';
    while (status !== 'done')
      ({ status } = await b.call('poll_job', { job_id: id, wait_ms: 5_000 }, { ts_ms: Date.now() }));
    await Promise.all([worker.close(), a.close(), b.close()]);
    const { openPostgresClients } = await import('../../src/store/postgres/open.ts');
    const beside = await openPostgresClients({ url: store, log: createTestLog() });
    onTestFinished(() => beside.close());
    const chains = await readAll(beside.audit);
    expect(chains).toHaveLength(3);
    const sorted = chains.map((lines) => [
      statesOf(lines, id),
      ofType(lines, 'call').map(({ tool }) => tool),
    ]);
    expect(sorted).toEqual(
      expect.arrayContaining([
        [['queued'], ['work']],
        [['running 1', 'succeeded 1'], []],
        [[], expect.arrayContaining(['poll_job'])],
      ]),
    );
    expect(chains.map((lines) => lines.at(-1)?.['type'])).toEqual(['close', 'close', 'close']);
    await expectVerified(beside.audit);
  });
});
