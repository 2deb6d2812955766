import { spawnSync } from 'node:child_process';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { readSecretFile } from '../../src/cli/read-file.ts';
import { weaknessOf } from '../../src/wire/index.ts';
import { parseEngineUrls } from '../../src/jobs/engine-urls.ts';
import { type Running, start, waybill } from '../cli/waybill.ts';
import { postgresUrl, redisUrl } from '../support/services/shared.ts';
import { tempFolder } from '../support/temp.ts';

/** What docs/guides/scale-out.md shows is done here, and prints what is printed there. */
const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const GUIDE = readFileSync(join(ROOT, 'docs/guides/scale-out.md'), 'utf8');

/** What the guide prints below a command. */
function shown(command: string): string {
  const [, after = ''] = GUIDE.split(`$ ${command}\n`);
  return after.split(/\n\$ |\n```/, 1)[0] ?? '';
}

/** A copy of the example that the guide works in, with the URLs of real services. */
async function openFolder() {
  const [store, queue] = [await postgresUrl(), await redisUrl()];
  const cwd = tempFolder();
  cpSync(join(ROOT, 'examples/quickstart'), cwd, { recursive: true });
  writeFileSync(join(cwd, 'store.url'), store, { mode: 0o600 });
  writeFileSync(join(cwd, 'queue.url'), queue, { mode: 0o600 });
  const onPostgres = { WAYBILL_SERVER_ID: 'acme', WAYBILL_STORE_FILE: 'store.url' };
  const onBoth = { ...onPostgres, WAYBILL_QUEUE_FILE: 'queue.url' };
  const [{ host, pathname }, redis] = [new URL(store), new URL(queue)];
  /** Addresses as the guide has them. */
  const asShown = (text: string, port = 0) =>
    text
      .trim()
      .replace(`postgres://${host}${pathname}`, 'postgres://127.0.0.1:5432/acme')
      .replace(`redis://${redis.host}${redis.pathname}`, 'redis://127.0.0.1:6379')
      .replace(/http:\/\/127\.0\.0\.1:\d+/, `http://127.0.0.1:${port}`);
  return { cwd, onPostgres, onBoth, asShown };
}

async function firstLine(running: Running): Promise<string> {
  return (await running.until('stdout', /^.*\n/))[0];
}

const urlIn = (line: string): string => /http:\S+\/call/.exec(line)?.[0] ?? '';

test('the guide goes from SQLite to PostgreSQL with a client that keeps its secrets', {
  tags: ['postgres', 'redis'],
  timeout: 120_000,
}, async () => {
  const { cwd, onPostgres, asShown } = await openFolder();
  const add = ['clients', 'add', 'alice', '--server-id', 'acme', '--out', 'alice.json'];
  expect(await waybill(add, { cwd })).toMatchObject({ code: 0 });

  const serving = start(['serve', 'tools.ts', '--port', '0'], { cwd, env: onPostgres });
  const line = await firstLine(serving);
  expect(asShown(line, 8080)).toBe(shown('waybill serve tools.ts'));

  const copies = GUIDE.match(/(?<=^\$ )node -p .*$/gm) ?? [];
  expect(copies).toHaveLength(2);
  for (const copy of copies) {
    expect(spawnSync('sh', ['-c', `umask 077; ${copy}`], { cwd, encoding: 'utf8' }).stderr).toBe('');
  }
  const keys = '--request-key-file request.key --response-key-file response.key';
  const move = `clients add alice ${keys} --out alice.new.json`;
  const moved = await waybill(move.split(' '), { cwd, env: onPostgres });
  expect(asShown(moved.stdout + moved.stderr, 8080)).toBe(shown(`waybill ${move}`));
  const call = ['call', 'count_words', '{"text":"one two"}', '--url', urlIn(line), '--json'];
  expect(await waybill([...call, '--credential', 'alice.json'], { cwd })).toMatchObject({
    code: 0,
    stdout: '{"words":2}\n',
  });
});

test('a job of the guide outlives kill -9 of its worker, and is polled on the other server', {
  tags: ['postgres', 'redis'],
  timeout: 120_000,
}, async () => {
  const { cwd, onBoth: env, asShown } = await openFolder();
  const serve = () => start(['serve', 'tools.ts', '--no-worker', '--port', '0'], { cwd, env });
  const [a, b, first] = [serve(), serve(), start(['worker', 'tools.ts'], { cwd, env })];
  const lines = await Promise.all([a, b, first].map(firstLine));
  const [lineOfA = '', lineOfB = '', lineOfFirst = ''] = lines;
  expect(asShown(lineOfA, 8081)).toBe(shown('waybill serve tools.ts --no-worker --port 8081 &'));
  expect(asShown(lineOfB, 8082)).toBe(shown('waybill serve tools.ts --no-worker --port 8082 &'));
  expect(asShown(lineOfFirst)).toBe(shown('waybill worker tools.ts & first=$!'));

  const add = ['clients', 'add', 'alice', '--url', urlIn(lineOfA), '--out', 'alice.json'];
  const added = await waybill(add, { cwd, env });
  expect(asShown(added.stdout + added.stderr, 8081)).toBe(
    shown('waybill clients add alice --url http://127.0.0.1:8081/call --out alice.json'),
  );
  const credential = ['--credential', 'alice.json'];
  const called = await waybill(['call', 'render_report', '{"pages":40}', '--no-wait', ...credential], {
    cwd,
  });
  const id = called.stdout.trim();
  expect(id).toMatch(/^job_\S{42}$/);

  const waiting = start(['jobs', 'wait', id, ...credential, '--url', urlIn(lineOfB)], { cwd });
  await waiting.until('stderr', /running .*\(\d+\/40\)/);
  const second = start(['worker', 'tools.ts'], { cwd, env });
  expect(asShown(await firstLine(second))).toBe(shown('waybill worker tools.ts &'));
  first.child.kill('SIGKILL');
  const { code, stdout, stderr } = await waiting.ended;
  expect(code).toBe(0);
  const end = `${stderr.trim().split('\n').at(-1)}\n${stdout.trim()}`;
  expect(shown('kill -9 $first').endsWith(end)).toBe(true);
});

test('the secrets that the guide makes for deploy/ are files that a server takes', () => {
  const cwd = tempFolder();
  const [, script = ''] = /```sh\ncd deploy\n([\s\S]*?)docker compose up/.exec(GUIDE) ?? [];
  const { status, stderr } = spawnSync('sh', ['-ec', script], { cwd, encoding: 'utf8' });
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  const url = readSecretFile(join(cwd, 'secrets/store_url'), 'URL file').trim();
  const { password, host } = new URL(url);
  expect(host).toBe('postgres');
  expect(password).toBe(readSecretFile(join(cwd, 'secrets/postgres_password'), 'password').trim());
  expect(password.length).toBeGreaterThanOrEqual(32);
  expect(weaknessOf(readSecretFile(join(cwd, 'secrets/master_key'), 'master key file').trim())).toBeNull();
  expect(parseEngineUrls(url, undefined).kind).toBe('postgres');
});
