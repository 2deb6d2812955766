import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { WRAP_LIMITS } from '../../../src/mcp/wrap/limits.ts';
import { wrapServer } from '../../../src/mcp/wrap/wrap.ts';
import { createTestLog } from '../../support/log.ts';
import { tempFolder } from '../../support/temp.ts';
import { hostile, isAlive, pidOf, refusalOf, textOf, wrapped } from './wrapping.ts';

const LIMITS = { ...WRAP_LIMITS };

/** Nobody waits for the real ones; this file has a process of its own. */
function limit(limits: { readonly [name in keyof typeof WRAP_LIMITS]?: number }): void {
  Object.assign(WRAP_LIMITS, limits);
}

/** For calls that get no answer; those that get one have it by then on a busy machine, too. */
const GIVEN_UP_MS = 3_000;

afterEach(() => limit(LIMITS));

describe('a wrapped server that ends during a call', () => {
  test.each([
    ['crash', /^the wrapped server was ended by SIGKILL during the call$/],
    ['exit', /^the wrapped server exited with code 3 during the call$/],
    ['huge', /^the wrapped server sent a message of more than 4194304 bytes during the call$/],
    ['deep', /no reply can carry|cannot be read|not answer with the result/],
  ])('(%s) fails it with the reason, is started again, and takes the next call', async (tool, message) => {
    const { client, log } = await wrapped(hostile());
    const before = await pidOf(client);
    await expect(client.call(tool)).rejects.toMatchObject({
      code: 'job_failed',
      message: expect.stringMatching(message),
    });
    const after = await pidOf(client);
    if (tool === 'deep') return;
    expect(after).not.toBe(before);
    await expect.poll(() => isAlive(before)).toBe(false);
    expect(log.lines.map((line) => line.message)).toContain('the wrapped server is there again');
  });

  test('killed from outside, it fails every call under way and no other', async () => {
    const { client } = await wrapped(hostile());
    const pid = await pidOf(client);
    const calls = [client.call('hang'), client.call('hang')].map((call) =>
      call.catch((error: unknown) => error),
    );
    // Answered after the two have arrived.
    await client.call('echo');
    process.kill(pid, 'SIGKILL');
    for (const error of await Promise.all(calls))
      expect(error).toMatchObject({ code: 'job_failed', message: expect.stringContaining('SIGKILL') });
    expect(textOf(await client.call('echo', { a: 1 }))).toBe('{"a":1}');
  });

  test('runs a job again that has attempts left', async () => {
    const { client } = await wrapped(hostile(), { jobs: ['hang.*'] });
    const pid = await pidOf(client);
    const job = await client.start('hang.job');
    await vi.waitFor(async () => expect((await job.poll()).state).toBe('running'), 20_000);
    await client.call('echo');
    process.kill(pid, 'SIGKILL');
    await vi.waitFor(async () => expect(await pidOf(client)).not.toBe(pid), 20_000);
    expect((await job.poll()).error).toBeNull();
    await job.cancel();
  });

  test('does not run a job again that may do harm', async () => {
    const { client } = await wrapped(hostile(), { jobs: ['crash'] });
    const job = await client.start('crash');
    await expect(job.result()).rejects.toMatchObject({
      code: 'job_failed',
      message: expect.stringContaining('ended by SIGKILL during the call'),
    });
  });
});

describe('while a wrapped server is away', () => {
  test('direct calls are told busy with the time to come back, jobs wait', async () => {
    limit({ waitMs: 200, restartMs: 120_000, maxRestartMs: 120_000 });
    const { client, isUp } = await wrapped(hostile('fails-again', join(tempFolder(), 'starts')), {
      jobs: ['pid'],
    });
    expect(isUp()).toBe(true);
    await expect(client.call('crash')).rejects.toMatchObject({ code: 'job_failed' });
    expect(isUp()).toBe(false);
    const job = await client.start('pid');
    const { code, result } = await refusalOf(client.call('echo', {}, { timeoutMs: 30_000 }));
    expect(code).toBe('busy');
    expect(Number(Object(result).retry_after_ms)).toBeGreaterThan(10_000);
    await expect.poll(async () => (await job.poll()).state).toBe('running');
  });

  test('it is started again with growing delays', async () => {
    limit({ restartMs: 10, waitMs: 50 });
    const { client, log } = await wrapped(hostile('fails-again', join(tempFolder(), 'starts')));
    await client.call('crash').catch(() => {});
    const delays = () =>
      log.lines.map(({ fields }) => fields['restart_in_ms']).filter((ms) => ms !== undefined);
    await vi.waitFor(() => expect(delays()).toEqual(expect.arrayContaining([10, 20, 40])), 40_000);
    expect(log.lines.map(({ fields }) => fields['text'])).toContain('the port is taken');
  });
});

describe('a call', () => {
  test('that is given up is cancelled in the wrapped server', async () => {
    const { client } = await wrapped(hostile(), {}, { directTimeoutMs: GIVEN_UP_MS });
    await expect(client.call('hang')).rejects.toMatchObject({ code: 'deadline_exceeded' });
    const ids: unknown = JSON.parse(textOf(await client.call('cancelled')));
    expect(ids).toHaveLength(1);
  });

  test('after which the wrapped server says nothing ends with its restart', async () => {
    limit({ aliveMs: 300 });
    const { client, log } = await wrapped(hostile(), {}, { directTimeoutMs: GIVEN_UP_MS });
    const pid = await pidOf(client);
    await expect(client.call('freeze')).rejects.toMatchObject({ code: 'deadline_exceeded' });
    await vi.waitFor(async () => expect(await pidOf(client)).not.toBe(pid), {
      timeout: 20_000,
      interval: 100,
    });
    await expect.poll(() => isAlive(pid)).toBe(false);
    expect(log.lines.map(({ fields }) => fields['why'])).toContain('did not answer');
  });

  test('waits for its turn when there are as many as may be, and is told busy when it waits too long', async () => {
    limit({ waitMs: 300 });
    const { client } = await wrapped(hostile(), { maxCalls: 1, jobs: ['hang.*'] });
    const job = await client.start('hang.job');
    // It says so when it has the one place.
    for await (const { progress } of job.updates()) if (progress !== null) break;
    expect(await refusalOf(client.call('echo', {}, { timeoutMs: 5_000 }))).toMatchObject({ code: 'busy' });
    await job.cancel();
    const calls = [1, 2, 3].map((n) => client.call('echo', { n }));
    expect((await Promise.all(calls)).map(textOf)).toEqual(['{"n":1}', '{"n":2}', '{"n":3}']);
  });

  test('is told busy at once when too many wait', async () => {
    limit({ maxWaiting: 1, waitMs: 20_000 });
    const { client } = await wrapped(hostile(), { maxCalls: 1, jobs: ['hang.*'] });
    const job = await client.start('hang.job');
    for await (const { progress } of job.updates()) if (progress !== null) break;
    const waiting = client.call('echo', { n: 1 });
    expect(await refusalOf(client.call('echo', { n: 2 }, { timeoutMs: 5_000 }))).toMatchObject({
      code: 'busy',
    });
    await job.cancel();
    expect(textOf(await waiting)).toBe('{"n":1}');
  });

  test('finds another server when the wrapped one reads nothing more', async () => {
    limit({ maxUnreadBytes: 400_000 });
    const { client } = await wrapped(hostile(), {}, { directTimeoutMs: GIVEN_UP_MS });
    const pid = await pidOf(client);
    const deaf = client.call('deaf').catch(() => {});
    const full = [1, 2, 3, 4].map((n) =>
      client.call('echo', { n, text: 'x'.repeat(300_000) }).catch(() => {}),
    );
    await Promise.all([deaf, ...full]);
    expect(await pidOf(client)).not.toBe(pid);
    await expect.poll(() => isAlive(pid)).toBe(false);
  });
});

describe('a wrapped server that talks too much', () => {
  test.each(['rubbish', 'flood', 'chatter'])('(%s) still answers', async (tool) => {
    const { client } = await wrapped(hostile());
    const pid = await pidOf(client);
    expect(textOf(await client.call(tool))).toMatch(/answer|flood|said/);
    expect(await pidOf(client)).toBe(pid);
  });

  test('has its rubbish and its stderr in the log, each line cut, and no more of them than can be read', async () => {
    const { client, log } = await wrapped(hostile());
    await client.call('rubbish');
    expect(log.complaints.map(({ fields }) => fields['text'])).toEqual(
      expect.arrayContaining(['Listening on port 3000', '{"half": ', '[1,2]', '{"jsonrpc":"1.0"}', 'null']),
    );
    await client.call('chatter');
    const left = () => log.lines.filter(({ message }) => message.includes('lines were left out'));
    await vi.waitFor(() => expect(left().length).toBeGreaterThan(0), 20_000);
    const lines = log.lines.filter(({ message }) => message.endsWith('writes to its stderr'));
    expect(lines.length).toBeGreaterThan(0);
    expect(lines.length).toBeLessThan(200);
    expect(Math.max(...lines.map(({ fields }) => String(fields['text']).length))).toBeLessThanOrEqual(1_001);
  });

  test('has only progress that means something in the record of a job', async () => {
    const { client, log } = await wrapped(hostile(), { jobs: ['progress'] });
    const seen: { message?: string }[] = [];
    const job = await client.start('progress');
    const result = await job.result({ onProgress: (progress) => seen.push(progress) });
    expect(result).toEqual({ content: [{ type: 'text', text: 'done' }] });
    for (const { message = '', ...rest } of seen) {
      expect(rest).toEqual({ completed: 1 });
      expect(message.length).toBeLessThanOrEqual(501);
    }
    expect(log.lines.filter(({ level }) => level === 'error')).toEqual([]);
  });
});

describe('what a wrapped tool answers', () => {
  test.each([
    ['fails', {}, 'no such file\n[image]'],
    ['fails-silently', {}, 'the wrapped tool failed and did not say why'],
    ['large', {}, /^no reply can carry what the wrapped tool returned: it has more than \d+ bytes$/],
    ['no-result', {}, 'the wrapped server did not answer with the result of a tool'],
    ['no-structure', {}, /did not return the structuredContent that its outputSchema promises/],
    ['rpc-error', { code: -32_602 }, /the inside of the server/],
    ['rpc-error', { code: -32_603 }, 'the wrapped server failed with JSON-RPC error -32603'],
    ['rpc-error', { code: 7 }, 'the wrapped server failed with JSON-RPC error 7'],
  ] as const)('(%s %j) is a failure in clear words', async (tool, args, message) => {
    const { client } = await wrapped(hostile());
    await expect(client.call(tool, args)).rejects.toMatchObject({
      code: 'job_failed',
      message: typeof message === 'string' ? message : expect.stringMatching(message),
    });
  });

  test('passes on kinds of blocks that nobody knows yet', async () => {
    const { client } = await wrapped(hostile());
    expect(await client.call('future')).toEqual({
      content: [{ type: 'hologram', depth: 3, _meta: { 'x/y': 1 } }],
    });
  });

  test('keeps its text when its structure is no object', async () => {
    const { client } = await wrapped(hostile());
    expect(await client.call('odd-structure')).toEqual({ content: [{ type: 'text', text: '[1]' }] });
  });

  test('cannot rest on a model: nothing of the kind is offered to it', async () => {
    const { client } = await wrapped(hostile());
    expect(textOf(await client.call('ask-model'))).toContain('-32601');
  });

  test('knows nothing of our environment but what every program needs and what it is given', async () => {
    vi.stubEnv('SECRET_OF_OURS', 'x');
    const target = { ...hostile(), env: { GIVEN: 'yes' } };
    const { client } = await wrapped(target);
    const environment: object = JSON.parse(textOf(await client.call('environment')));
    expect(environment).toMatchObject({ GIVEN: 'yes', PATH: process.env['PATH'] });
    const expected = ['GIVEN', 'HOME', 'LOGNAME', 'PATH', 'SHELL', 'TERM', 'USER'];
    expect(expected).toEqual(expect.arrayContaining(Object.keys(environment)));
    vi.unstubAllEnvs();
  });
});

describe('tools that no message can carry', () => {
  test('are left out, each with its reason in the log, and hide no other', async () => {
    const { client, log, leftOut, tools } = await wrapped(hostile('odd'));
    expect(tools.map(({ name }) => name)).toEqual(['echo', 'pid']);
    expect(leftOut).toBe(12);
    const reasons = log.complaints.map(({ fields }) => `${String(fields['tool'])}: ${String(fields['why'])}`);
    for (const [i, pattern] of [
      /^with space: its name is not 1-128 of/,
      /^x{128}…: its name is not/,
      /^poll_job: every Waybill server has a tool of this name/,
      /^: it has no name/,
      /^: it has no name/,
      /^no-type: its inputSchema does not say "type": "object"/,
      /^no-schema: its inputSchema does not say/,
      /^deep-schema: a message cannot carry it: .*nested too deep/,
      /^large-schema: a message cannot carry it: it has more than \d+ bytes/,
      /^bad-name: a message cannot carry it: .*forbidden name/,
      /^bad-text: a message cannot carry it: .*lone surrogate/,
      /^echo: another tool has the same name/,
    ].entries()) {
      expect(reasons[i]).toMatch(pattern);
    }
    const listed = await client.tools();
    expect(listed.find(({ name }) => name === 'echo')).toMatchObject({
      description: 'Says it again',
      annotations: { title: 'Says it again' },
    });
    expect(listed.find(({ name }) => name === 'pid')).toMatchObject({
      description: 'pid',
      annotations: {},
      input_schema: { type: 'object', 'x-mine': [1] },
    });
  });

  test('keep only the annotations that mean something', async () => {
    const { tools } = await wrapped(hostile());
    expect(tools.find(({ name }) => name === 'crash')?.annotations).toEqual({
      title: 'Crash',
      destructiveHint: true,
    });
  });

  test('do not count those that are only too large together: they are listed on several pages', async () => {
    const { client } = await wrapped(hostile('bulky'));
    const names = (await client.tools()).map(({ name }) => name);
    expect(names.filter((name) => name.startsWith('tool-'))).toHaveLength(30);
  });

  test('do not stop the pages behind them', async () => {
    const { tools } = await wrapped(hostile('paged'));
    expect(tools.length).toBeGreaterThan(20);
  });
});

describe('a start', () => {
  const start = (target: Parameters<typeof wrapped>[0], jobs: readonly string[] = []) =>
    wrapServer({ target, log: createTestLog(), jobs });

  test.each([
    [
      'no such program',
      { ...hostile(), command: 'no-such-program' },
      /^the server no-such-program cannot be wrapped: .*ENOENT/,
    ],
    ['a server that ends', hostile('dies'), /cannot be wrapped: it exited with code 1$/],
    ['no tools', hostile('empty'), /^the wrapped server has no tools$/],
    [
      'no tool that can be served',
      hostile('none'),
      /^none of the 1 tools .* can be served; with space: its name/,
    ],
    ['a list without end', hostile('endless'), /its list of tools has no end/],
  ] as const)('with %s is refused in clear words', async (_what, target, message) => {
    await expect(start(target)).rejects.toMatchObject({
      name: 'SetupError',
      message: expect.stringMatching(message),
    });
  });

  test('of a server that says nothing is refused in time, and leaves no process', async () => {
    // Long enough for its process to begin on a busy machine.
    limit({ startMs: 5_000, probeMs: 200 });
    const starts = join(tempFolder(), 'starts');
    await expect(start(hostile('silent', starts))).rejects.toMatchObject({
      message: expect.stringMatching(/5000 ms|timed out/),
    });
    expect(readFileSync(starts, 'utf8')).toBe('.');
  });

  test('can be given up', async () => {
    const stop = new AbortController();
    const starting = wrapServer({ target: hostile('silent'), log: createTestLog(), signal: stop.signal });
    stop.abort(new Error('no more'));
    await expect(starting).rejects.toThrow('no more');
  });

  test('with a pattern that matches nothing names the tools that there are', async () => {
    await expect(start(hostile('odd'), ['e*', 'report_*'])).rejects.toMatchObject({
      name: 'SetupError',
      message: "--job 'report_*' matches no tool: there are echo, pid",
    });
  });

  test('of an older server that ends at an unknown question asks it the old way', async () => {
    const { client } = await wrapped(hostile('strict'));
    expect(textOf(await client.call('echo', { a: 1 }))).toBe('{"a":1}');
  });
});

test('after a restart, a tool that is gone or has changed is refused, and the log says so', async () => {
  const { client, log } = await wrapped(hostile('fickle', join(tempFolder(), 'starts')));
  expect(textOf(await client.call('echo', { a: 1 }))).toBe('{"a":1}');
  await client.call('crash').catch(() => {});
  await pidOf(client);
  await expect(client.call('echo')).rejects.toMatchObject({
    message: expect.stringMatching(/has changed what this tool takes/),
  });
  await expect(client.call('flood')).rejects.toMatchObject({
    message: expect.stringMatching(/has this tool no longer/),
  });
  expect(log.complaints.map(({ fields }) => fields['tool'])).toEqual(
    expect.arrayContaining(['echo', 'flood']),
  );
  expect(log.complaints.map(({ fields }) => fields['tools'])).toContainEqual(['environment']);
});

test('close ends the process of the wrapped server', async () => {
  const { client, close } = await wrapped(hostile());
  const pid = await pidOf(client);
  await close();
  expect(isAlive(pid)).toBe(false);
});
