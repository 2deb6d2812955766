import { execFile, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { createClient, parseCredential } from '../../src/client/index.ts';
import { createServer as createWaybill, listen } from '../../src/transports/index.ts';
import exampleTools from '../../src/cli/serve/example-tools.ts';
import { start, waybill } from './waybill.ts';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

/** One server for all tests of this file; each command is a process of its own. */
let cwd = '';
let stop = async (): Promise<void> => {};

beforeAll(async () => {
  cwd = mkdtempSync(join(tmpdir(), 'waybill-call-'));
  const server = await createWaybill({ tools: exampleTools, store: `sqlite:${join(cwd, 'd')}`, drainMs: 0 });
  const listener = await listen(server);
  for (const id of ['alice', 'bob']) {
    const credential = await server.addClient({ id, url: listener.url });
    writeFileSync(join(cwd, `${id}.json`), JSON.stringify(credential), { mode: 0o600 });
  }
  stop = async () => {
    await Promise.all([listener.close(), server.close()]);
    rmSync(cwd, { recursive: true, force: true });
  };
});

afterAll(() => stop());

const credentialOf = (id: string) => parseCredential(readFileSync(join(cwd, `${id}.json`), 'utf8'));

function run(
  line: string,
  more: { stdin?: string; args?: readonly string[]; env?: Record<string, string> } = {},
) {
  const { args = [], env, stdin } = more;
  const options = {
    cwd,
    env: { WAYBILL_CREDENTIAL: 'alice.json', ...env },
    ...(stdin !== undefined && { stdin }),
  };
  return waybill([...line.split(' '), ...args], options);
}

describe('waybill call', () => {
  test('prints the result: in one line with --json, else laid out', async () => {
    const [json, text] = await Promise.all([
      run('call batch_sum {"numbers":[1,2,3.5]} --json'),
      run('call batch_sum {"numbers":[1,2,3.5]}'),
    ]);
    expect(json).toEqual({ code: 0, stdout: '{"count":3,"total":6.5}\n', stderr: '' });
    expect(text).toEqual({ code: 0, stdout: '{\n  "count": 3,\n  "total": 6.5\n}\n', stderr: '' });
  });

  test('takes arguments from stdin for "-", and from a pipe or a file that stands there', async () => {
    writeFileSync(join(cwd, 'args.json'), '{"numbers":[5]}');
    const shell = (command: string) =>
      new Promise<string>((resolve) => {
        const env = { ...process.env, WAYBILL_CREDENTIAL: 'alice.json', NODE: process.execPath, MAIN };
        execFile('sh', ['-c', command], { cwd, env }, (_error, stdout) => resolve(stdout));
      });
    const results = await Promise.all([
      run('call batch_sum - --json', { stdin: '{"numbers":[5]}' }).then(({ stdout }) => stdout),
      shell(`echo '{"numbers":[5]}' | "$NODE" "$MAIN" call batch_sum --json`),
      shell(`"$NODE" "$MAIN" call batch_sum --json < args.json`),
    ]);
    for (const stdout of results) expect(stdout).toBe('{"count":1,"total":5}\n');
  });

  test('waits for a job, shows how it goes on stderr, and prints its result on stdout', async () => {
    const args = '{"seconds":1,"payload":{"a":"ä"}}';
    const { code, stdout, stderr } = await run('call start_long_task', { args: [args, '--json'] });
    expect({ code, stdout }).toEqual({ code: 0, stdout: '{"a":"ä"}\n' });
    const lines = stderr.trimEnd().split('\n');
    expect(
      lines.filter((line) => !/^(queued|running \d+ % \(\d\/4\)|running|succeeded)$/.test(line)),
    ).toEqual([]);
    expect(lines.at(-1)).toBe('succeeded');
  });

  test('--no-wait prints the id of the job; the same --request-id gives the same job', async () => {
    const line = 'call start_long_task {"seconds":1} --no-wait --request-id order-66';
    const [first, second] = [await run(line), await run(`${line} --json`)];
    expect(first).toMatchObject({ code: 0, stderr: '' });
    expect(first.stdout).toMatch(/^job_\S+\n$/);
    expect(JSON.parse(second.stdout)).toEqual({ job_id: first.stdout.trim() });
  });

  test('tells of a refusal in one line, or in one JSON document, with exit code 1', async () => {
    const [text, json, unknown, conflict] = await Promise.all([
      run('call batch_sum {"numbers":["x",1,null]}'),
      run('call batch_sum {} --json'),
      run('call nothing_here'),
      run('call start_long_task {"seconds":1} --no-wait --request-id twice').then(() =>
        run('call start_long_task {"seconds":2} --request-id twice'),
      ),
    ]);
    expect(text).toMatchObject({ code: 1, stdout: '' });
    expect(text.stderr).toMatch(/^waybill: invalid_args: numbers\[0\]: [^\n]+; numbers\[2\]: [^\n]+\n$/);
    expect(json).toMatchObject({ code: 1, stderr: '' });
    expect(JSON.parse(json.stdout)).toEqual({
      error: {
        code: 'invalid_args',
        message: expect.stringMatching(/^numbers: /),
        result: { issues: [{ path: 'numbers', message: expect.any(String) }] },
      },
    });
    expect(unknown).toMatchObject({ code: 1, stdout: '' });
    expect(unknown.stderr).toMatch(/^waybill: unknown_tool: .*; "waybill tools" lists what there is\n$/);
    expect(conflict).toMatchObject({ code: 1, stdout: '' });
    expect(conflict.stderr).toMatch(/^waybill: request_id_conflict: .*choose another --request-id\n$/);
  });

  test('ends with exit code 3 when no answer can be trusted, and says how to ask again safely', async () => {
    const html = createServer((_request, response) => response.end('<h1>not a message</h1>')).listen(
      0,
      '127.0.0.1',
    );
    onTestFinished(() => void html.close());
    await new Promise((resolve) => html.once('listening', resolve));
    const { port } = html.address() as { port: number };
    const stranger = { ...credentialOf('alice'), client_id: 'stranger' };
    const liar = { ...credentialOf('alice'), response_key: credentialOf('bob').response_key };
    for (const [name, credential] of Object.entries({ stranger, liar })) {
      writeFileSync(join(cwd, `${name}.json`), JSON.stringify(credential), { mode: 0o600 });
    }
    const none = createServer((_request, response) => response.writeHead(404).end()).listen(0, '127.0.0.1');
    onTestFinished(() => void none.close());
    await new Promise((resolve) => none.once('listening', resolve));
    const nonePort = (none.address() as { port: number }).port;
    const [down, foreign, late, unknown, unverified, missing, stranded] = await Promise.all([
      run('call batch_sum {"numbers":[1]} --url http://127.0.0.1:1/call --timeout-ms 20000'),
      run(`tools --url http://127.0.0.1:${port}/`),
      run('call start_long_task {"seconds":1} --timeout-ms 1 --json --request-id mine'),
      run('tools', { env: { WAYBILL_CREDENTIAL: 'stranger.json' } }),
      run('tools', { env: { WAYBILL_CREDENTIAL: 'liar.json' } }),
      run(`call batch_sum {} --timeout-ms 20000 --url http://127.0.0.1:${nonePort}/`),
      run('call batch_sum {"numbers":[1]}', { env: { WAYBILL_CREDENTIAL: 'stranger.json' } }),
    ]);
    for (const { code, stderr } of [down, foreign, unknown, unverified, missing, stranded]) {
      expect(code).toBe(3);
      expect(stderr).toMatch(/^waybill: [^\n]+\n$/);
    }
    expect(down.stderr).toMatch(/is the server running there\?.*add --request-id [0-9a-f-]{36}\n$/);
    expect(foreign.stderr).toMatch(/the reply is no message of the protocol/);
    expect(unknown.stderr).toMatch(/bad_signature.*is this the credential that the server knows\?/);
    expect(missing.stderr).toMatch(/HTTP 404 .*: is the address right\?\n$/);
    expect(stranded.stderr).toMatch(/is this the credential that the server knows\?\n$/);
    expect(unverified.stderr).toMatch(/the signature of the reply is wrong/);
    expect(late).toMatchObject({ code: 3, stderr: '' });
    expect(JSON.parse(late.stdout)).toEqual({
      error: {
        code: 'timeout',
        message: expect.stringMatching(/--timeout-ms/),
        result: { request_id: 'mine' },
      },
    });
  });

  test('Ctrl-C ends the waiting, not the job, and says how to wait for it and how to end it', async () => {
    const args = ['call', 'start_long_task', '{"seconds":20}', '--credential', 'alice.json'];
    const running = start(args, { cwd });
    await running.until('stderr', /running/);
    running.child.kill('SIGINT');
    const { code, stdout, stderr } = await running.ended;
    expect({ code, stdout }).toEqual({ code: 130, stdout: '' });
    const wait = /waybill (jobs wait \S+ --credential alice\.json);/.exec(stderr)?.[1] ?? '';
    const cancel = /waybill (jobs cancel \S+ --credential alice\.json)\n/.exec(stderr)?.[1] ?? '';
    expect(stderr).toMatch(/^waybill: interrupted: the job goes on; /m);
    const waiting = start(wait.split(' '), { cwd });
    await waiting.until('stderr', /running/);
    expect(await run(cancel)).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^job \S+ is cancelled\n$/),
    });
    const waited = await waiting.ended;
    expect(waited).toMatchObject({ code: 1, stdout: '' });
    expect(waited.stderr).toMatch(/^waybill: cancelled: by the client\n$/m);
  });

  test('never prints a secret, whatever happens', async () => {
    const env = { WAYBILL_DEBUG: '1' };
    const ended = await Promise.all([
      run('call batch_sum {"numbers":[1]}', { env }),
      run('call batch_sum {}', { env }),
      run('call nothing_here', { env }),
      run('tools --url http://127.0.0.1:1/call --timeout-ms 50', { env }),
      run('tools', { env: { ...env, WAYBILL_CREDENTIAL: 'liar.json' } }),
      run('jobs get job_x', { env }),
      run('clients list --data d', { env }),
    ]);
    const { request_key, response_key } = credentialOf('alice');
    const printed = ended.map(({ stdout, stderr }) => stdout + stderr).join('');
    expect(printed).toContain('at ');
    for (const secret of [request_key, response_key]) expect(printed).not.toContain(secret.slice(3, 20));
  });
});

describe('waybill tools', () => {
  test('lists the tools, and shows one with its schemas', async () => {
    const [list, json, one, none] = await Promise.all([
      run('tools'),
      run('tools --json'),
      run('tools start_long_task --json'),
      run('tools nothing_here'),
    ]);
    expect(list.stdout).toMatch(/^batch_sum +direct +\{numbers\} +Adds numbers\.$/m);
    expect(list.stdout).toMatch(/^start_long_task +job +\{payload\?, seconds\} /m);
    const { tools } = JSON.parse(json.stdout);
    expect(tools).toEqual(await createClient(credentialOf('alice')).tools());
    expect(tools).toContainEqual(JSON.parse(one.stdout));
    expect(none).toMatchObject({ code: 1, stdout: '' });
    expect(none.stderr).toMatch(
      /^waybill: unknown_tool: the server has no tool nothing_here; it has answer_job, batch_sum, /,
    );
  });
});

describe('waybill jobs', () => {
  test('get, wait, cancel and list tell how a job stands', async () => {
    const id = (await run('call start_long_task {"seconds":20} --no-wait')).stdout.trim();
    const running = JSON.parse((await run(`jobs get ${id} --json`)).stdout);
    expect(running).toMatchObject({ job_id: id, result: null, error: null });
    expect(running.status).toMatch(/^(queued|running)$/);
    const [foreign, cancelled] = [
      await run(`jobs get ${id}`, { env: { WAYBILL_CREDENTIAL: 'bob.json' } }),
      await run(`jobs cancel ${id} --json`),
    ];
    expect(foreign).toMatchObject({ code: 1, stdout: '' });
    expect(foreign.stderr).toMatch(/^waybill: not_found: .*"waybill jobs list" lists your jobs\n$/);
    expect(cancelled).toEqual({ code: 0, stdout: `{"job_id":"${id}","status":"cancelled"}\n`, stderr: '' });
    const [get, got, wait, list, listed] = await Promise.all([
      run(`jobs get ${id}`),
      run(`jobs get ${id} --json`),
      run(`jobs wait ${id} --json`),
      run('jobs list --status cancelled'),
      run('jobs list --status cancelled --limit 100000 --json'),
    ]);
    expect(get).toEqual({ code: 0, stdout: `${id}  cancelled  by the client\n`, stderr: '' });
    const end = { job_id: id, status: 'cancelled', error: 'cancelled: by the client' };
    expect(JSON.parse(got.stdout)).toEqual({ ...end, progress: null, result: null });
    expect(wait).toMatchObject({ code: 1 });
    expect(JSON.parse(wait.stdout)).toEqual({
      error: { code: 'cancelled', message: 'by the client', result: null },
    });
    expect(list.stdout).toMatch(
      new RegExp(`^${id} {2}.* UTC {2}start_long_task {2}cancelled {2}by the client$`, 'm'),
    );
    expect(JSON.parse(listed.stdout).jobs).toContainEqual(
      expect.objectContaining({ ...end, tool: 'start_long_task' }),
    );
  });

  test('list shows the newest ones, as many as --limit says, and that there are more', async () => {
    const env = { WAYBILL_CREDENTIAL: 'bob.json' };
    expect(await run('jobs list', { env })).toEqual({ code: 0, stdout: 'no jobs\n', stderr: '' });
    const ids: string[] = [];
    for (let i = 0; i < 3; i++) {
      ids.push((await run('call start_long_task {"seconds":1} --no-wait', { env })).stdout.trim());
    }
    const [two, all] = await Promise.all([
      run('jobs list --limit 2', { env }),
      run('jobs list --limit 3', { env }),
    ]);
    expect(two.stdout.split('\n').map((line) => line.split(' ')[0])).toEqual([ids[2], ids[1], '']);
    expect(two.stderr).toBe('these are the newest 2; --limit shows more\n');
    expect(all.stdout.split('\n')).toHaveLength(4);
    expect(all.stderr).toBe('');
  });
});

const hasScript = String(spawnSync('script', ['--version']).stdout).includes('util-linux');

describe.skipIf(!hasScript)('on a terminal (script of util-linux makes one)', () => {
  const onTerminal = (command: string, env: Record<string, string> = {}) =>
    new Promise<string>((resolve) => {
      // With CI, node shows no colours.
      const { CI: _ci, ...inherited } = process.env;
      const all = { ...inherited, TERM: 'xterm-256color', NODE: process.execPath, MAIN, ...env };
      const line = `stty cols 80; "$NODE" "$MAIN" ${command} --credential alice.json`;
      execFile('script', ['-qec', line, '/dev/null'], { cwd, env: all }, (_error, stdout) => resolve(stdout));
    });

  test('a job has a live progress bar, taken away before the result', async () => {
    const shown = await onTerminal(`call start_long_task '{"seconds":4,"payload":{"a":1}}'`);
    expect(shown).toMatch(/running .*█.*░.* \d+ % \(\d+\/16\)/);
    expect(shown).toContain('\u001b[36m█');
    expect(shown.endsWith('\r\u001b[2K{\r\n  "a": 1\r\n}\r\n')).toBe(true);
  });

  test('errors are coloured, but not with NO_COLOR', async () => {
    const failing = `call batch_sum '{"numbers"'`;
    const [coloured, plain] = await Promise.all([
      onTerminal(failing),
      onTerminal(failing, { NO_COLOR: '1' }),
    ]);
    expect(coloured).toContain('\u001b[31mwaybill:\u001b[39m the arguments are not JSON');
    expect(plain).toMatch(/^waybill: the arguments are not JSON/);
  });
});
