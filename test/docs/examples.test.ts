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
const mcpGuide = readFileSync(join(root, 'docs/guides/mcp.md'), 'utf8');

/** A copy of an example, in a folder that has what the examples import. */
function copyExample(name: string): string {
  const dir = tempFolder();
  cpSync(join(root, 'examples', name), dir, { recursive: true });
  mkdirSync(join(dir, 'node_modules'));
  symlinkSync(root, join(dir, 'node_modules/waybill'));
  for (const imported of ['zod', '@modelcontextprotocol'])
    symlinkSync(join(root, 'node_modules', imported), join(dir, 'node_modules', imported));
  return dir;
}

function startNode(
  args: readonly string[],
  cwd: string,
  env: Readonly<Record<string, string>> = {},
): Running {
  return watch(spawn(process.execPath, args, { cwd, env: { ...process.env, NO_COLOR: '1', ...env } }));
}

/** What README.md, or another page, prints below a command. */
function shown(command: string, page = readme): string {
  const [, after = ''] = page.split(`$ ${command}\n`);
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

describe('examples/mcp', () => {
  const inGuide = (command: string) => shown(command, mcpGuide);

  it('serves /mcp, gives a token, and drives a task that asks, as docs/guides/mcp.md shows', async () => {
    const cwd = copyExample('mcp');
    const serve = 'serve tools.ts --server-id post --data ./data';
    const serving = startNode([main, ...serve.split(' '), '--port', '0'], cwd);
    const [line, url = ''] = await serving.until('stdout', /^listening on (\S+), .*\n/);
    expect(line.replace(/:\d+/, ':8080').trim()).toBe(inGuide(`waybill ${serve}`));
    for (const command of [
      'clients add alice --data ./data --out alice.json',
      'clients token alice --data ./data --out alice.token',
    ]) {
      const { stdout } = await startNode([main, ...command.split(' ')], cwd).ended;
      expect(stdout.trim()).toBe(inGuide(`waybill ${command}`));
    }
    const mcpUrl = new URL('/mcp', url).href;
    await tokenIsKnown(mcpUrl, readFileSync(join(cwd, 'alice.token'), 'utf8').trim());

    const curls = [...mcpGuide.matchAll(/^\$ (curl (?:.*\\\n)*.*)\n(.*)$/gm)];
    expect(curls.length).toBe(2);
    const [header = ''] = /^\$ (\(umask .*\))$/m.exec(mcpGuide)?.slice(1) ?? [];
    for (const [, command = '', answer] of curls) {
      const script = `${header}\n${command.replace('http://127.0.0.1:8080/mcp', mcpUrl)}`;
      const { stdout, stderr } = await watch(spawn('sh', ['-c', script], { cwd })).ended;
      expect(stdout.trim() + stderr).toBe(answer);
    }

    const { stdout, stderr } = await startNode(['client.mjs'], cwd, { MCP_URL: mcpUrl }).ended;
    expect(stderr).toBe('');
    const steps = (text: string) =>
      text
        .trim()
        .replace(/job_\S+/, 'job_…')
        .split('\n');
    const isProgress = (step: string) => step.startsWith('working: ');
    const expected = steps(inGuide('node client.mjs'));
    const seen = steps(stdout);
    expect(seen.filter((step) => !isProgress(step))).toEqual(expected.filter((step) => !isProgress(step)));
    // How much of the progress is seen depends on when the client looks.
    expect(expected).toEqual(expect.arrayContaining(seen));
  });
});

/** A server that runs learns of a new token within a second. */
async function tokenIsKnown(url: string, token: string): Promise<void> {
  const authorization = `Bearer ${token}`;
  const ask = () =>
    fetch(url, {
      method: 'POST',
      headers: { authorization, 'content-type': 'application/json' },
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' }),
    });
  await expect.poll(async () => (await ask()).status).toBe(200);
}
