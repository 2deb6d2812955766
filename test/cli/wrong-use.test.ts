import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { openDatabase } from '../../src/store/sqlite/driver.ts';
import { tempFolder } from '../support/temp.ts';
import { type Ended, assertWrongUse, type RunOptions, serve, snapshot, waybill } from './waybill.ts';

type Case = readonly [args: readonly string[], stderr: RegExp, options?: Partial<RunOptions>];

/** Runs every case at once in one folder and expects each to be refused, with nothing changed on disk. */
async function assertAllRefused(cwd: string, cases: readonly Case[]): Promise<void> {
  const before = snapshot(cwd);
  const ended = await Promise.all(cases.map(([args, , options]) => waybill(args, { cwd, ...options })));
  for (const [i, [, pattern]] of cases.entries()) assertWrongUse(at(ended, i), pattern);
  expect(snapshot(cwd)).toEqual(before);
}

function at(all: readonly Ended[], i: number): Ended {
  const one = all[i];
  if (one === undefined) throw new RangeError('no such case');
  return one;
}

describe('wrong use is told in one line, ends with exit code 2 and changes nothing:', () => {
  test('verbs, flags and arguments', async () => {
    await assertAllRefused(tempFolder(), [
      [
        [],
        /name what to do: demo, serve, worker, mcp, wrap, clients, keygen, audit, call, jobs, tools, doctor, connect, install; see "waybill --help"/,
      ],
      [['surf'], /unknown command 'surf'/],
      [['help', 'surf'], /unknown command 'surf'; see "waybill --help"/],
      [['help', 'clients', 'surf'], /unknown command 'surf'; see "waybill clients --help"/],
      [
        ['clients'],
        /name what to do: add, list, show, set, rotate, revoke, token; see "waybill clients --help"/,
      ],
      [['jobs', 'ge'], /unknown command 'ge' \(Did you mean get\?\); see "waybill jobs --help"/],
      [
        ['serve', '--prot', '1'],
        /unknown option '--prot' \(Did you mean --port\?\); see "waybill serve --help"/,
      ],
      [['serve', '--port'], /option '--port <number>' argument missing/],
      [['serve', '--port', '65536'], /must be a whole number from 0 to 65535/],
      [['serve', '--port', '1e3'], /must be a whole number/],
      [['serve', '--server-id', 'a b'], /must be 1-128 of A-Z/],
      [['serve', '--data', ''], /must not be empty/],
      [['serve', 'a.ts', 'b.ts'], /too many arguments/],
      [['serve', '--stdio', '--port', '1'], /--stdio leaves no use for --port/],
      [['serve'], /'99999' from env 'WAYBILL_PORT' is invalid/, { env: { WAYBILL_PORT: '99999' } }],
      [['clients', 'add'], /missing required argument 'id'; see "waybill clients add --help"/],
      [['clients', 'add', 'no spaces'], /^waybill: id 'no spaces' must be 1-128 of A-Z/],
      [['clients', 'add', 'a', '--url', 'ftp://x'], /--url must be an http\(s\) URL/],
      [['clients', 'list'], /\.waybill holds no data of a server: name its folder with --data/],
      [
        ['call', 'batch_sum'],
        /required option '--credential <file>' not specified; see "waybill call --help"/,
      ],
      [
        ['tools', '--credentail', 'f.json'],
        /unknown option '--credentail' \(Did you mean --credential\?\); see "waybill tools --help"/,
      ],
      [['call', 'not a tool', '--credential', 'x'], /^waybill: tool 'not a tool' must be 1-128 of A-Z/],
      [['jobs', 'list', '--status', 'lost', '--credential', 'x'], /Allowed choices are queued, running/],
      [['jobs', 'list', '--limit', '0', '--credential', 'x'], /whole number from 1/],
      [['tools', '--timeout-ms', '0', '--credential', 'x'], /whole number from 1/],
    ]);
  });

  test('a password in --url is not printed', async () => {
    const env = { WAYBILL_URL: 'http://user:pass-word-1@host/' };
    const ended = await waybill(['clients', 'add', 'a'], { cwd: tempFolder(), env });
    assertWrongUse(ended, /--url must not contain a user name or a password/);
    expect(ended.stderr).not.toContain('pass-word-1');
  });

  test('modules', async () => {
    const cwd = tempFolder();
    const tool = (name: string) =>
      `defineTool({ name: '${name}', description: 'd', input: z.object({}), output: z.object({}), run: () => ({}) })`;
    const use = `import { defineTool } from 'waybill'; import { z } from 'zod';`;
    const modules: Record<string, string> = {
      'throws.js': `throw new Error('no\\ndatabase')`,
      'syntax.ts': 'export default [',
      'imports.ts': `import './nowhere.ts'; export default [];`,
      'package.ts': `import 'nowhere'; export default [];`,
      'tools.py': 'tools = []',
      'hang.mjs': 'await new Promise(() => {});',
      'exit.mjs': 'process.exit(0);',
      'nothing.ts': 'export const tools = [];',
      'empty.ts': 'export default [];',
      'others.mjs': `export default [{ name: 'x', run() {} }];`,
      'twice.ts': `${use} export default [${tool('a')}, ${tool('b')}, ${tool('a')}];`,
      // It holds a timer that would keep the process alive.
      'reserved.js': `${use} setInterval(() => {}, 1_000); export default ${tool('poll_job')};`,
      'wrong.ts': `${use} export default ${tool('not a name')};`,
    };
    for (const [name, source] of Object.entries(modules)) writeFileSync(join(cwd, name), source);
    await assertAllRefused(cwd, [
      [['serve', 'missing.ts'], /there is no module missing\.ts: name a JavaScript or TypeScript file/],
      [['serve', 'throws.js'], /module throws\.js cannot be loaded: no database$/m],
      [['serve', 'syntax.ts'], /module syntax\.ts cannot be loaded: .* at \S+syntax\.ts:1:\d+$/m],
      [
        ['serve', 'imports.ts'],
        /module imports\.ts cannot be loaded: cannot find '\.\/nowhere\.ts': correct the import$/m,
      ],
      [
        ['serve', 'package.ts'],
        /cannot find 'nowhere': install it beside the module, or correct the import$/m,
      ],
      [['serve', 'tools.py'], /module tools\.py cannot be loaded: name a \.js, \.mjs, \.cjs or \.ts file/],
      [
        ['serve', 'hang.mjs'],
        /module hang\.mjs never finished loading: it awaits something that does not come/,
      ],
      [
        ['serve', 'exit.mjs'],
        /module exit\.mjs ended the process while it was loaded: take process\.exit out of it/,
      ],
      [['serve', 'nothing.ts'], /must default-export what defineTool returns/],
      [['serve', 'empty.ts'], /module empty\.ts exports no tool: /],
      [['serve', 'others.mjs'], /must default-export what defineTool returns/],
      [['serve', 'twice.ts'], /module twice\.ts has two tools named a: rename one/],
      [
        ['serve', 'reserved.js'],
        /has a tool named poll_job, as every server has already: choose another name/,
      ],
      [['serve', 'wrong.ts'], /cannot be loaded: tool "not a name": name must be 1-128/],
      [['serve', '.'], /\. is a folder: name a JavaScript or TypeScript file/],
    ]);
  });

  test('data directories that cannot be written', async () => {
    const cwd = tempFolder();
    writeFileSync(join(cwd, 'file'), '');
    const message = /(cannot make the data directory .*|file is a file, not a folder); choose another --data/;
    await assertAllRefused(
      cwd,
      ['file', 'file/below', '/proc/waybill', '/proc/waybill/below'].flatMap((data) => [
        [['serve', '--port', '0', '--data', data], message],
        [['clients', 'add', 'a', '--data', data], message],
      ]),
    );
  });

  test('a data directory of another running server, of another server id, of a newer schema', async () => {
    const cwd = tempFolder();
    const options = ['--server-id', 'one', '--data'];
    await Promise.all(
      ['other', 'newer'].map((data) => waybill(['clients', 'add', 'a', ...options, data], { cwd })),
    );
    await serve(cwd, ...options, 'used');
    const db = openDatabase(join(cwd, 'newer/waybill.db'));
    db.exec('PRAGMA user_version = 99');
    db.close();
    // A server that runs writes to its folder whenever it likes.
    const used = await waybill(['serve', '--port', '0', '--data', 'used'], { cwd });
    assertWrongUse(used, /used belongs to another running server: stop that one, or choose another --data/);
    const contents = () => ['other', 'newer'].map((data) => snapshot(join(cwd, data)));
    const before = contents();
    const ended = await Promise.all(
      ['serve --port 0 --server-id two --data other', 'clients add b --server-id two --data other'].map(
        (line) => waybill(line.split(' '), { cwd }),
      ),
    );
    for (const each of ended) assertWrongUse(each, /other belongs to server "one", not "two"/);
    for (const line of [
      'serve --port 0 --data newer',
      'clients add b --data newer',
      'clients list --data newer',
    ]) {
      assertWrongUse(
        await waybill(line.split(' '), { cwd }),
        /schema 99, .*: use the newer waybill that wrote it/,
      );
    }
    expect(contents().map(withoutLock)).toEqual(before.map(withoutLock));
  });

  test('a taken port and an address of another machine', async () => {
    const cwd = tempFolder();
    const holder = createServer().listen(0, '127.0.0.1');
    onTestFinished(() => void holder.close());
    await new Promise((resolve) => holder.once('listening', resolve));
    const { port } = holder.address() as { port: number };
    await assertAllRefused(cwd, [
      [
        ['serve', '--port', String(port)],
        /cannot listen on 127\.0\.0\.1:\d+: the port is taken; choose another --port/,
      ],
      [
        ['serve', '--behind-proxy', '--host', '192.0.2.1', '--port', '0'],
        /no such address; choose another --host/,
      ],
    ]);
  });

  test('credential files', async () => {
    const cwd = tempFolder();
    const good = {
      client_id: 'a',
      server_id: 's',
      url: 'http://127.0.0.1:9/call',
      request_key: 'r',
      response_key: 'p',
    };
    const homeless = { ...good, url: undefined };
    const files: Record<string, string> = {
      'open.json': JSON.stringify(good),
      'text.json': 'my secret',
      'array.json': '[]',
      'short.json': JSON.stringify({ ...good, request_key: undefined }),
      'long.json': JSON.stringify({ ...good, password: 'hunter2' }),
      'damaged.json': JSON.stringify({ ...good, request_key: `wb_${'A'.repeat(43)}00000000` }),
      'homeless.json': JSON.stringify(homeless),
      'wide.json': `${JSON.stringify(good)}${' '.repeat(70_000)}`,
    };
    for (const [name, text] of Object.entries(files)) writeFileSync(join(cwd, name), text, { mode: 0o600 });
    writeFileSync(join(cwd, 'latin.json'), Buffer.from([0xff, 0xfe]), { mode: 0o600 });
    chmodSync(join(cwd, 'open.json'), 0o640);
    symlinkSync('open.json', join(cwd, 'link.json'));
    mkdirSync(join(cwd, 'folder'));
    const verbs = [['call', 'batch_sum'], ['tools'], ['jobs', 'list'], ['jobs', 'wait', 'job_1']];
    const cases: readonly (readonly [string, RegExp])[] = [
      ['missing.json', /cannot read credential file missing\.json: there is no such file/],
      ['folder', /credential file folder is a folder: name a file/],
      ['/dev/null', /credential file \/dev\/null is not a regular file/],
      ['open.json', /open\.json is open to other users \(mode 640\): run chmod 600 open\.json/],
      ['link.json', /link\.json is open to other users/],
      [
        'text.json',
        /credential file text\.json: is not JSON; use the file that "waybill clients add --out" wrote/,
      ],
      ['array.json', /must be an object/],
      ['short.json', /request_key: is missing/],
      ['long.json', /has a member besides/],
      ['damaged.json', /request_key: has a wrong checksum/],
      ['homeless.json', /homeless\.json has no url: name one with --url/],
      ['wide.json', /has over 65536 bytes/],
      ['latin.json', /is not UTF-8 text/],
    ];
    await assertAllRefused(
      cwd,
      cases.map(([file, pattern], i) => [
        [...(verbs[i % verbs.length] ?? []), '--credential', file],
        pattern,
      ]),
    );
  });

  test('keys of the operator’s own', async () => {
    const cwd = tempFolder();
    const strong = 'Zq3-vV8_kL2.xN7+tB5/rM9=wJ4~hG6*';
    const files = {
      strong,
      again: strong,
      short: 'short',
      dull: 'a'.repeat(64),
      empty: '',
      wb: 'wb_cut',
      open: strong,
    };
    for (const [name, text] of Object.entries(files)) writeFileSync(join(cwd, name), text, { mode: 0o600 });
    chmodSync(join(cwd, 'open'), 0o604);
    const add = (request: string, response: string, ...more: string[]) => {
      const keys = ['--request-key-file', request, '--response-key-file', response];
      // Each to a file of its own, because they run at once.
      return ['clients', 'add', 'a', '--out', `${request}-${response}.json`, ...keys, ...more];
    };
    await assertAllRefused(cwd, [
      [
        ['clients', 'add', 'a', '--request-key-file', 'strong'],
        /give both --request-key-file and --response-key-file/,
      ],
      [add('strong', 'again'), /the two keys must differ/],
      [
        add('short', 'strong'),
        /the request key is shorter than 32 bytes; --allow-weak-key takes it all the same/,
      ],
      [add('strong', 'dull'), /the response key repeats itself too much to be random; --allow-weak-key/],
      [add('empty', 'strong', '--allow-weak-key'), /the request key is empty/],
      [add('wb', 'strong', '--allow-weak-key'), /the request key has the wrong length/],
      [add('open', 'strong'), /key file open is open to other users \(mode 604\): run chmod 600 open/],
      [add('strong', 'nowhere'), /cannot read key file nowhere: there is no such file/],
      [['clients', 'add', 'a', '--out', 'strong'], /cannot write strong: it exists already; name a new file/],
      [['clients', 'add', 'a', '--out', 'no/where'], /cannot write no\/where: make its folder first/],
    ]);
  });

  test('arguments that are no JSON object', async () => {
    const cwd = tempFolder();
    const credential = {
      client_id: 'a',
      server_id: 's',
      url: 'http://127.0.0.1:9/call',
      request_key: 'r',
      response_key: 'p',
    };
    writeFileSync(join(cwd, 'c.json'), JSON.stringify(credential), { mode: 0o600 });
    const call = (...args: string[]) => ['call', 'batch_sum', ...args, '--credential', 'c.json'];
    await assertAllRefused(cwd, [
      [call('{"pin":"1234"'), /the arguments are not JSON \(at .*\): give one object/],
      [call('[1]'), /the arguments are not a JSON object/],
      [call('-'), /the arguments are not a JSON object/, { stdin: '7' }],
      [call('{"a":{"b":1,"\\u0062":2}}'), /the arguments name a member twice: give each name once/],
      [call('{"a":1e999}'), /^waybill: args\.a: /],
      [call('{"__proto__":1}'), /^waybill: args\.__proto__: /],
      [call('{}', '--request-id', 'with space'), /must be 1-128 visible ASCII characters/],
    ]);
    const { stderr } = await waybill(call('{"pin":"1234"'), { cwd });
    expect(stderr).not.toContain('1234');
  });
});

describe('a failure', () => {
  test('is one JSON document on stdout with --json, and nothing on stderr', async () => {
    const cwd = tempFolder();
    writeFileSync(join(cwd, 'hang.mjs'), 'await new Promise(() => {});');
    await waybill(['clients', 'add', 'taken', '--data', 'd', '--out', 'c.json'], { cwd });
    const codes = {
      'serve --json --bad': 'usage',
      'serve missing.ts --json': 'setup',
      'serve hang.mjs --json': 'setup',
      'clients list --json': 'setup',
      'clients add taken --data d --json': 'setup',
      'call batch_sum {"numbers" --credential c.json --json': 'usage',
      'tools --json': 'usage',
      'tools --json --bad': 'usage',
      '--json': 'usage',
    };
    const ended = await Promise.all(Object.keys(codes).map((line) => waybill(line.split(' '), { cwd })));
    for (const [i, expected] of Object.values(codes).entries()) {
      const { code, stdout, stderr } = at(ended, i);
      expect({ code, stderr }).toEqual({ code: 2, stderr: '' });
      expect(stdout).toMatch(/^[^\n]+\n$/);
      expect(JSON.parse(stdout)).toEqual({
        error: { code: expected, message: expect.any(String), result: null },
      });
    }
  });

  test('shows its stack with WAYBILL_DEBUG, and only then', async () => {
    const cwd = tempFolder();
    writeFileSync(join(cwd, 'throws.js'), `throw new Error('no database')`);
    const ended = await waybill(['serve', 'throws.js'], { cwd, env: { WAYBILL_DEBUG: '1' } });
    expect(ended.code).toBe(2);
    expect(ended.stderr).toMatch(/^waybill: module throws\.js cannot be loaded: no database\n/);
    expect(ended.stderr).toMatch(/\bat .*throws\.js:1:\d+/);
  });
});

/** The lock may be made by whoever asks for it; it holds nothing. */
function withoutLock({ 'server.lock': _lock, ...rest }: Record<string, string>): Record<string, string> {
  return rest;
}
