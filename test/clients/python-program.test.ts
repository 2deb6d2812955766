import { chmodSync, mkdirSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { EXITS } from '../../src/cli/exits.ts';
import { ALGORITHMS } from '../../src/wire/algorithms.ts';
import { tempFolder } from '../support/temp.ts';
import { hasPython, runProgram } from './python.ts';
import { useWorld } from './world.ts';

describe.skipIf(!hasPython)('credentials and the command line of the client in Python', () => {
  const world = useWorld();
  const secrets = () => [world.credential.request_key, world.credential.response_key];

  const refusal = async (options: Readonly<Record<string, unknown>>) => {
    const { value, error } = await world.python.run('new', { name: 'refused', ...options });
    expect(value).toBeUndefined();
    expect(error?.type).toBe('SetupError');
    for (const secret of secrets()) expect(JSON.stringify(error)).not.toContain(secret.slice(3, 20));
    return error?.text;
  };

  test.each(['644', '640', '602', '601'])(
    'a file of mode %s is open to other users: refused',
    async (mode) => {
      // The mode of a new file is cut by the umask; this one is set.
      const file = world.fileOf();
      chmodSync(file, Number.parseInt(mode, 8));
      expect(await refusal({ file })).toContain('open to other users');
    },
  );

  test('a file that is missing, a folder, too large or no credential is refused without its contents', async () => {
    const { credential } = world;
    const folder = join(tempFolder(), 'folder.json');
    mkdirSync(folder);
    const large = world.fileOf();
    truncateSync(large, 70_000);
    expect(await refusal({ file: `${folder}/none.json` })).toContain('cannot read');
    expect(await refusal({ file: folder })).toMatch(/regular file|directory/);
    expect(await refusal({ file: large })).toContain('over 65536 bytes');
    expect(await refusal({ file: world.fileOf(JSON.stringify(credential).slice(0, -1)) })).toContain(
      'not JSON',
    );
    expect(await refusal({ file: world.fileOf({ ...credential, [credential.request_key]: 1 }) })).toContain(
      'must be',
    );
  });

  test.each([
    ['client_id', { client_id: 'a b' }],
    ['url', { url: 'ftp://host/call' }],
    ['url', { url: 'http://user:secret@host/call' }],
    ['url', { url: 'http://host:99999/call' }],
    ['url', { url: 'http://ho\nst/call' }],
    ['request_key', { request_key: '' }],
    ['response_key', { response_key: `wb_${'A'.repeat(43)}00000000` }],
  ])('a wrong %s is named', async (name, members) => {
    expect(await refusal({ file: world.fileOf({ ...world.credential, ...members }) })).toContain(name);
  });

  test('a credential for ed25519 is refused with the reason, whatever else it holds', async () => {
    const { client } = ALGORITHMS.ed25519.generate();
    const keys = { request_key: client.request, response_key: client.response };
    const withKeys = world.fileOf({ ...world.credential, ...keys, algorithm: 'ed25519' });
    for (const file of [withKeys, world.fileOf({ algorithm: 'ed25519' })])
      expect(await refusal({ file })).toContain('algorithm must be hmac-sha256');
    const nameless = await refusal({ file: world.fileOf({ ...world.credential, ...keys }) });
    expect(nameless).toContain('request_key must be a shared secret (wb_)');
    expect(nameless).not.toContain(client.request.slice(4, 20));
  });

  test('a credential may say that it is for hmac-sha256', async () => {
    const client = await world.connect({
      file: world.fileOf({ ...world.credential, algorithm: 'hmac-sha256' }),
    });
    expect(await world.valueOf('call', { client, tool: 'echo', args_text: '{"a":1}' })).toEqual({ a: 1 });
  });

  test('one key for both directions is refused', async () => {
    const { request_key } = world.credential;
    const file = world.fileOf({ ...world.credential, response_key: request_key });
    expect(await refusal({ file })).toContain('must differ');
  });

  test('no secret is in the repr of a client, nor in what its object holds', async () => {
    const client = await world.connect();
    const shown = String(await world.valueOf('inside', { client }));
    expect(shown).toContain('python-agent');
    for (const secret of secrets()) expect(shown).not.toContain(secret);
  });

  test('a credential that the server does not know is a failure to communicate', async () => {
    const { request_key, response_key } = world.credential;
    // Swapped: each is a good secret, in the wrong place.
    const file = world.fileOf({ ...world.credential, request_key: response_key, response_key: request_key });
    const client = await world.connect({ file });
    const { error } = await world.python.run('call', { client, tool: 'echo' });
    expect(error).toMatchObject({ type: 'ClientError', code: 'reply_unverified' });
    expect(error?.message).toContain('unsigned');
  });

  test('call prints the result of a tool, and that of a job once it has ended', async () => {
    const credential = ['--credential', world.fileOf()];
    const sum = await runProgram(['call', 'batch_sum', '{"numbers":[1.0,1e-05]}', ...credential]);
    expect(sum).toEqual({
      code: EXITS.ok.exitCode,
      stdout: '{\n  "count": 2,\n  "total": 1.00001\n}\n',
      stderr: '',
    });
    const args = '{"seconds": 1, "payload": {"Zoë": "€\\u001b\\u009b"}}';
    const job = await runProgram(['call', 'start_long_task', '-', ...credential], args);
    expect(job).toEqual({ code: 0, stdout: '{\n  "Zoë": "€\\u001b\\u009b"\n}\n', stderr: '' });
  });

  test('call --no-wait prints the id of the job, and a result where there is none', async () => {
    const options = ['--no-wait', '--credential', world.fileOf()];
    const { stdout } = await runProgram(['call', 'start_long_task', '{"seconds":20}', ...options]);
    const { job_id } = JSON.parse(stdout);
    expect(await world.valueOf('cancel', { client: await world.connect(), job_id })).toBe('cancelled');
    expect((await runProgram(['call', 'echo', '{"a":1}', ...options])).stdout).toBe('{\n  "a": 1\n}\n');
  });

  test('exit codes are those of waybill call, and messages say why in one line', async () => {
    const file = world.fileOf();
    const closed = ['--credential', file, '--url', 'http://127.0.0.1:1/call', '--timeout', '0.3'];
    const cases = [
      [
        ['call', 'fails', '--credential', file],
        'refused',
        /^waybill: job_failed: the paper has run out: Zoë\n$/,
      ],
      [['call', 'echo', '{"a":', '--credential', file], 'wrongUse', /^waybill: .*not JSON.*\n$/],
      [['call', 'echo', '{"a":1,"a":2}', '--credential', file], 'wrongUse', /^waybill: .*twice.*\n$/],
      [['call', 'echo', '[1]', '--credential', file], 'wrongUse', /^waybill: args must be .*\n$/],
      [['call', 'echo'], 'wrongUse', /--credential FILE is required/],
      [['call', 'echo', '--credential', '/nowhere.json'], 'wrongUse', /^waybill: cannot read .*\n$/],
      [['call', 'echo', ...closed], 'noAnswer', /^waybill: .*add --request-id [0-9a-f-]{36}\n$/],
    ] as const;
    for (const [args, exit, text] of cases) {
      const { code, stdout, stderr } = await runProgram(args);
      expect({ args, code, stdout }).toEqual({ args, code: EXITS[exit].exitCode, stdout: '' });
      expect(stderr).toMatch(text);
      for (const secret of secrets()) expect(stderr).not.toContain(secret);
    }
  });
});
