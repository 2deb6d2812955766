import { spawn } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { type Running, watch } from '../cli/waybill.ts';
import { tempFolder } from '../support/temp.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const main = join(root, 'dist/cli/main.js');
const readme = readFileSync(join(root, 'README.md'), 'utf8');

/** A copy of an example, in a folder that has `waybill` and `zod` installed. */
function copyExample(name: string): string {
  const dir = tempFolder();
  cpSync(join(root, 'examples', name), dir, { recursive: true });
  mkdirSync(join(dir, 'node_modules'));
  symlinkSync(root, join(dir, 'node_modules/waybill'));
  symlinkSync(join(root, 'node_modules/zod'), join(dir, 'node_modules/zod'));
  return dir;
}

function startNode(
  args: readonly string[],
  cwd: string,
  env: Readonly<Record<string, string>> = {},
): Running {
  return watch(spawn(process.execPath, args, { cwd, env: { ...process.env, NO_COLOR: '1', ...env } }));
}

/** What README.md prints below a command. */
function shown(command: string): string {
  const [, after = ''] = readme.split(`$ ${command}\n`);
  return after.split(/\n\n|\n?```|\n\$ /, 1)[0] ?? '';
}

describe('examples/quickstart', () => {
  it('serves, adds a client, and answers as README.md shows', async () => {
    const cwd = copyExample('quickstart');
    const serving = startNode(
      [main, 'serve', 'tools.ts', '--server-id', 'acme', '--data', './data', '--port', '0'],
      cwd,
    );
    const [line, url = ''] = await serving.until('stdout', /^listening on (\S+), .*\n/);
    expect(line.replace(/:\d+/, ':8080').trim()).toBe(
      shown('npx waybill serve tools.ts --server-id acme --data ./data'),
    );
    const add = ['clients', 'add', 'alice', '--server-id', 'acme', '--data', './data', '--out', 'alice.json'];
    const added = await startNode([main, ...add, '--url', url], cwd).ended;
    const shownUrl = 'http://127.0.0.1:8080/call';
    expect((added.stdout + added.stderr).replace(url, shownUrl).trim()).toBe(
      shown(`npx waybill ${add.join(' ')}`),
    );
    expect((await startNode(['client.mjs'], cwd).ended).stdout.replace(/ $/gm, '').trim()).toBe(
      shown('node client.mjs'),
    );
    const call = async (args: string) => {
      const { stdout, stderr } = await startNode(
        [main, 'call', 'count_words', args, '--credential', 'alice.json'],
        cwd,
      ).ended;
      expect((stdout + stderr).trim()).toBe(
        shown(`npx waybill call count_words '${args}' --credential alice.json`),
      );
    };
    await call('{"text":"one two"}');
    await call('{"text":5}');
  });
});

describe('examples/embed', () => {
  it('serves from a program of its own and ends at SIGTERM', async () => {
    const serving = startNode(['server.mjs'], copyExample('embed'), { PORT: '0' });
    const [, url = ''] = await serving.until('stdout', /^listening on (\S+)\n/);
    expect(await (await fetch(new URL('/readyz', url))).text()).toBe('ok\n');
    serving.child.kill('SIGTERM');
    expect(await serving.ended).toMatchObject({ code: 0, stderr: '' });
  });
});
