import { spawn } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { createClient } from '../../src/client/index.ts';
import type { JsonObject } from '../../src/wire/index.ts';
import { bodyOf, type Message, openAt, type Sent, WITH_TASKS } from '../mcp/face.ts';
import { reservePlace } from '../support/services/keeper.ts';
import { postgresUrl } from '../support/services/shared.ts';
import { storeFolder, tempFolder } from '../support/temp.ts';
import { assertWrongUse, type Ended, type Running, serve, start, watch, waybill } from './waybill.ts';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

/** Far above what anything here takes, so that a busy machine fails nothing. */
const BUSY = { timeout: 20_000 };

/** `hold` ends when there is a file. */
const TOOLS = `
  import { appendFileSync, existsSync } from 'node:fs'; import { setTimeout } from 'node:timers/promises';
  import { defineTool } from 'waybill'; import { z } from 'zod';
  export default [
    defineTool({
      name: 'who', description: 'Says who calls.', input: z.object({}), output: z.object({ client: z.string() }),
      run: (_args, { clientId }) => ({ client: clientId }),
    }),
    defineTool({
      name: 'hold', description: 'Waits for a file.', job: { backoffMs: 10 },
      input: z.object({ file: z.string() }), output: z.object({ pid: z.int() }),
      run: async ({ file }, { signal, progress }) => {
        appendFileSync('begun', file + '\\n');
        progress({ completed: 1 });
        while (!existsSync(file)) await setTimeout(20, null, { signal });
        return { pid: process.pid };
      },
    }),
    defineTool({
      name: 'late', description: 'Breaks its process.', input: z.object({}), output: z.object({}),
      run: () => { setImmediate(() => { throw new Error('too late'); }); return new Promise(() => {}); },
    }),
  ];`;

/** Says a good deal, in each of the ways to do so. */
const NOISY = `
  import { defineTool } from 'waybill'; import { z } from 'zod';
  const speak = (what) => { console.log(what); process.stdout.write(what + ', by hand\\n'); };
  speak('loaded');
  export default defineTool({
    name: 'speak', description: 'Speaks.', input: z.object({}), output: z.object({}),
    run: () => { speak('called'); return {}; },
  });`;

/** A folder with the tools above. */
function folder(): string {
  const cwd = tempFolder();
  writeFileSync(join(cwd, 'tools.mjs'), TOOLS);
  return cwd;
}

/** `waybill mcp` as a host runs it. */
interface Host extends Running {
  /** One line; the response with its id. */
  ask(message: JsonObject & { readonly id: number }): Promise<Message>;
  say(message: object): void;
  /** One request of 2026-07-28; its response. */
  modern(method: string, params: JsonObject, sent?: Sent): Promise<Message>;
  /** A call of 2025-11-25; its response. */
  call(name: string, args?: JsonObject): Promise<Message>;
  /** All that has come so far; fails for a line that is no message. */
  heard(): readonly Message[];
  /** The host closes its end. */
  leave(): Promise<Ended>;
}

function host(cwd: string, ...args: readonly string[]): Host {
  const child = spawn(process.execPath, [MAIN, 'mcp', 'tools.mjs', ...args], { cwd });
  const running = watch(child);
  let id = 0;
  const heard = () =>
    running.output.stdout
      .split('\n')
      .slice(0, -1)
      .map((line): Message => JSON.parse(line));
  const ask: Host['ask'] = async (message) => {
    child.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
    const find = () => heard().find((each) => each.id === message.id);
    await expect.poll(find, BUSY).toBeDefined();
    return find();
  };
  return {
    ...running,
    ask,
    heard,
    say: (message) => void child.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`),
    modern: (method, params, sent = {}) =>
      ask(JSON.parse(bodyOf(method, params, { capabilities: WITH_TASKS, ...sent, id: ++id }))),
    call: (name, given = {}) => ask({ id: ++id, method: 'tools/call', params: { name, arguments: given } }),
    leave() {
      child.stdin.end();
      return running.ended;
    },
  };
}

async function startTask(one: Host, file: string): Promise<string> {
  const { result } = await one.modern('tools/call', { name: 'hold', arguments: { file } });
  expect(result).toMatchObject({ resultType: 'task', status: 'working' });
  return result.taskId;
}

const taskOf = async (one: Host, taskId: string): Promise<Message> =>
  (await one.modern('tasks/get', { taskId })).result;
const expectTask = (one: Host, taskId: string) => expect.poll(() => taskOf(one, taskId), BUSY);
/** Resolves when `hold` runs with this file. */
const begun = (cwd: string, file: string) =>
  expect
    .poll(() => readFileSync(join(cwd, 'begun'), { encoding: 'utf8', flag: 'a+' }), BUSY)
    .toContain(`${file}\n`);
const touch = (cwd: string, file: string) => writeFileSync(join(cwd, file), '');
const messagesOf = ({ stderr }: Ended) =>
  stderr
    .trimEnd()
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line): string => JSON.parse(line).message);

describe('waybill mcp', () => {
  test('serves hosts of both revisions; only messages are on stdout, whatever the module prints', async () => {
    const cwd = folder();
    writeFileSync(join(cwd, 'tools.mjs'), NOISY);
    const one = host(cwd);
    const params = {
      protocolVersion: '2025-11-25',
      capabilities: {},
      clientInfo: { name: 'h', version: '1' },
    };
    expect((await one.ask({ id: 100, method: 'initialize', params })).result).toMatchObject({
      protocolVersion: '2025-11-25',
      serverInfo: { name: 'waybill' },
    });
    one.say({ method: 'notifications/initialized' });
    expect((await one.call('speak')).result.structuredContent).toEqual({});
    expect((await one.modern('server/discover', {})).result.supportedVersions).toContain('2026-07-28');
    expect((await one.modern('tools/call', { name: 'speak' })).result.resultType).toBe('complete');
    const ended = await one.leave();
    expect(ended.code).toBe(0);
    expect(one.heard()).toHaveLength(4);
    expect(ended.stderr.match(/^(loaded|called)(, by hand)?$/gm)).toHaveLength(6);
    expect(messagesOf(ended).at(-1)).toBe('stopped');
  });

  test('answers what was piped in before it ends', async () => {
    const cwd = folder();
    const line = (id: number) =>
      JSON.stringify({ jsonrpc: '2.0', id, method: 'tools/call', params: { name: 'who' } });
    // Where the data waits for no disk: an answer must be nearly there when the input ends.
    const args = ['mcp', 'tools.mjs', '--data', join(storeFolder(), 'd')];
    const { code, stdout } = await waybill(args, { cwd, stdin: `${line(1)}\n${line(2)}\n` });
    expect(code).toBe(0);
    const lines = stdout.trimEnd().split('\n');
    expect(new Set(lines.map((each): number => JSON.parse(each).id))).toEqual(new Set([1, 2]));
  });

  test('acts as the client of --client, which is made or stays as it is', async () => {
    const cwd = folder();
    await waybill(['clients', 'add', 'alice', '--out', 'alice.json'], { cwd });
    const list = async () => (await waybill(['clients', 'list', '--json'], { cwd })).stdout;
    const before = JSON.parse(await list()).clients;
    for (const [args, client] of [
      [['--client', 'alice'], 'alice'],
      [['--client', 'me'], 'me'],
    ] as const) {
      const one = host(cwd, ...args);
      expect((await one.call('who')).result.structuredContent).toEqual({ client });
      expect((await one.leave()).code).toBe(0);
    }
    const { clients } = JSON.parse(await list());
    expect(clients).toEqual([...before, expect.objectContaining({ client_id: 'me', tokens: 0 })]);
    vi.stubEnv('WAYBILL_CLIENT', 'of-env');
    onTestFinished(() => void vi.unstubAllEnvs());
    expect((await host(cwd).call('who')).result.structuredContent).toEqual({ client: 'of-env' });
  });

  test('waits --wait-ms for a job, then answers with its id; poll_job has the result', async () => {
    const cwd = folder();
    const one = host(cwd, '--wait-ms', '0');
    const { result } = await one.call('hold', { file: 'go' });
    expect(result.structuredContent).toMatchObject({ job_id: expect.stringMatching(/^job_/) });
    touch(cwd, 'go');
    const { job_id } = result.structuredContent;
    await expect
      .poll(async () => (await one.call('poll_job', { job_id })).result.structuredContent, BUSY)
      .toEqual({ pid: one.child.pid });
  });
});

describe('a job of waybill mcp', () => {
  test.each([
    ['closes stdin', (one: Host) => one.leave()],
    [
      'kills it',
      (one: Host) => {
        one.child.kill('SIGKILL');
        return one.ended;
      },
    ],
  ])('is completed by the next start when its host %s', async (_how, end) => {
    const cwd = folder();
    const first = host(cwd);
    const taskId = await startTask(first, 'go');
    await begun(cwd, 'go');
    await end(first);
    touch(cwd, 'go');
    const second = host(cwd);
    await expectTask(second, taskId).toMatchObject({
      status: 'completed',
      result: { structuredContent: { pid: second.child.pid } },
    });
    expect((await second.leave()).code).toBe(0);
  });

  test('that a call waits for is told of at SIGTERM, and completed by the next start', async () => {
    const cwd = folder();
    const first = host(cwd);
    const waiting = first.call('hold', { file: 'go' });
    await begun(cwd, 'go');
    first.child.kill('SIGTERM');
    const { job_id } = (await waiting).result.structuredContent;
    const { code, ...ended } = await first.ended;
    expect({ code, last: messagesOf({ code, ...ended }).at(-1) }).toEqual({ code: 0, last: 'stopped' });
    touch(cwd, 'go');
    const second = host(cwd);
    await expect
      .poll(async () => (await second.call('poll_job', { job_id, wait_ms: 1_000 })).result, BUSY)
      .toMatchObject({ structuredContent: { pid: second.child.pid } });
  });

  test('that a call waits for is cancelled when its host closes stdin: nobody was told its id', async () => {
    const cwd = folder();
    await waybill(['clients', 'add', 'alice', '--out', 'alice.json'], { cwd });
    const one = host(cwd, '--client', 'alice');
    one.say({ id: 100, method: 'tools/call', params: { name: 'hold', arguments: { file: 'waited-for' } } });
    const task = await startTask(one, 'task');
    for (const file of ['waited-for', 'task']) await begun(cwd, file);
    await one.leave();
    const { url } = await serve(cwd, 'tools.mjs');
    const credential = JSON.parse(readFileSync(join(cwd, 'alice.json'), 'utf8'));
    const jobs = [];
    for await (const { job_id, status } of createClient({ ...credential, url }).jobs())
      jobs.push([job_id === task, status]);
    expect(jobs).toContainEqual([false, 'cancelled']);
    expect(jobs).not.toContainEqual([true, 'cancelled']);
  });
});

describe('waybill mcp for two hosts at once', () => {
  test('on one folder: the second is told what to do, and the first goes on', async () => {
    const cwd = folder();
    const first = host(cwd);
    await first.call('who');
    const second = await waybill(['mcp'], { cwd });
    assertWrongUse(second, /\.waybill belongs to another running server: .*--data/);
    expect((await first.call('who')).result.structuredContent).toEqual({ client: 'local' });
  });

  test('on one PostgreSQL: they share clients and jobs', {
    tags: ['postgres'],
    timeout: 90_000,
  }, async () => {
    const cwd = folder();
    writeFileSync(join(cwd, 'store.url'), await postgresUrl(), { mode: 0o600 });
    // Both at once: each makes the tables, and the client, unless the other was faster.
    const hosts = Array.from({ length: 3 }, () => host(cwd, '--store-file', 'store.url'));
    for (const answer of await Promise.all(hosts.map((one) => one.call('who'))))
      expect(answer.result.structuredContent).toEqual({ client: 'local' });
    const [first, second] = hosts as [Host, Host, Host];
    const taskId = await startTask(first, 'go');
    await expectTask(second, taskId).toMatchObject({ status: 'working', statusMessage: '1' });
    touch(cwd, 'go');
    await expectTask(second, taskId).toMatchObject({ status: 'completed' });
    for (const { code } of await Promise.all(hosts.map((one) => one.leave()))) expect(code).toBe(0);
  });
});

describe('waybill mcp ends', () => {
  test.each(['SIGTERM', 'SIGINT'] as const)('with exit code 0 at %s', async (signal) => {
    const one = host(folder());
    await one.call('who');
    one.child.kill(signal);
    expect(await one.ended).toMatchObject({ code: 0 });
  });

  test('with exit code 3 and one line for a fault of its module', async () => {
    const one = host(folder());
    one.say({ id: 1, method: 'tools/call', params: { name: 'late' } });
    const { code, stdout, stderr } = await one.ended;
    expect({ code, stdout }).toEqual({ code: 3, stdout: '' });
    expect(stderr).toMatch(
      /^waybill: unexpected: too late; this is a fault in waybill or in your module: .*\n$/m,
    );
  });

  test.each([
    ['there is none', ['none.mjs'], /there is no module none\.mjs/],
    ['it throws', ['throws.mjs'], /module throws\.mjs cannot be loaded: no such luck/],
    ['it has no tool', ['empty.mjs'], /module empty\.mjs exports no tool/],
    [
      'a host could not be told of its tool',
      ['marked.mjs'],
      /module marked\.mjs: tool marked: x-mcp-header of a: only strings, integers and booleans/,
    ],
    ['of an id', ['--client', 'a b'], /must be 1-128 of A-Z/],
    ['of a time', ['--wait-ms', '-1'], /must be a whole number from 0/],
    ['of two stores', ['--data', 'd', '--store', 'postgres://x/y'], /are both set/],
  ])('with exit code 2, before anything is made, because %s', async (_why, args, said) => {
    const cwd = tempFolder();
    const use = `import { defineTool } from 'waybill'; import { z } from 'zod';`;
    const marked = `input: z.object({ a: z.number().meta({ 'x-mcp-header': 'A' }) }), output: z.object({})`;
    const modules = {
      'throws.mjs': `throw new Error('no such luck');`,
      'empty.mjs': 'export default [];',
      'marked.mjs': `${use} export default defineTool({ name: 'marked', description: 'd', ${marked}, run: () => ({}) });`,
    };
    for (const [name, text] of Object.entries(modules)) writeFileSync(join(cwd, name), text);
    assertWrongUse(await waybill(['mcp', ...args], { cwd }), said);
    expect(existsSync(join(cwd, '.waybill'))).toBe(false);
  });
});

const portOf = (url: string): number => Number(new URL(url).port);

async function statusOf(port: number, sent: Sent = {}): Promise<number> {
  const stream = await openAt(port, 'tools/list', {}, sent);
  await stream.rest();
  return stream.status;
}

describe('waybill serve, of /mcp', () => {
  test.each([
    [
      ['--mcp-anonymous', 'local', '--host', '0.0.0.0'],
      /--mcp-anonymous lets everybody in who reaches 0\.0\.0\.0/,
    ],
    [['--mcp-anonymous', 'local', '--host', '192.168.1.4'], /loopback --host only/],
    [['--mcp-anonymous', 'a b'], /must be 1-128 of A-Z/],
    [['--mcp-host', 'tools.example:80'], /must be a name without a port/],
    [['--mcp-host', 'https://tools.example'], /must be a name without a port/],
    [['--mcp-wait-ms', '3600001'], /must be a whole number from 0 to 3600000/],
    [['--stdio', '--mcp-anonymous', 'local'], /--stdio leaves no use for --mcp-anonymous/],
    [['--stdio', '--mcp-host', 'x'], /--stdio leaves no use for --mcp-host/],
    [['--stdio', '--mcp-wait-ms', '1'], /--stdio leaves no use for --mcp-wait-ms/],
  ])('refuses %j', async (args, said) => {
    const cwd = tempFolder();
    assertWrongUse(await waybill(['serve', ...args], { cwd }), said);
    expect(existsSync(join(cwd, '.waybill'))).toBe(false);
  });

  test('warns of a client that is not there, for whom nobody acts until it is added', async () => {
    const cwd = tempFolder();
    const serving = await serve(cwd, '--mcp-anonymous', 'later');
    const [line] = await serving.until('stderr', /^.*"client_id":"later".*$/m);
    expect(JSON.parse(line)).toMatchObject({
      level: 'warn',
      message: expect.stringMatching(/add it with "waybill clients add"/),
    });
    const port = portOf(serving.url);
    expect(await statusOf(port)).toBe(401);
    await waybill(['clients', 'add', 'later', '--out', 'later.json'], { cwd });
    await expect.poll(() => statusOf(port), BUSY).toBe(200);
    expect(await statusOf(port, { token: 'none' })).toBe(401);
  });

  test('takes the names of --mcp-host, and waits as long as it is told', async () => {
    const cwd = folder();
    await waybill(['clients', 'add', 'alice', '--out', 'alice.json'], { cwd });
    const flags = ['--mcp-host', 'tools.example', '--mcp-host', '[2001:db8::1]', '--mcp-wait-ms', '0'];
    const { url } = await serve(cwd, 'tools.mjs', '--mcp-anonymous', 'alice', ...flags);
    const port = portOf(url);
    for (const [name, status] of [
      ['tools.example', 200],
      ['Tools.Example:443', 200],
      ['[2001:db8::1]:80', 200],
      ['localhost', 200],
      ['else.example', 403],
    ] as const) {
      expect(await statusOf(port, { headers: { host: name } })).toBe(status);
      const origin = `https://${name}`;
      expect(await statusOf(port, { headers: { origin } })).toBe(status);
    }
    const held = await openAt(port, 'tools/call', { name: 'hold', arguments: { file: 'never' } });
    const { result } = await held.next();
    expect(result).toMatchObject({ resultType: 'complete', structuredContent: { status: 'queued' } });
  });

  test('answers 503 until the store is open', async () => {
    // It takes connections, and never says a word.
    const silent = await listenAnywhere();
    const free = await reservePlace();
    onTestFinished(() => rmSync(free.folder, { recursive: true, force: true }));
    const store = `postgres://127.0.0.1:${silent.port}/none`;
    const args = ['serve', '--port', String(free.port), '--store', store];
    const { output } = start(args, { cwd: tempFolder() });
    await expect.poll(() => statusOf(free.port).catch(() => 0), BUSY).toBe(503);
    expect(output.stdout).toBe('');
  });
});

async function listenAnywhere() {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => sockets.add(socket));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  // It listens on TCP.
  const { port } = server.address() as AddressInfo;
  return { port };
}
