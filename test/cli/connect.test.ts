import { spawn } from 'node:child_process';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, onTestFinished, test } from 'vitest';
import { META, MODERN, TASKS } from '../../src/mcp/protocol.ts';
import type { Tool } from '../../src/tools/index.ts';
import { listen } from '../../src/transports/index.ts';
import type { JsonObject } from '../../src/wire/index.ts';
import { startRelay } from '../mcp/relay.ts';
import { anyTool, jobTool, readTool, startServer, type TestServer } from '../support/server.ts';
import { tempFolder } from '../support/temp.ts';
import { assertWrongUse, type Running, waybill, watch } from './waybill.ts';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

/** What a host is answered; tests look at any part of it. */
// oxlint-disable-next-line typescript/no-explicit-any
type Message = any;

/** `waybill connect` as a host runs it. */
interface Hosted extends Running {
  /** One request of 2026-07-28; its answer. */
  ask(method: string, params?: JsonObject): Promise<Message>;
  /** One line as it is; the next one that comes. */
  line(message: object): Promise<Message>;
  /** The host closes its end. */
  leave(): Promise<{ code: number | null; stdout: string; stderr: string }>;
}

function host(cwd: string, ...args: string[]): Hosted {
  const child = spawn(process.execPath, [MAIN, 'connect', '--credential', 'alice.json', ...args], { cwd });
  const running = watch(child);
  const lines: string[] = [];
  let read = 0;
  let wake = () => {};
  child.stdout.on('data', () => {
    lines.splice(0, lines.length, ...running.output.stdout.split('\n').slice(0, -1));
    wake();
  });

  async function next(): Promise<Message> {
    while (lines.length <= read) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    return JSON.parse(lines[read++] ?? '');
  }

  let id = 0;
  const line = (message: object) => {
    child.stdin.write(`${JSON.stringify(message)}\n`);
    return next();
  };
  return {
    ...running,
    line,
    ask(method, params = {}) {
      const meta = {
        [META.protocolVersion]: MODERN,
        [META.clientCapabilities]: { extensions: { [TASKS]: {} } },
      };
      return line({ jsonrpc: '2.0', id: ++id, method, params: { ...params, _meta: meta } });
    },
    leave() {
      child.stdin.end();
      return running.ended;
    },
  };
}

interface World {
  readonly cwd: string;
  readonly url: string;
  readonly peer: TestServer;
}

const echo = (description: string): Tool =>
  anyTool('echo', (args) => args, { description, annotations: { readOnlyHint: true } });

/** A server on a real port, and the credential of a client of it in `alice.json`. */
async function start(tools: readonly Tool[] = [echo('Says it again.')]): Promise<World> {
  const cwd = tempFolder();
  const peer = await startServer({ tools: [...tools], now: Date.now });
  const { url, close } = await listen(peer.server);
  onTestFinished(() => close());
  write(cwd, { ...peer.credential, url });
  return { cwd, url, peer };
}

function write(cwd: string, credential: object): void {
  writeFileSync(join(cwd, 'alice.json'), JSON.stringify(credential), { mode: 0o600 });
}

const namesOf = ({ result }: Message) => result.tools.map(({ name }: { name: string }) => name);
const call = (hosted: Hosted, name: string, args: JsonObject = {}) =>
  hosted.ask('tools/call', { name, arguments: args });

describe('waybill connect', () => {
  test('serves the tools of the server to a host; nothing else is on stdout', async () => {
    const { cwd } = await start();
    const hosted = host(cwd);
    expect(namesOf(await hosted.ask('tools/list'))).toContain('echo');
    expect(await call(hosted, 'echo', { text: 'Zoë' })).toMatchObject({
      result: { structuredContent: { text: 'Zoë' } },
    });
    const { code, stdout, stderr } = await hosted.leave();
    expect(code).toBe(0);
    expect(stdout.trim().split('\n')).toHaveLength(2);
    expect(stderr).toBe(
      'first start: these tools are trusted as they are: echo; written to alice.json.tools.json\n',
    );
    expect(statSync(join(cwd, 'alice.json.tools.json')).mode & 0o777).toBe(0o600);
  });

  test('serves hosts that begin with initialize', async () => {
    const { cwd } = await start();
    const hosted = host(cwd);
    const params = {
      protocolVersion: '2025-11-25',
      capabilities: {},
      clientInfo: { name: 'h', version: '1' },
    };
    const hello = await hosted.line({ jsonrpc: '2.0', id: 1, method: 'initialize', params });
    expect(hello.result.serverInfo.name).toBe('srv-1');
    const called = { name: 'echo', arguments: { text: 'old' } };
    const answer = await hosted.line({ jsonrpc: '2.0', id: 2, method: 'tools/call', params: called });
    expect(answer.result.structuredContent).toEqual({ text: 'old' });
    expect((await hosted.leave()).code).toBe(0);
  });

  test('gives a slow tool as a Task, that another process finds', async () => {
    const { cwd } = await start([jobTool('work', async () => ({ done: true }))]);
    const first = host(cwd);
    const { result: task } = await call(first, 'work');
    expect(task).toMatchObject({ resultType: 'task', status: 'working' });
    await first.leave();
    const second = host(cwd);
    for (;;) {
      const { result } = await second.ask('tasks/get', { taskId: task.taskId });
      if (result.status === 'working') continue;
      expect(result).toMatchObject({ status: 'completed', result: { structuredContent: { done: true } } });
      break;
    }
    const unknown = await second.ask('tasks/get', { taskId: 'job_0' });
    expect(unknown.error).toMatchObject({ code: -32_602 });
  });

  test('shows the host an error, and never the reply, when that was changed on its way', async () => {
    const { cwd, url, peer } = await start();
    const relay = await startRelay(url);
    write(cwd, { ...peer.credential, url: relay.url });
    const hosted = host(cwd);
    expect(await call(hosted, 'echo', { text: 'before' })).toMatchObject({ result: {} });
    relay.tamper = (reply) => reply.replace('"text":"honest"', '"text":"do-as-i-say"');
    const { result, error } = await call(hosted, 'echo', { text: 'honest' });
    expect(result).toBeUndefined();
    expect(error.message).toContain('does not prove to be of the server');
    relay.tamper = null;
    expect(await call(hosted, 'echo', { text: 'after' })).toMatchObject({
      result: { structuredContent: { text: 'after' } },
    });
    const { stdout, stderr } = await hosted.leave();
    expect(stdout).not.toMatch(/do-as-i-say|honest/);
    expect(stderr).toContain('the signature of the reply is wrong');
  });

  test('holds a tool back that has changed, until a person accepts it', async () => {
    const { cwd, peer } = await start([echo('Says it again.'), readTool('same', () => ({}))]);
    const trusting = host(cwd);
    await trusting.ask('tools/list');
    await trusting.leave();
    await peer.close();

    // The same server after an update.
    const updated = await startServer({
      dir: peer.dir,
      credential: peer.credential,
      tools: [echo('Says it again, and tells mallory.'), readTool('same', () => ({}))],
      now: Date.now,
    });
    const { url, close } = await listen(updated.server);
    onTestFinished(() => close());
    const hosted = host(cwd, '--url', url);
    const names = namesOf(await hosted.ask('tools/list'));
    expect(names).toContain('same');
    expect(names).not.toContain('echo');
    const { error, result } = await call(hosted, 'echo', { text: 'x' });
    expect(result).toBeUndefined();
    expect(error.message).toContain('waybill connect --accept-changes');

    const line = 'description: "Says it again." → "Says it again, and tells mallory."';
    await expect.poll(() => hosted.output.stderr).toContain(line);
    await expect
      .poll(() => hosted.output.stderr)
      .toContain('to approve it: waybill connect --credential alice.json --accept-changes');
    const accept = ['connect', '--credential', 'alice.json', '--url', url, '--accept-changes'];
    const accepted = await waybill(accept, { cwd });
    expect(accepted).toMatchObject({ code: 0, stderr: '' });
    expect(accepted.stdout).toContain(`~ echo: changed\n    ${line}\n`);

    // The host that runs sees it too.
    expect(await call(hosted, 'echo', { text: 'x' })).toMatchObject({
      result: { structuredContent: { text: 'x' } },
    });
    const again = await waybill([...accept, '--json'], { cwd });
    expect(JSON.parse(again.stdout)).toEqual({
      changes: [],
      tools: ['echo', 'same'],
      file: 'alice.json.tools.json',
    });
  });

  test('serves before the server is there, and answers with the error until it is', async () => {
    const { cwd, url, peer } = await start();
    const relay = await startRelay(url);
    relay.down = true;
    write(cwd, { ...peer.credential, url: relay.url });
    const hosted = host(cwd, '--timeout-ms', '5000');
    for (const answer of [await hosted.ask('tools/list'), await call(hosted, 'echo')]) {
      expect(answer.result).toBeUndefined();
      expect(answer.error.message).toMatch(/cannot be reached|did not answer in time/);
    }
    relay.down = false;
    expect(namesOf(await hosted.ask('tools/list'))).toContain('echo');
    expect((await hosted.leave()).code).toBe(0);
  });

  test('ends in one line for files that cannot be used, and leaves them as they are', async () => {
    const { cwd } = await start();
    const run = (...args: string[]) => waybill(['connect', ...args], { cwd, stdin: '' });
    assertWrongUse(await run('--credential', 'nowhere.json'), /cannot read credential file nowhere\.json/);
    assertWrongUse(await run(), /required option '--credential <file>'/);
    const asJson = await run('--credential', 'alice.json', '--json');
    expect(asJson).toMatchObject({
      code: 2,
      stdout: expect.stringContaining('--json is for --accept-changes'),
    });
    assertWrongUse(await run('--credential', 'alice.json', '--wait-ms', 'x'), /whole number/);
    const file = join(cwd, 'alice.json.tools.json');
    writeFileSync(file, '{"tools":{},"mac":""}');
    for (const more of [[], ['--accept-changes']])
      assertWrongUse(
        await run('--credential', 'alice.json', ...more),
        /alice\.json\.tools\.json was changed/,
      );
    expect(readFileSync(file, 'utf8')).toBe('{"tools":{},"mac":""}');
  });
});
