import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { inProcess } from '../../src/transports/index.ts';
import { BUILT_IN_NAMES } from '../../src/server/built-in/names.ts';
import { createClient } from '../../src/client/index.ts';
import { createServer } from '../../src/server/index.ts';
import { request, verifiedReply } from '../support/signing.ts';
import { tempFolder } from '../support/temp.ts';
import { serve, serveWithAlice, start, waybill } from './waybill.ts';

const USE = `import { defineTool, ToolError } from 'waybill'; import { z } from 'zod';`;

function call(cwd: string, tool: string, args: object, ...more: string[]) {
  return waybill(['call', tool, JSON.stringify(args), '--credential', 'alice.json', ...more], { cwd });
}

describe('waybill serve', () => {
  test('says in one line where it listens, and answers there', async () => {
    const cwd = tempFolder();
    const running = start(['serve', '--port', '0', '--server-id', 'one', '--data', 'd'], { cwd });
    const [line, url] = await running.until('stdout', /^listening on (\S+\/call), server id one, data d\n/);
    const answers = await Promise.all(
      ['/livez', '/readyz', '/call'].map((path) => fetch(new URL(path, url)).then(({ status }) => status)),
    );
    expect(answers).toEqual([200, 200, 405]);
    running.child.kill('SIGTERM');
    const { code, stdout } = await running.ended;
    expect({ code, stdout }).toEqual({ code: 0, stdout: line });
  });

  test('with --json says so in one JSON line, and serves the example tools without a module', async () => {
    const { output, url } = await serve(tempFolder());
    const port = Number(new URL(url).port);
    expect(port).toBeGreaterThan(0);
    expect(JSON.parse(output.stdout)).toEqual({
      url: `http://127.0.0.1:${port}/call`,
      mcp_url: `http://127.0.0.1:${port}/mcp`,
      server_id: 'waybill',
      data: '.waybill',
      store: 'sqlite:.waybill',
      queue: 'sqlite:.waybill',
      tools: ['batch_sum', 'start_long_task'],
    });
  });

  test('reads its settings from variables, and flags win over them', async () => {
    const cwd = tempFolder();
    const env = {
      WAYBILL_SERVER_ID: 'of-env',
      WAYBILL_DATA: 'of-env',
      WAYBILL_PORT: '0',
      WAYBILL_HOST: '::1',
    };
    const flags = ['--data', 'of-flag', '--host', '127.0.0.1'];
    const running = start(['serve', '--json', ...flags], { cwd, env });
    const [line] = await running.until('stdout', /^.*\n/);
    expect(JSON.parse(line)).toMatchObject({
      url: expect.stringContaining('http://127.0.0.1:'),
      server_id: 'of-env',
      data: 'of-flag',
    });
  });

  test('serves the tools of a TypeScript module that lies anywhere on disk, with its own imports', async () => {
    const folder = mkdtempSync(join(tempFolder(), 'a b#c%20-'));
    mkdirSync(join(folder, 'lib'));
    writeFileSync(
      join(folder, 'lib/greeting.ts'),
      'export const greeting = (name: string): string => `hi ${name}`;',
    );
    writeFileSync(
      join(folder, 'tools.ts'),
      `${USE} import { greeting } from './lib/greeting.ts';
      enum Word { No = 'no' }
      export default [defineTool({
        name: 'greet', description: 'Greets.',
        input: z.object({ name: z.string() }), output: z.object({ text: z.string() }),
        run: ({ name }) => { if (name === Word.No) throw new ToolError('not this one'); return { text: greeting(name) }; },
      })];`,
    );
    const cwd = tempFolder();
    await serveWithAlice(cwd, join(folder, 'tools.ts'));
    const [greeted, refused, listed] = await Promise.all([
      call(cwd, 'greet', { name: 'Zoë' }, '--json'),
      call(cwd, 'greet', { name: 'no' }),
      waybill(['tools', '--credential', 'alice.json'], { cwd }),
    ]);
    expect(greeted).toEqual({ code: 0, stdout: '{"text":"hi Zoë"}\n', stderr: '' });
    // The module's ToolError is the server's own: its message may be shown.
    expect(refused).toEqual({ code: 1, stdout: '', stderr: 'waybill: job_failed: not this one\n' });
    expect(listed.stdout).toMatch(/^greet +direct +\{name\} +Greets\.$/m);
    expect(listed.stdout).not.toMatch(/batch_sum/);
  });

  test.each([
    ['one tool in a JavaScript module', 'm.js', `${USE} export default TOOL;`],
    ['a module that waits at its top level', 'm.mjs', `${USE} await 0; export default [TOOL];`],
    [
      'a CommonJS module',
      'm.cjs',
      `const { defineTool } = require('waybill'); const { z } = require('zod'); module.exports = [TOOL];`,
    ],
    [
      'a module that uses its own zod',
      'own.mjs',
      `${USE} import { isOwn } from 'zod'; if (!isOwn) throw new Error('not mine'); export default TOOL;`,
    ],
  ])('takes %s', async (what, name, source) => {
    const cwd = tempFolder();
    if (what.includes('own zod')) {
      mkdirSync(join(cwd, 'node_modules/zod'), { recursive: true });
      const zod = JSON.stringify(import.meta.resolve('zod'));
      writeFileSync(
        join(cwd, 'node_modules/zod/package.json'),
        '{"name":"zod","type":"module","exports":"./i.js"}',
      );
      writeFileSync(join(cwd, 'node_modules/zod/i.js'), `export * from ${zod}; export const isOwn = true;`);
    }
    const schemas = 'input: z.object({}), output: z.object({})';
    const tool = `defineTool({ name: 'one', description: 'd', ${schemas}, run: () => ({}) })`;
    writeFileSync(join(cwd, name), source.replace('TOOL', tool));
    const { output } = await serve(cwd, name);
    expect(JSON.parse(output.stdout)).toMatchObject({ tools: ['one'] });
  });

  test('knows the names of the tools that every server has', async () => {
    const server = await createServer({ tools: [], store: `sqlite:${tempFolder()}` });
    onTestFinished(() => server.close());
    const credential = await server.addClient({ id: 'a', url: 'http://x/' });
    const tools = await createClient(credential, { transport: inProcess(server) }).tools();
    expect(new Set(tools.map(({ name }) => name))).toEqual(BUILT_IN_NAMES);
  });

  test('--stdio answers one message a line on stdout alone, and ends when stdin ends', async () => {
    const cwd = tempFolder();
    await waybill(['clients', 'add', 'alice', '--out', 'alice.json'], { cwd });
    const credential = JSON.parse(readFileSync(join(cwd, 'alice.json'), 'utf8'));
    const numbers = [
      [1, 2],
      [40, 2],
    ];
    const lines = numbers.map((each) =>
      String(request(credential, 'batch_sum', { numbers: each }, { ts_ms: Date.now() })),
    );
    const { code, stdout, stderr } = await waybill(['serve', '--stdio'], {
      cwd,
      stdin: `${lines.join('\n')}\n`,
    });
    expect(code).toBe(0);
    const replies = stdout
      .trimEnd()
      .split('\n')
      .map((line) => verifiedReply(line, credential));
    expect(replies.map(({ result }) => result?.['total']).sort((a, b) => Number(a) - Number(b))).toEqual([
      3, 42,
    ]);
    const log = stderr
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(log[0]).toMatchObject({
      level: 'info',
      message: 'serving on stdin and stdout',
      server_id: 'waybill',
    });
    expect(log.find(({ why }) => why !== undefined)).toMatchObject({ why: 'end of stdin' });
  });
});

test('what a module logs to the console goes to stderr: stdout holds the messages of --stdio alone', async () => {
  const cwd = tempFolder();
  writeFileSync(
    join(cwd, 'tools.mjs'),
    `${USE} console.log('while loaded');
    export default defineTool({
      name: 'talks', description: 'd', input: z.object({}), output: z.object({}),
      run: () => { console.info('while called'); console.debug('debug'); return {}; },
    });`,
  );
  await waybill(['clients', 'add', 'alice', '--out', 'alice.json'], { cwd });
  const credential = JSON.parse(readFileSync(join(cwd, 'alice.json'), 'utf8'));
  const stdin = `${String(request(credential, 'talks', {}, { ts_ms: Date.now() }))}\n`;
  const { code, stdout, stderr } = await waybill(['serve', 'tools.mjs', '--stdio'], { cwd, stdin });
  expect(code).toBe(0);
  expect(verifiedReply(stdout.trimEnd(), credential)).toMatchObject({ status: 'ok' });
  expect(stderr.match(/^(while loaded|while called|debug)$/gm)).toHaveLength(3);
});

describe('a server that dies', () => {
  test('of a fault in its module says so in one line, with exit code 3', async () => {
    const cwd = tempFolder();
    writeFileSync(
      join(cwd, 'tools.mjs'),
      `${USE} export default defineTool({
        name: 'late', description: 'd', input: z.object({}), output: z.object({}),
        run: () => { setTimeout(() => { throw new Error('too\\nlate'); }, 50); return {}; },
      });`,
    );
    const serving = start(['serve', 'tools.mjs', '--port', '0'], { cwd });
    const [, url] = await serving.until('stdout', /^listening on (\S+),/);
    await waybill(['clients', 'add', 'alice', '--url', String(url), '--out', 'alice.json'], { cwd });
    await call(cwd, 'late', {});
    const { code, stderr } = await serving.ended;
    expect(code).toBe(3);
    expect(stderr).toMatch(
      /^waybill: unexpected: too late; this is a fault in waybill or in your module: [^\n]+\n$/,
    );
  });

  test('while somebody waits for a job leaves them exit code 3 and how to wait on', async () => {
    const cwd = tempFolder();
    const serving = await serveWithAlice(cwd);
    const args = [
      'call',
      'start_long_task',
      '{"seconds":20}',
      '--credential',
      'alice.json',
      '--timeout-ms',
      '8000',
    ];
    const waiting = start(args, { cwd });
    await waiting.until('stderr', /running/);
    serving.child.kill('SIGKILL');
    const { code, stderr } = await waiting.ended;
    expect(code).toBe(3);
    expect(stderr).toMatch(
      /^waybill: [^\n]+; the job may still run: waybill jobs wait job_\S+ --credential alice\.json\n$/m,
    );
  });
});

const HELD = `
  import { existsSync } from 'node:fs'; import { setTimeout } from 'node:timers/promises'; ${USE}
  export default defineTool({
    name: 'held', description: 'Ends when there is a file.', job: true,
    input: z.object({}), output: z.object({ a: z.int() }),
    run: async (_args, { signal }) => {
      console.error('begun');
      while (!existsSync('go')) await setTimeout(20, null, { signal });
      return { a: 1 };
    },
  });`;

describe('SIGTERM and Ctrl-C to waybill serve', () => {
  test.each(['SIGTERM', 'SIGINT'] as const)(
    '%s lets the running job end while /readyz says 503, also when npm passes it on a second time',
    async (signal) => {
      const cwd = tempFolder();
      writeFileSync(join(cwd, 'tools.mjs'), HELD);
      const serving = await serveWithAlice(cwd, 'tools.mjs');
      const { stdout } = await call(cwd, 'held', {}, '--no-wait');
      await serving.until('stderr', /begun/);
      const id = stdout.trim();
      // A request that is on its way when the signal comes: new connections are no longer taken.
      const { hostname, port } = new URL(serving.url);
      const socket = connect(Number(port), hostname);
      await new Promise((resolve) => socket.write('GET /readyz HTTP/1.1\r\nHost: x\r\n', resolve));
      const health = await fetch(new URL('/readyz', serving.url));
      expect(health.status).toBe(200);
      serving.child.kill(signal);
      serving.child.kill(signal);
      await serving.until('stderr', /"message":"draining/);
      const answer = new Promise<string>((resolve) => socket.once('data', (data) => resolve(String(data))));
      socket.end('Connection: close\r\n\r\n');
      expect(await answer).toMatch(/^HTTP\/1\.1 503 /);
      writeFileSync(join(cwd, 'go'), '');
      const { code, stderr } = await serving.ended;
      expect(code).toBe(0);
      expect(
        stderr
          .trimEnd()
          .split('\n')
          .filter((line) => line.startsWith('{'))
          .map((line) => JSON.parse(line).message)
          .at(-1),
      ).toBe('stopped');

      const again = await serve(cwd, 'tools.mjs');
      const got = await waybill(
        ['jobs', 'get', id, '--json', '--credential', 'alice.json', '--url', again.url],
        { cwd },
      );
      expect(JSON.parse(got.stdout)).toMatchObject({ job_id: id, status: 'succeeded', result: { a: 1 } });
    },
  );

  test('a second signal ends it at once with 143 or 130, and the job runs again after restart', async () => {
    const ends = { SIGTERM: 143, SIGINT: 130 } as const;
    await Promise.all(
      (['SIGTERM', 'SIGINT'] as const).map((signal) => assertEndsTwice(signal, ends[signal])),
    );
  });
});

const SECOND_TIME = `
  import { existsSync, writeFileSync } from 'node:fs'; ${USE}
  export default defineTool({
    name: 'second_time', description: 'Ends when it runs for the second time.', job: true,
    input: z.object({}), output: z.object({ done: z.boolean() }),
    run: async () => {
      if (existsSync('ran')) return { done: true };
      writeFileSync('ran', '');
      console.error('first attempt');
      return new Promise(() => {});
    },
  });`;

async function assertEndsTwice(signal: 'SIGTERM' | 'SIGINT', code: number): Promise<void> {
  const cwd = tempFolder();
  writeFileSync(join(cwd, 'tools.mjs'), SECOND_TIME);
  const serving = await serveWithAlice(cwd, 'tools.mjs');
  const { stdout } = await call(cwd, 'second_time', {}, '--no-wait');
  await serving.until('stderr', /first attempt/);
  serving.child.kill(signal);
  await serving.until('stderr', /"message":"draining/);
  // Later than a signal that npm repeats.
  await new Promise((resolve) => setTimeout(resolve, 400));
  serving.child.kill(signal);
  expect((await serving.ended).code).toBe(code);

  const { url } = await serve(cwd, 'tools.mjs');
  const wait = ['jobs', 'wait', stdout.trim(), '--credential', 'alice.json', '--url', url, '--json'];
  expect(await waybill(wait, { cwd })).toMatchObject({ code: 0, stdout: '{"done":true}\n' });
}
