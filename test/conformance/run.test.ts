import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const CLI = join(ROOT, 'dist/cli/main.js');
const JITI = join(ROOT, 'node_modules/jiti/lib/jiti-cli.mjs');
const FIXTURES = join(ROOT, 'conformance/fixture-tools.ts');
const README = readFileSync(join(ROOT, 'conformance/README.md'), 'utf8');

interface Finished {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

interface Report {
  readonly url: string;
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  readonly cases: readonly {
    readonly suite: string;
    readonly name: string;
    readonly verdict: string;
    readonly reason: string | null;
  }[];
}

interface Served {
  readonly credentialFile: string;
  readonly url: string;
  stop(): Promise<void>;
}

const folder = mkdtempSync(join(tmpdir(), 'waybill-conformance-'));

function node(args: readonly string[]): Promise<Finished> {
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      args,
      { cwd: ROOT, maxBuffer: 16 * 2 ** 20 },
      (_error, stdout, stderr) => {
        resolve({ code: child.exitCode ?? -1, stdout, stderr });
      },
    );
  });
}

function runner(...args: readonly string[]): Promise<Finished> {
  return node([JITI, 'conformance/run.ts', ...args]);
}

/** `waybill serve` on a free port, and `waybill clients add` for the runner, as README.md says. */
async function serve(name: string, ...module: readonly string[]): Promise<Served> {
  const data = join(folder, name);
  const credentialFile = join(folder, `${name}.json`);
  const child: ChildProcess = spawn(
    process.execPath,
    [CLI, 'serve', ...module, '--port', '0', '--data', data, '--json'],
    { stdio: ['ignore', 'pipe', 'ignore'] },
  );
  const exited = once(child, 'exit');
  if (child.stdout === null) throw new Error('stdout is a pipe');
  const first = await createInterface(child.stdout)[Symbol.asyncIterator]().next();
  const { url } = JSON.parse(String(first.value));
  const added = await node([
    CLI,
    'clients',
    'add',
    'agent-1',
    '--data',
    data,
    '--url',
    url,
    '--out',
    credentialFile,
  ]);
  expect(added).toMatchObject({ code: 0 });
  return {
    credentialFile,
    url,
    async stop() {
      child.kill('SIGTERM');
      await exited;
    },
  };
}

/** The lines of a fenced block of README.md that holds this text. */
function blockWith(text: string): string {
  const block = [...README.matchAll(/^```[a-z]*\n([\s\S]*?)^```$/gm)].find(([, body]) =>
    body?.includes(text),
  );
  expect(block).toBeDefined();
  return block?.[1] ?? '';
}

let fixtures: Served;
let examples: Served;

beforeAll(async () => {
  [fixtures, examples] = await Promise.all([serve('fixtures', FIXTURES), serve('examples')]);
});

afterAll(async () => {
  await Promise.all([fixtures.stop(), examples.stop()]);
  rmSync(folder, { recursive: true, force: true });
});

describe('the runner, pointed at this server over HTTP', () => {
  test('finds nothing wrong, and with both sets of tools skips nothing', async () => {
    const finished = await Promise.all(
      [fixtures, examples].map(({ credentialFile }) => runner('--credential', credentialFile, '--json')),
    );
    const reports: Report[] = finished.map(({ stdout }) => JSON.parse(stdout));
    for (const { cases } of reports) expect(cases.filter(({ verdict }) => verdict === 'FAIL')).toEqual([]);
    expect(finished.map(({ code }) => code)).toEqual([0, 0]);
    const passed = new Set<string>();
    const all = new Set<string>();
    for (const { suite, name, verdict } of reports.flatMap(({ cases }) => cases)) {
      all.add(`${suite}: ${name}`);
      if (verdict === 'pass') passed.add(`${suite}: ${name}`);
    }
    expect([...all].filter((name) => !passed.has(name))).toEqual([]);
    expect(all.size).toBeGreaterThan(450);
  });

  test('prints a line for each case and then the counts, as README.md shows', async () => {
    const { code, stdout, stderr } = await runner('--credential', examples.credentialFile);
    const lines = stdout.trimEnd().split('\n');
    const counts = /^(\d+) passed, (\d+) failed, (\d+) skipped$/.exec(lines.at(-1) ?? '');
    expect(lines.slice(0, -1).filter((line) => line.startsWith('pass  '))).toHaveLength(Number(counts?.[1]));
    expect(lines.slice(0, -1).filter((line) => line.startsWith('skip  '))).toHaveLength(Number(counts?.[3]));
    expect(lines).toHaveLength(Number(counts?.[1]) + Number(counts?.[3]) + 1);
    expect({ code, stderr, failed: counts?.[2] }).toEqual({ code: 0, stderr: '', failed: '0' });
    const shown = blockWith('passed, 0 failed').trimEnd().split('\n');
    expect(shown.filter((line) => !lines.includes(line))).toEqual([]);
  });

  test('takes --url instead of the url of the credential, and --only for some of the cases', async () => {
    const credential = JSON.parse(readFileSync(examples.credentialFile, 'utf8'));
    const file = join(folder, 'elsewhere.json');
    writeFileSync(file, JSON.stringify({ ...credential, url: 'http://127.0.0.1:1/call' }));
    const { code, stdout } = await runner(
      '--credential',
      file,
      '--url',
      examples.url,
      '--only',
      'calls: server_identity',
    );
    expect({ code, stdout }).toEqual({
      code: 0,
      stdout: 'pass  calls: server_identity\n1 passed, 0 failed, 0 skipped\n',
    });
  });

  test('signs as the credential says, also with Ed25519', async () => {
    const file = join(folder, 'partner.json');
    const added = await node([
      ...[CLI, 'clients', 'add', 'partner', '--algorithm', 'ed25519', '--data', join(folder, 'fixtures')],
      ...['--url', fixtures.url, '--out', file],
    ]);
    expect(added).toMatchObject({ code: 0 });
    const { code, stdout } = await runner('--credential', file, '--only', 'calls: ');
    expect(stdout).not.toContain('FAIL');
    expect(stdout).toMatch(/^pass {2}calls: server_identity$/m);
    expect(code).toBe(0);
  });

  test('ends with 1 when something failed, and says what', async () => {
    const credential = JSON.parse(readFileSync(examples.credentialFile, 'utf8'));
    const file = join(folder, 'wrong-key.json');
    writeFileSync(file, JSON.stringify({ ...credential, request_key: credential.response_key }));
    const { code, stdout } = await runner('--credential', file, '--only', 'calls: server_identity');
    expect(code).toBe(1);
    expect(stdout).toMatch(
      /^FAIL {2}calls: server_identity -- HTTP status is 401, not 200; .*\n0 passed, 1 failed, 0 skipped\n$/,
    );
  });
});

describe('the runner cannot begin, says why in one line and ends with 2', () => {
  const file = (name: string, text: string): string => {
    const path = join(folder, name);
    writeFileSync(path, text);
    return path;
  };
  const whole = {
    client_id: 'a',
    server_id: 'b',
    url: 'http://127.0.0.1:1/call',
    request_key: 'hunter2',
    response_key: 'hunter3',
  };

  test.each<[string, () => string[], string]>([
    ['no credential', () => [], '--credential FILE is missing'],
    ['an unknown flag', () => ['--frobnicate'], "Unknown option '--frobnicate'"],
    ['no such file', () => ['--credential', join(folder, 'none.json')], 'no such file'],
    [
      'a file that is not JSON',
      () => ['--credential', file('bad.json', '{"request_key":"hunter2",')],
      'is not JSON',
    ],
    [
      'a file with a member missing',
      () => ['--credential', file('part.json', JSON.stringify({ ...whole, response_key: undefined }))],
      'response_key is missing',
    ],
    [
      'shared secrets where keys must stand',
      () => ['--credential', file('kind.json', JSON.stringify({ ...whole, algorithm: 'ed25519' }))],
      'a key must begin with wbs_',
    ],
    [
      'no url at all',
      () => ['--credential', file('no-url.json', JSON.stringify({ ...whole, url: undefined }))],
      '--url must be like',
    ],
    [
      'a url of another kind',
      () => ['--credential', file('ok.json', JSON.stringify(whole)), '--url', 'ftp://x'],
      '--url must be like',
    ],
    [
      'a server that does not answer',
      () => ['--credential', file('ok.json', JSON.stringify(whole))],
      'the server does not answer',
    ],
    [
      'no case of that name',
      () => ['--credential', examples.credentialFile, '--only', 'xyzzy'],
      'no case contains "xyzzy"',
    ],
  ])('%s', async (_, args, message) => {
    const { code, stdout, stderr } = await runner(...args());
    expect(stderr).toContain(message);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
    expect(`${stdout}${stderr}`).not.toContain('hunter');
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  });

  test('--help says how to use it', async () => {
    const { code, stdout } = await runner('--help');
    expect(code).toBe(0);
    for (const flag of ['--credential', '--url', '--only', '--json']) expect(stdout).toContain(flag);
  });
});

const python = spawnSync('python3', ['--version']).status === 0;

test.skipIf(!python)('the Python of README.md does what it says (needs python3)', () => {
  const { status, stdout, stderr } = spawnSync('python3', ['-c', blockWith('import hmac, json')], {
    cwd: ROOT,
  });
  expect(stderr.toString()).toBe('');
  expect(stdout.toString()).toBe(blockWith('signatures hold\n').replace(/^[\s\S]*```/, ''));
  expect(status).toBe(0);
});
