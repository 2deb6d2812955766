import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { HOSTS, type Place } from '../../src/mcp/install/hosts.ts';
import { generateSecret } from '../../src/wire/index.ts';
import { tempFolder } from '../support/temp.ts';
import { assertWrongUse, type Ended, snapshot, waybill } from './waybill.ts';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

interface World {
  readonly cwd: string;
  readonly home: string;
  /** `waybill install …` with a HOME of its own. */
  install(...args: string[]): Promise<Ended>;
}

function start(): World {
  const cwd = tempFolder();
  const home = join(cwd, 'home');
  mkdirSync(home);
  const credential = {
    client_id: 'alice',
    server_id: 'acme:billing',
    url: 'http://127.0.0.1:9/call',
    request_key: generateSecret(),
    response_key: generateSecret(),
  };
  writeFileSync(join(cwd, 'alice.json'), JSON.stringify(credential), { mode: 0o600 });
  const env = { HOME: home, XDG_CONFIG_HOME: '', CLAUDE_CONFIG_DIR: '' };
  return { cwd, home, install: (...args) => waybill(['install', ...args], { cwd, env }) };
}

const WITH_ALICE = ['--credential', 'alice.json', '--yes'];

const entryFor = (cwd: string) => ({
  command: process.execPath,
  args: [MAIN, 'connect', '--credential', join(cwd, 'alice.json')],
});

function put(path: string, text: string, mode = 0o644): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text, { mode });
}

const backupsOf = (path: string) =>
  readdirSync(dirname(path)).filter((name) => name.startsWith(`${basename(path)}.`) && name.endsWith('.bak'));

describe('waybill install', () => {
  const files: readonly (readonly [
    host: string,
    scope: string,
    member: string,
    typed: boolean,
    file: string,
  ])[] = [
    ['claude-code', 'user', 'mcpServers', true, 'home/.claude.json'],
    ['claude-code', 'project', 'mcpServers', true, '.mcp.json'],
    ['claude-desktop', 'user', 'mcpServers', false, 'home/.config/Claude/claude_desktop_config.json'],
    ['cursor', 'user', 'mcpServers', false, 'home/.cursor/mcp.json'],
    ['cursor', 'project', 'mcpServers', false, '.cursor/mcp.json'],
    ['vscode', 'user', 'servers', true, 'home/.config/Code/User/mcp.json'],
    ['vscode', 'project', 'servers', true, '.vscode/mcp.json'],
  ];

  test.runIf(process.platform === 'linux').each(files)(
    'lets %s start waybill connect, scope %s',
    async (host, scope, member, typed, file) => {
      const { cwd, install } = start();
      const ended = await install(host, '--scope', scope, ...WITH_ALICE);
      expect(ended).toMatchObject({ code: 0 });
      const entry = { ...(typed && { type: 'stdio' }), ...entryFor(cwd) };
      // A server id may have characters that hosts do not take.
      expect(JSON.parse(readFileSync(join(cwd, file), 'utf8'))).toEqual({
        [member]: { 'acme-billing': entry },
      });
      expect(ended.stderr).toContain(`${member}.acme-billing:\n+ {`);
      expect(ended.stdout).toContain(`${file} is written\n`);
    },
  );

  test('keeps everything else, its order, the permissions, and a backup', async () => {
    const { cwd, home, install } = start();
    const file = join(home, '.claude.json');
    const before =
      '{\n  "z": 1e2,\n  "2": "b",\n  "1": "a",\n  "mcpServers": {\n    "x": { "command": "y" }\n  },\n  "a": []\n}\n';
    put(file, before, 0o640);
    const ended = await install('claude-code', ...WITH_ALICE);
    expect(ended.code).toBe(0);
    const after = readFileSync(file, 'utf8');
    expect(JSON.parse(after).mcpServers).toEqual({
      x: { command: 'y' },
      'acme-billing': { type: 'stdio', ...entryFor(cwd) },
    });
    expect(after.startsWith(before.slice(0, before.indexOf('\n  },')))).toBe(true);
    expect(after.endsWith('\n  },\n  "a": []\n}\n')).toBe(true);
    expect(statSync(file).mode & 0o777).toBe(0o640);
    const [backup = '', ...others] = backupsOf(file);
    expect(others).toEqual([]);
    expect(ended.stdout).toContain(backup);
    expect(readFileSync(join(home, backup), 'utf8')).toBe(before);
    expect(statSync(join(home, backup)).mode & 0o777).toBe(0o640);
    // Nothing of what stays is shown: it may hold the secrets of others.
    expect(ended.stderr).not.toContain('"y"');

    const again = await install('claude-code', ...WITH_ALICE);
    expect(again).toMatchObject({ code: 0, stdout: expect.stringContaining('has this entry already') });
    expect(backupsOf(file)).toHaveLength(1);
  });

  test('writes where a symbolic link leads', async () => {
    const { cwd, home, install } = start();
    put(join(cwd, 'dotfiles/mcp.json'), '{}');
    mkdirSync(join(home, '.cursor'));
    symlinkSync(join(cwd, 'dotfiles/mcp.json'), join(home, '.cursor/mcp.json'));
    expect((await install('cursor', ...WITH_ALICE)).code).toBe(0);
    expect(readFileSync(join(cwd, 'dotfiles/mcp.json'), 'utf8')).toContain('acme-billing');
  });

  test('shows the change and writes nothing with --dry-run, and where nobody can be asked', async () => {
    const { cwd, home, install } = start();
    put(join(home, '.cursor/mcp.json'), '{}\n');
    const before = snapshot(cwd);
    const dry = await install('cursor', '--credential', 'alice.json', '--dry-run');
    expect(dry).toMatchObject({ code: 0, stderr: '' });
    expect(dry.stdout).toContain('+   "args": [');
    const json = await install('cursor', '--credential', 'alice.json', '--dry-run', '--json');
    expect(JSON.parse(json.stdout)).toEqual({
      host: 'cursor',
      scope: 'user',
      file: join(home, '.cursor/mcp.json'),
      name: 'acme-billing',
      action: 'add',
      entry: entryFor(cwd),
      written: false,
      backup: null,
    });
    const unasked = await install('cursor', '--credential', 'alice.json');
    expect(unasked.code).toBe(2);
    expect(unasked.stderr).toMatch(/nobody is here to be asked: add --yes/);
    expect(snapshot(cwd)).toEqual(before);
  });

  test('removes its entry, and nothing else', async () => {
    const { home, install } = start();
    const file = join(home, '.cursor/mcp.json');
    const before = '{\n  "mcpServers": {\n    "x": { "command": "y" }\n  }\n}\n';
    put(file, before);
    await install('cursor', ...WITH_ALICE);
    const removed = await install('cursor', '--name', 'acme-billing', '--remove', '--yes');
    expect(removed).toMatchObject({ code: 0 });
    expect(readFileSync(file, 'utf8')).toBe(before);
    const again = await install('cursor', '--remove', '--credential', 'alice.json', '--yes');
    expect(again).toMatchObject({ code: 0, stdout: `${file} has no entry acme-billing\n` });
  });

  test('leaves the entry of somebody else alone, but with --replace', async () => {
    const { cwd, home, install } = start();
    const file = join(home, '.cursor/mcp.json');
    put(file, '{"mcpServers":{"mine":{"command":"mine"}}}');
    for (const more of [[], ['--remove']]) {
      const ended = await install('cursor', '--name', 'mine', ...WITH_ALICE, ...more);
      assertWrongUse(
        ended,
        /has an entry mine that does not start waybill: choose another --name, or add --replace/,
      );
    }
    expect(readFileSync(file, 'utf8')).toBe('{"mcpServers":{"mine":{"command":"mine"}}}');
    expect((await install('cursor', '--name', 'mine', '--replace', ...WITH_ALICE)).code).toBe(0);
    expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual({ mcpServers: { mine: entryFor(cwd) } });
  });

  test('changes nothing in a configuration that it cannot read, and says where', async () => {
    const { cwd, home, install } = start();
    const cases: readonly (readonly [host: string, file: string, text: string | Buffer, message: RegExp])[] =
      [
        [
          'cursor',
          '.cursor/mcp.json',
          '{\n  "mcpServers": {,}\n}',
          /mcp\.json is not valid JSON, line 2, column 18/,
        ],
        ['vscode', '.config/Code/User/mcp.json', '{\n  // mine\n  "servers": {}\n}', /has comments.*by hand/],
        ['claude-code', '.claude.json', Buffer.from([0x7b, 0xff, 0x7d]), /is not UTF-8 text/],
        ['claude-desktop', '.config/Claude/claude_desktop_config.json', '[]', /is JSON, but not an object/],
      ];
    for (const [, file, text] of cases) put(join(home, file), String(text));
    writeFileSync(join(home, '.claude.json'), Buffer.from([0x7b, 0xff, 0x7d]));
    const before = snapshot(cwd);
    for (const [host, , , message] of cases) assertWrongUse(await install(host, ...WITH_ALICE), message);
    expect(snapshot(cwd)).toEqual(before);
  });

  test('refuses what it does not know in one line', async () => {
    const { cwd, install } = start();
    const before = snapshot(cwd);
    assertWrongUse(
      await install('emacs', ...WITH_ALICE),
      /no host emacs; known are claude-code \(Claude Code\), claude-desktop \(Claude Desktop\), cursor/,
    );
    assertWrongUse(
      await install('claude-desktop', '--scope', 'project', ...WITH_ALICE),
      /no configuration for a project/,
    );
    assertWrongUse(await install('cursor', '--yes'), /required option '--credential <file>' not specified/);
    assertWrongUse(await install('cursor', '--remove', '--yes'), /name the entry/);
    assertWrongUse(await install('cursor', '--name', 'a b', ...WITH_ALICE), /must be 1-64 of/);
    assertWrongUse(
      await install('cursor', '--credential', 'no.json', '--yes'),
      /cannot read credential file no\.json/,
    );
    expect(snapshot(cwd)).toEqual(before);
    expect(existsSync(join(cwd, 'home/.cursor'))).toBe(false);
  });
});

describe('the configuration of a host', () => {
  const fileOf = (host: string, place: Partial<Place>) =>
    HOSTS[host]?.files.user?.({ platform: 'linux', home: '/h', cwd: '/c', env: {}, ...place });

  test.skipIf(process.platform === 'win32')('lies where each system keeps it', () => {
    const mac = { platform: 'darwin', home: '/Users/a' } as const;
    expect(fileOf('vscode', mac)).toBe('/Users/a/Library/Application Support/Code/User/mcp.json');
    expect(fileOf('claude-desktop', mac)).toBe(
      '/Users/a/Library/Application Support/Claude/claude_desktop_config.json',
    );
    const windows = { platform: 'win32', home: '/u', env: { APPDATA: '/u/Roaming' } } as const;
    expect(fileOf('vscode', windows)).toBe('/u/Roaming/Code/User/mcp.json');
    expect(fileOf('claude-desktop', { ...windows, env: {} })).toBe(
      '/u/AppData/Roaming/Claude/claude_desktop_config.json',
    );
    expect(fileOf('vscode', { env: { XDG_CONFIG_HOME: '/x' } })).toBe('/x/Code/User/mcp.json');
    expect(fileOf('claude-code', { env: { CLAUDE_CONFIG_DIR: '/k' } })).toBe('/k/.claude.json');
    expect(fileOf('cursor', windows)).toBe('/u/.cursor/mcp.json');
  });
});
