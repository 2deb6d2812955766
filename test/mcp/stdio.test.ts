import { PassThrough, Writable } from 'node:stream';
import { describe, expect, onTestFinished, test } from 'vitest';
import { MESSAGE_LIMITS, STDIO_LIMITS } from '../../src/limits.ts';
import { localBackends } from '../../src/mcp/local.ts';
import { LEGACY, META, MODERN } from '../../src/mcp/protocol.ts';
import { serveMcpStdio } from '../../src/mcp/stdio.ts';
import type { JsonObject } from '../../src/wire/index.ts';
import { aborted, gate } from '../support/gate.ts';
import {
  jobTool,
  readTool,
  startServer,
  type TestServer,
  type TestServerOptions,
} from '../support/server.ts';
import { bodyOf, type Message, type Sent, WITH_TASKS } from './face.ts';

const echo = readTool('echo', (args) => args);
const INITIALIZE = {
  jsonrpc: '2.0',
  id: 'init',
  method: 'initialize',
  params: { protocolVersion: LEGACY[0], capabilities: {}, clientInfo: { name: 'host', version: '1' } },
};

interface Host {
  readonly peer: TestServer;
  readonly input: PassThrough;
  /** One request of 2026-07-28. */
  ask(id: string | number, method: string, params?: JsonObject, sent?: Sent): void;
  /** One message as it is. */
  say(message: object | string): void;
  /** All that has come; each line was a JSON-RPC message. */
  readonly heard: readonly Message[];
  /** The response to a request, once it is there. */
  answerTo(id: string | number): Promise<Message>;
  readonly served: Promise<void>;
}

interface HostOptions extends TestServerOptions {
  readonly waitMs?: number;
  readonly output?: Writable;
}

async function connect({ waitMs = 30_000, output, ...options }: HostOptions = {}): Promise<Host> {
  const peer = await startServer({ tools: [echo], now: Date.now, ...options });
  const { calls, serverId } = peer.server;
  const client = calls.clientNamed('agent-a');
  if (client === null) throw new Error('the client is not there');
  const input = new PassThrough();
  const heard: Message[] = [];
  const reader = new PassThrough();
  let text = '';
  reader.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
    const lines = text.split('\n');
    text = lines.pop() ?? '';
    // Throws, and fails the test, for whatever is no JSON.
    heard.push(...lines.map((line) => JSON.parse(line)));
  });
  const { draining } = calls;
  const served = serveMcpStdio(localBackends(calls, serverId)(client), {
    input,
    output: output ?? reader,
    waitMs,
    log: peer.log,
    draining,
  });
  onTestFinished(() => {
    input.end();
    return served;
  });
  const say = (message: object | string) =>
    void input.write(`${typeof message === 'string' ? message : JSON.stringify(message)}\n`);
  return {
    peer,
    input,
    heard,
    served,
    say,
    ask: (id, method, params, sent) => say(bodyOf(method, params, { ...sent, id })),
    async answerTo(id) {
      const find = () => heard.find((message) => message.id === id);
      await expect.poll(find).toBeDefined();
      return find();
    },
  };
}

const cancelled = (requestId: unknown) => ({
  jsonrpc: '2.0',
  method: 'notifications/cancelled',
  params: { requestId },
});
const olderCall = (id: string | number, name: string, more: object = {}) => ({
  jsonrpc: '2.0',
  id,
  method: 'tools/call',
  params: { name, arguments: {}, ...more },
});

describe('both revisions on one connection', () => {
  test('each request is answered as what it says it is', async () => {
    const host = await connect();
    host.ask(1, 'server/discover');
    host.say(INITIALIZE);
    host.say({ jsonrpc: '2.0', method: 'notifications/initialized' });
    host.say({ jsonrpc: '2.0', id: 2, method: 'tools/list' });
    host.ask(3, 'tools/list');
    host.say(olderCall(4, 'echo', { arguments: { a: 1 } }));
    host.ask(5, 'tools/call', { name: 'echo', arguments: { a: 1 } });
    expect((await host.answerTo(1)).result.supportedVersions).toContain(MODERN);
    expect((await host.answerTo('init')).result.protocolVersion).toBe(LEGACY[0]);
    expect((await host.answerTo(2)).result).not.toHaveProperty('resultType');
    expect((await host.answerTo(3)).result.resultType).toBe('complete');
    expect((await host.answerTo(4)).result.structuredContent).toEqual({ a: 1 });
    expect((await host.answerTo(5)).result.structuredContent).toEqual({ a: 1 });
    expect(host.heard).toHaveLength(6);
  });

  test('a version that nobody speaks is told those that are', async () => {
    const host = await connect();
    host.say({
      jsonrpc: '2.0',
      id: 1,
      method: 'tools/list',
      params: { _meta: { [META.protocolVersion]: '1900-01-01' } },
    });
    expect((await host.answerTo(1)).error).toMatchObject({
      code: -32_022,
      data: { requested: '1900-01-01' },
    });
  });

  test('a quick call does not wait for a slow one', async () => {
    const stay = gate();
    const slow = readTool('slow', () => stay.opened.then(() => ({})));
    const host = await connect({ tools: [echo, slow] });
    host.ask(1, 'tools/call', { name: 'slow' });
    host.say(olderCall(2, 'slow'));
    host.ask(3, 'tools/call', { name: 'echo' });
    host.say(olderCall(4, 'echo'));
    await host.answerTo(3);
    await host.answerTo(4);
    expect(host.heard.map(({ id }) => id).toSorted((a, b) => a - b)).toEqual([3, 4]);
    stay.open();
    await host.answerTo(1);
    await host.answerTo(2);
  });

  test('headers are not asked for', async () => {
    const host = await connect();
    host.ask(1, 'tools/call', { name: 'echo', arguments: { a: 'ü' } });
    expect((await host.answerTo(1)).result.structuredContent).toEqual({ a: 'ü' });
  });
});

describe('lines that are no messages', () => {
  test.each([
    ['no JSON', 'hello', -32_700],
    ['half a message', '{"jsonrpc":"2.0","id":1', -32_700],
    ['a batch', '[{"jsonrpc":"2.0","id":1,"method":"ping"}]', -32_600],
    ['another protocol', '{"id":1,"method":"ping"}', -32_600],
    ['JSON that is too deep', '['.repeat(100), -32_600],
    ['a line that is too long', `"${'x'.repeat(MESSAGE_LIMITS.maxMessageBytes)}"`, -32_600],
    [
      'a _meta that no revision knows',
      '{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":5}}',
      -32_600,
    ],
    [
      'a lone surrogate',
      String.raw`{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":"\ud800"}}`,
      -32_600,
    ],
  ])('%s: an error, and the next is answered', async (_what, line, code) => {
    const host = await connect();
    host.say(line);
    host.ask('next', 'tools/list');
    await host.answerTo('next');
    await expect.poll(() => host.heard.length).toBe(2);
    expect(host.heard.find(({ error }) => error !== undefined).error.code).toBe(code);
  });

  test('bytes that are no UTF-8', async () => {
    const host = await connect();
    host.input.write(Buffer.from([0x22, 0xff, 0x22, 0x0a]));
    await expect.poll(() => host.heard.map(({ error }) => error.code)).toEqual([-32_700]);
  });

  test('empty lines and responses that nobody asked for are passed over', async () => {
    const host = await connect();
    host.say('');
    host.say({ jsonrpc: '2.0', id: 9, result: {} });
    host.ask('next', 'tools/list');
    await host.answerTo('next');
    expect(host.heard).toHaveLength(1);
  });
});

describe('cancelling', () => {
  /** A tool that tells when it runs and why it was stopped. */
  function deafTool() {
    const begun = gate();
    const reason = gate<unknown>();
    const tool = readTool('deaf', async (_args, { signal, progress }) => {
      begun.open();
      reason.open(await aborted(signal));
      progress({ completed: 1 });
      return {};
    });
    return { begun, reason, tool };
  }

  test.each([
    [
      'the newer revision',
      (host: Host) => host.ask(1, 'tools/call', { name: 'deaf' }, { progressToken: 'p' }),
    ],
    ['an older one', (host: Host) => host.say(olderCall(1, 'deaf', { _meta: { progressToken: 'p' } }))],
  ])('a request of %s stops its tool, and nothing more is said of it', async (_era, call) => {
    const { begun, reason, tool } = deafTool();
    const host = await connect({ tools: [tool] });
    call(host);
    await begun.opened;
    host.say(cancelled(1));
    expect(await reason.opened).toMatchObject({ code: 'cancelled' });
    host.ask('next', 'tools/list');
    await host.answerTo('next');
    expect(host.heard).toHaveLength(1);
    await expect.poll(() => host.peer.server.stats().callsInFlight).toBe(0);
    host.input.end();
    await host.served;
  });

  test('a host without Tasks that cancels ends its job', async () => {
    const begun = gate();
    const reason = gate<unknown>();
    const held = jobTool('held', async (_args, { signal }) => {
      begun.open();
      reason.open(await aborted(signal));
      return {};
    });
    const host = await connect({ tools: [held] });
    host.say(olderCall(1, 'held'));
    await begun.opened;
    host.say(cancelled(1));
    expect(await reason.opened).toMatchObject({ code: 'cancelled' });
  });

  test('what is not there, or is nothing, is passed over', async () => {
    const host = await connect();
    for (const id of [1, '1', null, {}, undefined]) host.say(cancelled(id));
    host.ask('next', 'tools/list');
    await host.answerTo('next');
    expect(host.heard).toHaveLength(1);
  });

  test('1 and "1" are two requests', async () => {
    const { begun, tool } = deafTool();
    const host = await connect({ tools: [tool, echo] });
    host.ask(1, 'tools/call', { name: 'deaf' });
    await begun.opened;
    host.say(cancelled('1'));
    host.ask('next', 'tools/call', { name: 'echo' });
    await host.answerTo('next');
    expect(host.peer.server.stats().callsInFlight).toBe(1);
    host.say(cancelled(1));
    await expect.poll(() => host.peer.server.stats().callsInFlight).toBe(0);
  });
});

describe('progress', () => {
  test.each([
    [
      'of the newer revision',
      (host: Host) => host.ask(1, 'tools/call', { name: 'late' }, { progressToken: 'p' }),
    ],
    ['of an older one', (host: Host) => host.say(olderCall(1, 'late', { _meta: { progressToken: 'p' } }))],
  ])('%s stops with the answer, whatever the tool still tells', async (_era, call) => {
    const stay = gate();
    const told = gate();
    const late = readTool('late', async (_args, { progress }) => {
      progress({ completed: 1 });
      await stay.opened;
      progress({ completed: 2 });
      told.open();
      return {};
    });
    const host = await connect({ tools: [late], directTimeoutMs: 50 });
    call(host);
    expect((await host.answerTo(1)).error.data).toEqual({ code: 'deadline_exceeded' });
    stay.open();
    await told.opened;
    host.ask('next', 'tools/list');
    await host.answerTo('next');
    expect(host.heard.map(({ method, id }) => method ?? id)).toEqual(['notifications/progress', 1, 'next']);
  });

  test('is dropped for a host that does not read, and answers are not', async () => {
    const held: (() => void)[] = [];
    const written: string[] = [];
    let isReading = false;
    const output = new Writable({
      highWaterMark: 1_024,
      write(chunk: Buffer, _encoding, done) {
        written.push(String(chunk));
        if (isReading) done();
        else held.push(done);
      },
    });
    const chatty = readTool('chatty', async (_args, { progress }) => {
      for (let i = 0; i < 20_000; i++) progress({ completed: i, message: 'x'.repeat(100) });
      await new Promise(setImmediate);
      return { done: true };
    });
    const host = await connect({ tools: [chatty], output });
    host.ask(1, 'tools/call', { name: 'chatty' }, { progressToken: 'p' });
    await expect.poll(() => output.writableLength).toBeGreaterThan(1_024);
    await expect.poll(() => host.peer.server.stats().callsInFlight).toBe(0);
    expect(output.writableLength).toBeLessThan(100_000);
    isReading = true;
    for (const done of held) done();
    await expect.poll(() => written.at(-1)).toContain('"done":true');
  });
});

describe('tasks', () => {
  test('are created, followed and cancelled', async () => {
    const held = jobTool('held', async (_args, { signal }) => {
      await aborted(signal);
      return {};
    });
    const host = await connect({ tools: [held] });
    const sent = { capabilities: WITH_TASKS };
    host.ask(1, 'tools/call', { name: 'held' }, sent);
    const { taskId } = (await host.answerTo(1)).result;
    host.ask('sub', 'subscriptions/listen', { notifications: { taskIds: [taskId] } }, sent);
    const statuses = () =>
      host.heard.filter(({ method }) => method === 'notifications/tasks').map(({ params }) => params.status);
    await expect.poll(statuses).toContain('working');
    host.ask(2, 'tasks/cancel', { taskId }, sent);
    await host.answerTo(2);
    await expect.poll(statuses).toContain('cancelled');
    host.say(cancelled('sub'));
    host.ask('next', 'tools/list');
    await host.answerTo('next');
    expect(host.heard.some(({ id }) => id === 'sub')).toBe(false);
  });

  test('a subscription ends with its response when the server closes', async () => {
    const host = await connect();
    host.ask('sub', 'subscriptions/listen', {}, { capabilities: WITH_TASKS });
    await expect.poll(() => host.heard.length).toBe(1);
    await host.peer.close();
    expect((await host.answerTo('sub')).result).toEqual({
      resultType: 'complete',
      _meta: { [META.subscriptionId]: 'sub' },
    });
  });
});

/** On a busy machine the answers of a test that are nearly there may be far away. */
function giveTime(): void {
  const before = STDIO_LIMITS.lastAnswersMs;
  // Not frozen, only typed so.
  const limits = STDIO_LIMITS as { lastAnswersMs: number };
  limits.lastAnswersMs = 30_000;
  onTestFinished(() => void (limits.lastAnswersMs = before));
}

describe('the end', () => {
  test('of the input lets answers out that are nearly there', async () => {
    const soon = readTool('soon', async () => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      return { done: true };
    });
    giveTime();
    const host = await connect({ tools: [soon, echo] });
    host.say(INITIALIZE);
    host.say(olderCall(1, 'soon'));
    host.ask(2, 'tools/call', { name: 'soon' });
    host.input.end(bodyOf('tools/list', {}, { id: 3 }));
    await host.served;
    expect(new Set(host.heard.map(({ id }) => id))).toEqual(new Set([1, 2, 3, 'init']));
  });

  test.each([
    ['the newer revision', (host: Host) => host.ask(1, 'tools/call', { name: 'deaf' })],
    ['an older one', (host: Host) => host.say(olderCall(1, 'deaf'))],
  ])('of the input cancels what runs of %s', async (_era, call) => {
    const begun = gate();
    const reason = gate<unknown>();
    const deaf = readTool('deaf', async (_args, { signal }) => {
      begun.open();
      reason.open(await aborted(signal));
      return {};
    });
    const host = await connect({ tools: [deaf] });
    call(host);
    await begun.opened;
    host.input.end();
    await host.served;
    expect(await reason.opened).toMatchObject({ code: 'cancelled' });
    expect(host.heard).toEqual([]);
  });

  test('of the input ends the jobs of hosts without Tasks, and no task', async () => {
    let begun = 0;
    const held = jobTool('held', async (_args, { signal }) => {
      begun++;
      await aborted(signal);
      return {};
    });
    const host = await connect({ tools: [held] });
    host.ask(1, 'tools/call', { name: 'held' }, { capabilities: WITH_TASKS });
    const { taskId } = (await host.answerTo(1)).result;
    host.ask(2, 'tools/call', { name: 'held' });
    await expect.poll(() => begun).toBe(2);
    host.input.end();
    await host.served;
    const { result } = await host.peer.call('list_jobs', {}, { ts_ms: Date.now() });
    const jobs = result?.['jobs'] as { job_id: string; status: string }[];
    expect(jobs.map(({ job_id, status }) => [job_id === taskId, status])).toEqual([
      [false, 'cancelled'],
      [true, 'running'],
    ]);
  });

  test('of the output is the end of the host', async () => {
    const output = new PassThrough();
    const host = await connect({ output });
    output.destroy();
    host.ask(1, 'tools/list');
    host.ask(2, 'tools/list');
    expect(await host.served).toBeUndefined();
  });
});

describe('a host that does not read', () => {
  test('is not read from either; when it reads, all answers are there', async () => {
    const output = new PassThrough({ highWaterMark: 1_024 });
    let calls = 0;
    const counted = readTool('counted', () => ({ n: ++calls, text: 'x'.repeat(1_000) }));
    const host = await connect({ tools: [counted], output });
    for (let i = 0; i < 500; i++) host.ask(i, 'tools/call', { name: 'counted' });
    await expect.poll(() => calls).toBeGreaterThan(0);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(calls).toBeLessThan(500);
    let text = '';
    output.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    host.input.end();
    await host.served;
    await expect.poll(() => text.split('\n').length - 1).toBe(500);
  });
});
