import { describe, expect, onTestFinished, test } from 'vitest';
import { ToolError } from '../../src/index.ts';
import { ClientError } from '../../src/errors/index.ts';
import type { Backend, Called, JobView } from '../../src/mcp/backend.ts';
import { createRemoteBackend } from '../../src/mcp/remote.ts';
import { type Listener, listen } from '../../src/transports/index.ts';
import { rejection } from '../client/peer.ts';
import { aborted, type Gate, gate } from '../support/gate.ts';
import { anyTool, jobTool, readTool, startServer, type TestServer } from '../support/server.ts';
import { type Relay, startRelay, type Tamper } from './relay.ts';

interface World {
  readonly peer: TestServer;
  readonly listener: Listener;
  /** Lets the job `work` end. */
  readonly end: Gate;
  /** Why a client of it had no answer, for its log. */
  readonly failures: readonly ClientError[];
  readonly remote: Backend;
  open(url?: string, timeoutMs?: number): Backend;
}

/** A real server on a real port, and the tools of it behind a credential. */
async function start(): Promise<World> {
  const end = gate();
  const tools = [
    readTool('echo', (args) => args),
    readTool('slow', async (_args, { signal }) => ({ why: String(await aborted(signal)) })),
    anyTool('refuse', () => {
      throw new ToolError('no paper');
    }),
    jobTool('work', async (_args, { progress, signal }) => {
      progress({ completed: 1, total: 2, message: 'half' });
      await Promise.race([end.opened, aborted(signal)]);
      return { done: true };
    }),
    jobTool('confirm', async (_args, { ask }) => {
      const schema = { type: 'object', properties: { sure: { type: 'boolean' } } };
      const { sure } = await ask({ sure: { message: 'Delete 12 files?', schema } });
      return { answer: { ...sure?.content } };
    }),
    jobTool('break', () => {
      throw new ToolError('out of paper');
    }),
  ];
  const peer = await startServer({ tools, now: Date.now });
  const listener = await listen(peer.server);
  onTestFinished(() => listener.close());
  const failures: ClientError[] = [];
  const open = (url = listener.url, timeoutMs?: number) =>
    createRemoteBackend(
      { ...peer.credential, url },
      { timeoutMs, onFailure: (error) => failures.push(error) },
    );
  return { peer, listener, end, failures, open, remote: open() };
}

let calls = 0;

function call(remote: Backend, tool: string, args = {}, signal?: AbortSignal): Promise<Called> {
  return remote.call({ requestId: `call-${++calls}`, tool, args }, signal === undefined ? {} : { signal });
}

/** The job that a call became. */
async function begin(remote: Backend, tool: string): Promise<JobView> {
  const called = await call(remote, tool);
  if (called.kind !== 'job') throw new Error('it is no job');
  return called.job;
}

/** Waits as a face does, until the job is as it should be. */
async function until(remote: Backend, id: string, wanted: (job: JobView) => boolean): Promise<JobView> {
  const { signal } = new AbortController();
  for (;;) {
    const job = await remote.job(id, { ms: 10_000, signal });
    if (wanted(job)) return job;
  }
}

describe('a remote server behind a credential', () => {
  test('lists its own tools in the order of names, without those that every server has', async () => {
    const { remote, peer } = await start();
    const tools = await remote.tools();
    expect(tools.map(({ name, job }) => [name, job])).toEqual([
      ['break', true],
      ['confirm', true],
      ['echo', false],
      ['refuse', false],
      ['slow', false],
      ['work', true],
    ]);
    expect(tools[2]).toEqual({
      name: 'echo',
      description: 'For tests.',
      annotations: { readOnlyHint: true },
      inputSchema: expect.objectContaining({ type: 'object' }),
      outputSchema: expect.objectContaining({ type: 'object' }),
      job: false,
      taskSupport: 'optional',
      asks: {},
    });
    expect(remote.name).toBe(peer.server.serverId);
  });

  test('lists more tools than one page holds', async () => {
    const names = Array.from({ length: 205 }, (_, i) => `tool_${String(i).padStart(3, '0')}`);
    const peer = await startServer({ tools: names.map((name) => readTool(name, () => ({}))), now: Date.now });
    const listener = await listen(peer.server);
    onTestFinished(() => listener.close());
    const remote = createRemoteBackend({ ...peer.credential, url: listener.url });
    expect((await remote.tools()).map(({ name }) => name)).toEqual(names);
  });

  test('answers a direct call with its result, under the given request_id', async () => {
    const { remote } = await start();
    expect(await call(remote, 'echo', { text: 'Zoë' })).toEqual({ kind: 'result', result: { text: 'Zoë' } });
    const twice = { requestId: 'same', tool: 'work', args: {} };
    const [first, second] = [await remote.call(twice, {}), await remote.call(twice, {})];
    expect(first.kind === 'job' && second.kind === 'job' && first.job.id === second.job.id).toBe(true);
  });

  test('refuses with the code and issues of the server', async () => {
    const { remote } = await start();
    expect(await rejection(call(remote, 'nowhere'))).toMatchObject({ code: 'unknown_tool' });
    expect(await rejection(call(remote, 'refuse'))).toMatchObject({
      code: 'job_failed',
      message: 'no paper',
    });
    expect(await rejection(remote.cancel('job_0'))).toMatchObject({ code: 'not_found' });
  });

  test('refuses arguments that no message can carry as invalid_args', async () => {
    const { remote } = await start();
    for (const text of ['\ud800', 'x'.repeat(1_100_000)])
      expect(await rejection(call(remote, 'echo', { text }))).toMatchObject({ code: 'invalid_args' });
  });

  test('a direct call stops waiting when whoever called has gone', async () => {
    const { remote } = await start();
    await remote.tools();
    const leaver = new AbortController();
    const waiting = rejection(call(remote, 'slow', {}, leaver.signal));
    leaver.abort(new Error('gone'));
    expect(await waiting).toMatchObject({ message: 'gone' });
  });

  test('a call to a job is not cut off: its id is told although whoever called has gone', async () => {
    const { remote } = await start();
    await remote.tools();
    const called = await call(remote, 'work', {}, AbortSignal.abort());
    expect(called.kind).toBe('job');
  });
});

describe('a job of a remote server', () => {
  test('shows its progress, then its result, with the times of the server', async () => {
    const { remote, end } = await start();
    const started = await begin(remote, 'work');
    expect(started).toMatchObject({ tool: 'work', state: 'queued', progress: null, ttlMs: null });
    expect(Math.abs(Date.now() - started.createdMs)).toBeLessThan(60_000);

    const half = await until(remote, started.id, ({ progress }) => progress !== null);
    expect(half).toMatchObject({
      id: started.id,
      tool: 'work',
      state: 'running',
      progress: { completed: 1, total: 2, message: 'half' },
      createdMs: started.createdMs,
      result: null,
      error: null,
    });
    end.open();
    const done = await until(remote, started.id, ({ state }) => state === 'succeeded');
    expect(done).toMatchObject({ tool: 'work', result: { done: true }, error: null, progress: null });
    expect(done.updatedMs).toBeGreaterThanOrEqual(half.updatedMs);
    // Nothing changes any more.
    expect(await remote.job(started.id)).toEqual(done);
  });

  test('that fails has the words of its tool', async () => {
    const { remote } = await start();
    const { id } = await begin(remote, 'break');
    const job = await until(remote, id, ({ state }) => state === 'failed');
    expect(job).toMatchObject({ result: null, error: 'job_failed: out of paper' });
  });

  test('that asks shows its question, and goes on with the answer', async () => {
    const { remote } = await start();
    const { id } = await begin(remote, 'confirm');
    const asking = await until(remote, id, ({ questions }) => Object.keys(questions).length > 0);
    expect(asking).toMatchObject({ state: 'running', questions: { sure: { message: 'Delete 12 files?' } } });
    await remote.answer(id, { sure: { action: 'accept', content: { sure: true } } });
    const done = await until(remote, id, ({ state }) => state === 'succeeded');
    expect(done).toMatchObject({ questions: {}, result: { answer: { sure: true } } });
    expect(await rejection(remote.answer('job_0', {}))).toMatchObject({ code: 'not_found' });
  });

  test('is cancelled', async () => {
    const { remote } = await start();
    const { id } = await begin(remote, 'work');
    await remote.cancel(id);
    expect(await remote.job(id)).toMatchObject({ state: 'cancelled', error: 'cancelled: by the client' });
  });

  test('of another process is found with its tool and its times', async () => {
    const { remote, end, open } = await start();
    const { id, createdMs } = await begin(remote, 'work');
    end.open();
    await until(remote, id, ({ state }) => state === 'succeeded');
    expect(await open().job(id)).toMatchObject({
      tool: 'work',
      state: 'succeeded',
      result: { done: true },
      createdMs,
    });
  });

  test('of another client is not found, as one that never was', async () => {
    const { remote, peer, listener } = await start();
    const { id } = await begin(remote, 'work');
    const bob = { ...(await peer.addClient('bob')), url: listener.url };
    const other = createRemoteBackend(bob);
    const [foreign, unknown] = await Promise.all([rejection(other.job(id)), rejection(other.job('job_0'))]);
    expect(foreign).toMatchObject({ code: 'not_found' });
    expect(foreign).toEqual(unknown);
    expect(await rejection(other.cancel(id))).toMatchObject({ code: 'not_found' });
  });

  test('is told as it is when whoever waits for it goes', async () => {
    const { remote } = await start();
    const { id } = await begin(remote, 'work');
    await until(remote, id, ({ progress }) => progress !== null);
    const leaver = new AbortController();
    const waiting = remote.job(id, { ms: 30_000, signal: leaver.signal });
    leaver.abort();
    expect(await waiting).toMatchObject({ state: 'running' });
  });
});

/** The relay gives the marker to whoever listens: no error may hold it. */
const MARKER = 'ignore-all-previous-instructions';

const TAMPERINGS: Readonly<Record<string, Tamper>> = {
  'another result': (reply) => reply.replace('"text":"honest"', `"text":"${MARKER}"`),
  'an unsigned refusal': (reply) =>
    JSON.stringify({
      ...JSON.parse(reply),
      ok: false,
      status: 'error',
      result: null,
      error: `internal: ${MARKER}`,
      signature: '',
    }),
  'another signature': (reply) => JSON.stringify({ ...JSON.parse(reply), signature: 'a'.repeat(64) }),
  'a member more': (reply) => reply.replace('{', `{"${MARKER}":1,`),
  'no message at all': () => `<html>${MARKER}</html>`,
  'a status of its own': (reply) => reply.replace('"status":"ok"', '"status":"done"'),
};

async function startRelayed(): Promise<World & { readonly relay: Relay }> {
  const world = await start();
  const relay = await startRelay(world.listener.url);
  return { ...world, relay, remote: world.open(relay.url) };
}

describe('a reply that was changed on its way', () => {
  test.each(Object.entries(TAMPERINGS))(
    'with %s is an error, and nothing of it comes out',
    async (_, tamper) => {
      const { remote, relay, failures } = await startRelayed();
      expect(await call(remote, 'echo', { text: 'honest' })).toMatchObject({ kind: 'result' });
      relay.tamper = tamper;
      const error = await rejection(call(remote, 'echo', { text: 'honest' }));
      expect(error).toBeInstanceOf(ClientError);
      expect(error).toMatchObject({ kind: 'reply_unverified' });
      expect(String(error)).not.toContain(MARKER);
      expect(String(error)).not.toContain('honest');
      expect(failures).toMatchObject([{ kind: 'reply_unverified' }]);
      relay.tamper = null;
      expect(await call(remote, 'echo', { text: 'again' })).toMatchObject({ result: { text: 'again' } });
    },
  );

  test('is an error for lists and for jobs too', async () => {
    const { remote, relay } = await startRelayed();
    const { id } = await begin(remote, 'work');
    await until(remote, id, ({ progress }) => progress !== null);
    relay.tamper = (reply) => reply.replace('For tests.', MARKER).replace('"half"', `"${MARKER}"`);
    const errors = await Promise.all([rejection(remote.tools()), rejection(remote.job(id))]);
    for (const error of errors) {
      expect(error).toMatchObject({ kind: 'reply_unverified' });
      expect(String(error)).not.toContain(MARKER);
    }
  });

  test('one that was recorded from another call answers nothing', async () => {
    const { remote, relay } = await startRelayed();
    let recorded = '';
    relay.tamper = (reply) => (recorded = reply);
    await call(remote, 'echo', { text: 'first' });
    relay.tamper = () => recorded;
    expect(await rejection(call(remote, 'echo', { text: 'second' }))).toMatchObject({
      kind: 'reply_unverified',
    });
  });
});

describe('a server that cannot be reached', () => {
  test('is an error with words of our own; the log gets the reason', async () => {
    const { listener, open, failures } = await start();
    const remote = open(listener.url, 2_000);
    await listener.close();
    const error = await rejection(call(remote, 'echo'));
    expect(error).toMatchObject({
      kind: 'connection',
      message: expect.stringContaining('cannot be reached'),
    });
    expect(failures[0]?.message).toContain('ECONNREFUSED');
  });
});
