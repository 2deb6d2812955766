import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test, vi } from 'vitest';
import { createClient } from '../../src/client/index.ts';
import { tempFolder } from '../support/temp.ts';
import { assertWrongUse, type Running, snapshot, start, waybill } from './waybill.ts';

const modules = (path: string) =>
  fileURLToPath(new URL(`../../node_modules/@modelcontextprotocol/${path}`, import.meta.url));
const EVERYTHING = modules('server-everything/dist/index.js');
const FILESYSTEM = modules('server-filesystem/dist/index.js');
const HOSTILE = fileURLToPath(new URL('../mcp/wrap/hostile.mjs', import.meta.url));

/** `waybill wrap` on a free port, with a client `alice`. */
async function wrapWithAlice(cwd: string, args: readonly string[], env: Record<string, string> = {}) {
  const running = start(['wrap', '--port', '0', '--json', ...args], { cwd, env });
  const [line] = await running.until('stdout', /^.*\n/);
  const { url, tools }: { url: string; tools: readonly string[] } = JSON.parse(line);
  await waybill(['clients', 'add', 'alice', '--url', url, '--out', 'alice.json'], { cwd });
  return { ...running, url, tools };
}

function call(cwd: string, tool: string, args: object, ...more: string[]) {
  return waybill(['call', tool, JSON.stringify(args), '--credential', 'alice.json', '--json', ...more], {
    cwd,
  });
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

async function pidOfWrapped(cwd: string): Promise<number> {
  return Number(JSON.parse((await call(cwd, 'pid', {})).stdout).content[0].text);
}

async function ends({ child, ended }: Running, signal: NodeJS.Signals) {
  child.kill(signal);
  return ended;
}

describe('waybill wrap', () => {
  test('makes the long tool of server-everything a job that is polled over the signed wire', async () => {
    const cwd = tempFolder();
    const running = await wrapWithAlice(cwd, ['--job', '*long*', '--', process.execPath, EVERYTHING]);
    expect(running.tools).toContain('trigger-long-running-operation');
    const client = createClient(JSON.parse(readFileSync(join(cwd, 'alice.json'), 'utf8')));
    const job = await client.start('trigger-long-running-operation', { duration: 4, steps: 8 });
    const seen: unknown[] = [];
    expect(await job.result({ onProgress: ({ total }) => seen.push(total) })).toEqual({
      content: [{ type: 'text', text: 'Long running operation completed. Duration: 4 seconds, Steps: 8.' }],
    });
    expect(seen).toContain(8);
    const log = running.output.stderr;
    expect(log).toMatch(/"left_out":1,"jobs":\["trigger-long-running-operation"\]/);
    expect(await ends(running, 'SIGTERM')).toMatchObject({ code: 0 });
  });

  test('reads a file through server-filesystem', async () => {
    const cwd = tempFolder();
    writeFileSync(join(cwd, 'a.txt'), 'hello\n');
    await wrapWithAlice(cwd, ['--', process.execPath, FILESYSTEM, cwd]);
    const { stdout } = await call(cwd, 'read_text_file', { path: join(cwd, 'a.txt') });
    expect(JSON.parse(stdout).content).toEqual([{ type: 'text', text: 'hello\n' }]);
  });

  test('starts a server again that was killed during a call', async () => {
    const cwd = tempFolder();
    const running = await wrapWithAlice(cwd, ['--', process.execPath, HOSTILE]);
    const pid = await pidOfWrapped(cwd);
    const hanging = call(cwd, 'hang', {});
    await running.until('stderr', /"hangs"/);
    process.kill(pid, 'SIGKILL');
    expect(JSON.parse((await hanging).stdout).error).toMatchObject({
      code: 'job_failed',
      message: 'the wrapped server was ended by SIGKILL during the call',
    });
    expect(await pidOfWrapped(cwd)).not.toBe(pid);
  });

  test('is not ready while the wrapped server is away', async () => {
    const cwd = tempFolder();
    const running = await wrapWithAlice(cwd, [
      '--',
      process.execPath,
      HOSTILE,
      'fails-again',
      join(cwd, 'starts'),
    ]);
    expect(await readiness(running.url)).toBe(200);
    expect(JSON.parse((await call(cwd, 'crash', {})).stdout).error).toMatchObject({ code: 'job_failed' });
    expect(await readiness(running.url)).toBe(503);
  });

  test.each(['SIGTERM', 'SIGINT', 'SIGKILL'] as const)(
    'ended by %s leaves no process behind',
    async (signal) => {
      const cwd = tempFolder();
      const running = await wrapWithAlice(cwd, ['--', process.execPath, HOSTILE]);
      const pid = await pidOfWrapped(cwd);
      expect((await ends(running, signal)).code).toBe(signal === 'SIGKILL' ? null : 0);
      await vi.waitFor(() => expect(isAlive(pid)).toBe(false), 20_000);
    },
  );

  test('gives the command only the variables that it names', async () => {
    const cwd = tempFolder();
    const env = { GIVEN_ONE: '1', GIVEN_TWO: '2', KEPT: '3' };
    await wrapWithAlice(
      cwd,
      ['--env', 'GIVEN_ONE', '--env', 'GIVEN_TWO', '--', process.execPath, HOSTILE],
      env,
    );
    const { stdout } = await call(cwd, 'environment', {});
    const seen: unknown = JSON.parse(JSON.parse(stdout).content[0].text);
    expect(seen).toMatchObject({ GIVEN_ONE: '1', GIVEN_TWO: '2' });
    expect(seen).not.toHaveProperty('KEPT');
  });

  test('takes the deadline of jobs', async () => {
    const cwd = tempFolder();
    await wrapWithAlice(cwd, ['--job', 'hang*', '--job-deadline-ms', '300', '--', process.execPath, HOSTILE]);
    expect(JSON.parse((await call(cwd, 'hang', {})).stdout).error).toMatchObject({
      code: 'deadline_exceeded',
    });
  });

  test('interrupted before the server is there ends with exit code 130, and the server with it', async () => {
    const cwd = tempFolder();
    const running = start(['wrap', '--', process.execPath, HOSTILE, 'silent', join(cwd, 'starts')], { cwd });
    await vi.waitFor(() => expect(readFileSync(join(cwd, 'starts'), 'utf8')).toBe('.'), 20_000);
    const { code, stderr } = await ends(running, 'SIGINT');
    expect({ code, stderr }).toEqual({ code: 130, stderr: 'waybill: interrupted: nothing was served yet\n' });
  });
});

async function readiness(url: string): Promise<number> {
  return (await fetch(new URL('/readyz', url))).status;
}

describe('wrong use of waybill wrap is told in one line and changes nothing:', () => {
  const node = process.execPath;
  test.each([
    [[], /missing required argument 'server'/],
    [['--', ''], /the command is empty/],
    [['http://127.0.0.1:9/mcp', 'more'], /after the URL there is nothing to come/],
    [['http://me:pass-word@127.0.0.1/mcp'], /must not contain a user name or a password/],
    [['http://'], /the URL of the server is none/],
    [['--token-file', 'open', '--', node], /--token-file is for a URL/],
    [['--token-file', 'open', 'https://127.0.0.1/mcp'], /token file open is open to other users/],
    [['--token-file', 'two', 'https://127.0.0.1/mcp'], /token file two must hold one token/],
    [['--env', 'HOME', 'https://127.0.0.1/mcp'], /--env is for a command/],
    [['--env', 'KEY=pass-word', '--', node], /--env takes a name only/],
    [['--env', 'NO_SUCH_VARIABLE', '--', node], /--env NO_SUCH_VARIABLE: there is no such variable/],
    [['--job', '', '--', node], /must not be empty/],
    [['--max-calls', '0', '--', node], /must be a whole number from 1/],
    [['--job-deadline-ms', '0', '--', node], /must be a whole number from 1/],
    [['--stdio', '--port', '1', '--', node], /--stdio leaves no use for --port/],
    [['--', 'no-such-program'], /the server no-such-program cannot be wrapped: .*ENOENT/],
    [
      ['--job', 'nothing*', '--', node, HOSTILE, 'odd'],
      /--job 'nothing\*' matches no tool: there are echo, pid/,
    ],
    [['--', node, HOSTILE, 'empty'], /the wrapped server has no tools/],
  ] as const)('%j', async (args, pattern) => {
    const cwd = tempFolder();
    writeFileSync(join(cwd, 'open'), 'token\n', { mode: 0o644 });
    writeFileSync(join(cwd, 'two'), 'one two\n', { mode: 0o600 });
    chmodSync(join(cwd, 'open'), 0o644);
    const before = snapshot(cwd);
    const ended = await waybill(['wrap', ...args], { cwd });
    // What was left out of its tools stands before it, in the log.
    const last = ended.stderr
      .split('\n')
      .filter((line) => !line.startsWith('{'))
      .join('\n');
    assertWrongUse({ ...ended, stderr: last }, pattern);
    expect(ended.stderr).not.toContain('pass-word');
    expect(snapshot(cwd)).toEqual(before);
  });
});
