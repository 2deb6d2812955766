import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, onTestFinished, test } from 'vitest';
import { bodyOf } from '../mcp/face.ts';
import { tempFolder } from '../support/temp.ts';
import { serve, start, type Running, watch, waybill } from './waybill.ts';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const HOSTILE = fileURLToPath(new URL('../mcp/wrap/hostile.mjs', import.meta.url));
const haveProc = process.platform === 'linux';

/** Any part of a secret of this length is as good as half of it. */
const PART = 16;

/** Where secrets must not be: what is written, and what every process of this user can read of another. */
interface Watched {
  /** Secrets, or names of where they were seen. */
  leaks(secrets: readonly string[]): string[];
  /** What was written; without what is a secret on purpose. */
  add(where: string, text: string): void;
  /** Arguments and environment of a process and of all that it started; how many of these texts there were. */
  addProcess(where: string, pid: number | undefined): number;
}

function createWatch(): Watched {
  const texts: (readonly [where: string, text: string])[] = [];
  return {
    add: (where, text) => void texts.push([where, text]),
    addProcess(where, pid) {
      const found = family(pid ?? 0).flatMap((each) =>
        ['cmdline', 'environ'].map((file) => [`${where}: ${file} of ${each}`, textOf(each, file)] as const),
      );
      // A process that is about to begin, or that has ended, shows nothing.
      const shown = found.filter(([, text]) => text !== '');
      texts.push(...shown);
      return shown.length;
    },
    leaks: (secrets) => {
      const parts = secrets.flatMap(partsOf);
      return texts.filter(([, text]) => parts.some((part) => text.includes(part))).map(([where]) => where);
    },
  };
}

/** All parts of a secret; the prefix that each of them has is no secret. */
function partsOf(secret: string): string[] {
  return Array.from({ length: secret.length - PART + 1 }, (_, i) => secret.slice(i, i + PART));
}

/** What a process shows of itself; nothing once it has ended. */
function textOf(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return '';
  }
}

/** A process and what it started. */
function family(pid: number): number[] {
  const children = textOf(pid, `task/${pid}/children`).split(' ').filter(Boolean);
  return [pid, ...children.flatMap((child) => family(Number(child)))];
}

const read = (cwd: string, name: string) => readFileSync(join(cwd, name), 'utf8').trim();

/** Keys of a credential file. */
function keysOf(cwd: string, name: string): string[] {
  const { request_key, response_key } = JSON.parse(read(cwd, name));
  return [request_key, response_key];
}

/** `waybill connect` or `mcp`, which has answered once. */
async function host(cwd: string, args: readonly string[]): Promise<Running> {
  const child = spawn(process.execPath, [MAIN, ...args], { cwd });
  const running = watch(child);
  child.stdin.write(`${bodyOf('tools/list')}\n`);
  await running.until('stdout', /"result"/);
  child.stdin.write(`${bodyOf('tools/call', { name: 'echo', arguments: { a: 1 } })}\n{"broken\n`);
  return running;
}

describe.skipIf(!haveProc)('secrets and tokens', () => {
  test('are in no output, argument or environment of any verb, whole or in parts', {
    timeout: 120_000,
  }, async () => {
    const cwd = tempFolder();
    const seen = createWatch();
    const run = async (args: readonly string[], stdin = ''): Promise<string> => {
      const running = start(args, { cwd, stdin });
      seen.addProcess(args.join(' '), running.child.pid);
      const { stdout, stderr } = await running.ended;
      seen.add(args.join(' '), stdout + stderr);
      return stdout;
    };
    const service = await serve(cwd, '--data', 'd');
    for (const id of ['alice', 'bob'])
      await run(['clients', 'add', id, '--data', 'd', '--url', service.url, '--out', `${id}.json`]);
    await run(['clients', 'token', 'alice', '--data', 'd', '--out', 'token']);
    await run(['clients', 'rotate', 'bob', '--data', 'd', '--url', service.url, '--out', 'bob.new.json']);
    await run(['keygen', '--out', 'private.key']);
    const secrets = ['alice.json', 'bob.json', 'bob.new.json'].flatMap((name) => keysOf(cwd, name));
    secrets.push(...['token', 'private.key', 'd/master.key'].map((name) => read(cwd, name)));

    // Shown on purpose: on stdout, and nowhere else.
    for (const args of [
      ['clients', 'add', 'carol'],
      ['clients', 'token', 'carol'],
      ['clients', 'rotate', 'carol'],
      ['clients', 'add', 'dora', '--algorithm', 'ed25519'],
    ]) {
      const { stdout, stderr } = await waybill([...args, '--data', 'd', '--json'], { cwd });
      const { request_key, response_key, token } = JSON.parse(stdout);
      const shown: (string | undefined)[] = [request_key, response_key, token];
      secrets.push(...shown.flatMap((text) => (text === undefined || text.startsWith('wbp_') ? [] : [text])));
      seen.add(args.join(' '), stderr);
    }
    expect(secrets).toHaveLength(15);

    const verbs = ['list', 'show bob', 'set bob --note x', 'rotate bob --finish', 'revoke carol'];
    for (const verb of verbs) await run(['clients', ...verb.split(' '), '--data', 'd', '--json']);
    await run(['call', 'batch_sum', '{"numbers":[1]}', '--credential', 'alice.json']);
    await run(['call', 'no_such_tool', '{}', '--credential', 'alice.json', '--json']);
    await run(['jobs', 'list', '--credential', 'alice.json']);
    // Keys of the right form that do not fit, and files that are broken in the middle of a secret.
    writeCredential(cwd, 'crossed.json', { request_key: secrets[2], response_key: secrets[3] });
    writeCredential(cwd, 'cut.json', { request_key: secrets[0]?.slice(0, -1) });
    writeFileSync(join(cwd, 'broken.json'), read(cwd, 'alice.json').slice(0, -20), { mode: 0o600 });
    for (const file of ['crossed.json', 'cut.json', 'broken.json', 'token'])
      await run(['call', 'batch_sum', '{"numbers":[1]}', '--credential', file, '--timeout-ms', '3000']);

    await knock(service.url, read(cwd, 'token'), keysOf(cwd, 'alice.json'));
    const wrapped = start(['wrap', '--port', '0', '--json', '--data', 'w', '--', process.execPath, HOSTILE], {
      cwd,
    });
    await wrapped.until('stdout', /^.*\n/);
    const hosts = [
      await host(cwd, ['connect', '--credential', 'alice.json']),
      await host(cwd, ['mcp', '--data', 'm']),
    ];
    const running = [service, wrapped, ...hosts];
    for (const [i, { child }] of running.entries())
      expect(seen.addProcess(`process ${i}`, child.pid)).toBeGreaterThanOrEqual(2);
    for (const { child } of running) child.kill('SIGTERM');
    for (const [i, { ended }] of running.entries()) {
      const { stdout, stderr } = await ended;
      seen.add(`output ${i}`, stdout + stderr);
    }
    expect(seen.leaks(secrets)).toEqual([]);
    // The search itself finds a part.
    seen.add('planted', `x${secrets[0]?.slice(10, 10 + PART)}x`);
    expect(seen.leaks(secrets)).toEqual(['planted']);
  });

  test('of a wrapped server are in no output and no argument', async () => {
    const cwd = tempFolder();
    const seen = createWatch();
    const secret = 'sk-Zq3vV8kL2xN7tB5rM9wJ4hG6';
    writeFileSync(join(cwd, 'token'), `${secret}\n`, { mode: 0o600 });
    for (const target of ['http://127.0.0.1:9/mcp', 'http://127.0.0.1:9/mcp?key=1']) {
      const { stdout, stderr } = await waybill(['wrap', '--token-file', 'token', target], { cwd });
      seen.add(target, stdout + stderr);
    }
    const given = start(['wrap', '--port', '0', '--json', '--env', 'KEY', '--', process.execPath, HOSTILE], {
      cwd,
      env: { KEY: secret },
    });
    onTestFinished(() => void given.child.kill('SIGKILL'));
    await given.until('stdout', /^.*\n/);
    // It was put there by whoever started us, and asked for by name: arguments and output stay clean.
    for (const pid of family(given.child.pid ?? 0))
      seen.add(`cmdline of ${pid}`, readFileSync(`/proc/${pid}/cmdline`, 'utf8'));
    given.child.kill('SIGTERM');
    const { stdout, stderr } = await given.ended;
    seen.add('output', stdout + stderr);
    expect(seen.leaks([secret])).toEqual([]);
  });
});

/** Requests that a server refuses, each with a secret in a place where it does not belong. */
async function knock(url: string, token: string, keys: readonly string[]): Promise<void> {
  const json = 'application/json';
  const mcp = new URL('/mcp', url).href;
  const body = bodyOf('tools/list');
  for (const headers of [
    { authorization: `Bearer ${token}x`, 'content-type': json },
    { authorization: `Basic ${token}`, 'content-type': json },
    { authorization: `Bearer ${token}`, 'content-type': token },
  ])
    await fetch(mcp, { method: 'POST', headers, body });
  for (const path of ['/call', `/call?key=${keys[0]}`, `/${token}`])
    await fetch(new URL(path, url), {
      method: 'POST',
      headers: { 'content-type': json },
      body: JSON.stringify({ request_key: keys[0], [String(keys[1])]: token }),
    });
}

function writeCredential(cwd: string, name: string, changed: object): void {
  const credential = { ...JSON.parse(read(cwd, 'alice.json')), ...changed };
  writeFileSync(join(cwd, name), JSON.stringify(credential), { mode: 0o600 });
}
