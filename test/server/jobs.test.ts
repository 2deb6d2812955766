import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, test } from 'vitest';
import { ToolError } from '../../src/errors/index.ts';
import { SERVER_LIMITS } from '../../src/limits.ts';
import type { JsonObject, ResponseMessage } from '../../src/wire/index.ts';
import { aborted, gate } from '../support/gate.ts';
import { codeOf, jobTool, startServer, type TestServer, jobIdOf } from '../support/server.ts';
import { request } from '../support/signing.ts';

const JOB_ID = /^job_[0-9a-f]{20}[A-Za-z0-9_-]{22}$/;

/** A job that the test leads: it runs until the test says how it ends. */
function ledTool(name = 'led') {
  const started = gate<{ report: (completed: number) => void; signal: AbortSignal }>();
  const ending = gate<object | Error>();
  const led = jobTool(name, async (_args, { progress, signal }) => {
    started.open({ report: (completed) => progress({ completed, total: 10 }), signal });
    const end = await Promise.race([ending.opened, aborted(signal).then(() => new Error('aborted'))]);
    if (end instanceof Error) throw end;
    return end;
  });
  return { tool: led, started: started.opened, end: ending.open };
}

async function start(peer: TestServer, tool: string, args: JsonObject = {}): Promise<string> {
  const { result } = await peer.call(tool, args);
  return jobIdOf(result);
}

const poll = (peer: TestServer, job_id: string, wait_ms = 0): Promise<ResponseMessage> =>
  peer.call('poll_job', { job_id, wait_ms });

async function ended(peer: TestServer, jobId: string): Promise<ResponseMessage> {
  for (;;) {
    const reply = await poll(peer, jobId, 5_000);
    if (reply.status === 'done' || reply.status === 'error') return reply;
  }
}

/** The first reply that tells of progress. */
async function withProgress(peer: TestServer, jobId: string): Promise<ResponseMessage> {
  for (;;) {
    const reply = await poll(peer, jobId, 20);
    if (reply.result?.['progress'] !== null) return reply;
  }
}

describe('§6 a job is accepted', () => {
  test('with its id and when to poll, over HTTP with status 202', async () => {
    const { tool } = ledTool();
    const peer = await startServer({ tools: [tool] });
    const reply = await peer.call('led', {});
    expect(reply).toMatchObject({ ok: true, status: 'accepted', error: null });
    expect(reply.result).toEqual({
      job_id: expect.stringMatching(JOB_ID),
      poll_after_ms: SERVER_LIMITS.pollAfterMs,
    });
    expect((await peer.send(peer.request('led'))).httpStatus).toBe(202);
  });

  test('its id can be neither guessed from another nor repeated', async () => {
    const { tool, end } = ledTool();
    const peer = await startServer({ tools: [tool] });
    const ids = await Promise.all(Array.from({ length: 500 }, (_, n) => start(peer, 'led', { n })));
    expect(new Set(ids.map((id) => id.slice(-22))).size).toBe(500);
    end({});
  });

  test('but not with arguments that its schema refuses, or when the policy forbids it', async () => {
    const { tool } = ledTool();
    const peer = await startServer({ tools: [tool] });
    expect(codeOf(await peer.call('poll_job', { job_id: 1 }))).toBe('invalid_args');
    expect((await peer.call('list_jobs')).result).toEqual({ jobs: [], next_cursor: null });
  });
});

describe('§6 the table of polls', () => {
  test('queued: accepted', async () => {
    const { tool, started, end } = ledTool();
    const peer = await startServer({ tools: [tool], concurrency: 1 });
    await start(peer, 'led', { n: 1 });
    await started;
    const id = await start(peer, 'led', { n: 2 });
    const { httpStatus } = await peer.send(peer.request('poll_job', { job_id: id }));
    expect(httpStatus).toBe(202);
    expect(await poll(peer, id)).toMatchObject({
      ok: true,
      status: 'accepted',
      result: { job_id: id, progress: null, poll_after_ms: SERVER_LIMITS.pollAfterMs },
      error: null,
    });
    end({});
  });

  test('running: running, with the progress or null', async () => {
    const { tool, started, end } = ledTool();
    const peer = await startServer({ tools: [tool] });
    const id = await start(peer, 'led');
    const { report } = await started;
    const poll_after_ms = SERVER_LIMITS.pollAfterMs;
    expect(await poll(peer, id)).toMatchObject({
      ok: true,
      status: 'running',
      result: { job_id: id, progress: null, poll_after_ms },
      error: null,
    });
    report(3);
    const { result, status } = await withProgress(peer, id);
    expect(status).toBe('running');
    expect(result).toEqual({ job_id: id, progress: { completed: 3, total: 10 }, poll_after_ms });
    end({});
  });

  test('succeeded: done, with the output of the tool', async () => {
    const { tool, end } = ledTool();
    const peer = await startServer({ tools: [tool] });
    const id = await start(peer, 'led');
    end({ text: 'ü', n: 1e21 });
    expect(await ended(peer, id)).toMatchObject({
      ok: true,
      status: 'done',
      result: { text: 'ü', n: 1e21 },
      error: null,
    });
    expect((await peer.send(peer.request('poll_job', { job_id: id }))).httpStatus).toBe(200);
  });

  test('failed: error, job_failed', async () => {
    const { tool, end } = ledTool();
    const peer = await startServer({ tools: [tool] });
    const id = await start(peer, 'led');
    end(new ToolError('no such file'));
    expect(await ended(peer, id)).toMatchObject({
      ok: true,
      status: 'error',
      result: null,
      error: 'job_failed: no such file',
    });
    expect((await peer.send(peer.request('poll_job', { job_id: id }))).httpStatus).toBe(200);
  });

  test('cancelled: error, cancelled', async () => {
    const { tool } = ledTool();
    const peer = await startServer({ tools: [tool] });
    const id = await start(peer, 'led');
    expect((await peer.call('cancel_job', { job_id: id })).result).toEqual({
      job_id: id,
      status: 'cancelled',
    });
    expect(await poll(peer, id)).toMatchObject({
      ok: true,
      status: 'error',
      result: null,
      error: 'cancelled: by the client',
    });
  });

  test('expired: error, deadline_exceeded', async () => {
    const { tool, started } = ledTool();
    const peer = await startServer({ tools: [tool] });
    const id = await start(peer, 'led');
    await started;
    peer.clock.nowMs += 3_600_000;
    const reply = await ended(peer, id);
    expect(reply).toMatchObject({ ok: true, status: 'error', result: null });
    expect(codeOf(reply)).toBe('deadline_exceeded');
  });
});

describe('§6 wait_ms', () => {
  test('holds the reply until there is progress, and until the job ends', async () => {
    const { tool, started, end } = ledTool();
    const peer = await startServer({ tools: [tool] });
    const id = await start(peer, 'led');
    const { report } = await started;
    for (const completed of [1, 2, 3]) {
      let answered = false;
      const held = poll(peer, id, 30_000).finally(() => (answered = true));
      // Other polls go through meanwhile, and this one is still held.
      for (let i = 0; i < 5; i++) await poll(peer, id);
      expect(answered).toBe(false);
      report(completed);
      expect((await held).result).toMatchObject({ progress: { completed } });
    }
    const last = poll(peer, id, 30_000);
    end({ done: true });
    expect(await last).toMatchObject({ status: 'done', result: { done: true } });
  });

  test('wakes everybody who waits', async () => {
    const { tool, started, end } = ledTool();
    const peer = await startServer({ tools: [tool] });
    const id = await start(peer, 'led');
    await started;
    const held = Array.from({ length: 200 }, () => poll(peer, id, 30_000));
    end({});
    expect(new Set((await Promise.all(held)).map(({ status }) => status))).toEqual(new Set(['done']));
    expect(peer.log.complaints).toEqual([]);
  });

  test('ends with the time, and the reply says how the job stands', async () => {
    const { tool, started, end } = ledTool();
    const peer = await startServer({ tools: [tool] });
    const id = await start(peer, 'led');
    await started;
    expect((await poll(peer, id, 20)).status).toBe('running');
    end({});
  });

  test('ends with the time also after the garbage was collected', async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const { tool, started, end } = ledTool();
    const peer = await startServer({ tools: [tool] });
    const id = await start(peer, 'led');
    await started;
    const held = Array.from({ length: 20 }, () => poll(peer, id, 200));
    for (let i = 0; i < 5; i++) {
      await poll(peer, id);
      collect();
    }
    expect(new Set((await Promise.all(held)).map(({ status }) => status))).toEqual(new Set(['running']));
    end({});
  });

  test('does not hold a job that has ended', async () => {
    const { tool, end } = ledTool();
    const peer = await startServer({ tools: [tool] });
    const id = await start(peer, 'led');
    end({});
    await ended(peer, id);
    expect((await poll(peer, id, 30_000)).status).toBe('done');
  });

  test.each([-1, 30_001, 1.5])('%d is refused', async (wait_ms) => {
    const peer = await startServer();
    expect(codeOf(await peer.call('poll_job', { job_id: 'job_x', wait_ms }))).toBe('invalid_args');
  });
});

describe('§6 only the client that started a job can see it', () => {
  test.each(['poll_job', 'cancel_job'])(
    '%s: a foreign id and an unknown id get the same reply, byte for byte',
    async (tool) => {
      const led = ledTool();
      const peer = await startServer({ tools: [led.tool] });
      const id = await start(peer, 'led');
      await led.started;
      const other = peer.as(await peer.addClient('agent-b'));
      const unknown = `${id.slice(0, -1)}${id.endsWith('A') ? 'B' : 'A'}`;
      const bodies: string[] = [];
      for (const job_id of [id, unknown, 'job_x', 'x']) {
        const bytes = request(
          other.credential,
          tool,
          { job_id },
          { ts_ms: peer.clock.nowMs, request_id: 'the-same' },
        );
        bodies.push((await peer.send(bytes)).body);
      }
      expect(new Set(bodies).size).toBe(1);
      expect(bodies[0]).toContain('"error":"not_found: you have no such job"');
      expect((await poll(peer, id)).status).toBe('running');
      led.end({});
    },
  );

  test('a held poll of a foreign id is not held', async () => {
    const led = ledTool();
    const peer = await startServer({ tools: [led.tool] });
    const id = await start(peer, 'led');
    const other = peer.as(await peer.addClient('agent-b'));
    expect(codeOf(await poll(other, id, 30_000))).toBe('not_found');
    led.end({});
  });

  test('list_jobs shows nobody else’s', async () => {
    const led = ledTool();
    const peer = await startServer({ tools: [led.tool] });
    const id = await start(peer, 'led');
    const other = peer.as(await peer.addClient('agent-b'));
    for (const args of [{}, { cursor: id }, { status: 'running' }, { cursor: 'zzz' }]) {
      expect((await other.call('list_jobs', args)).result).toEqual({ jobs: [], next_cursor: null });
    }
    led.end({});
  });
});

describe('cancel_job', () => {
  test('ends a queued job, which then never runs', async () => {
    const first = ledTool();
    let ran = false;
    const second = jobTool('second', () => {
      ran = true;
      return {};
    });
    const peer = await startServer({ tools: [first.tool, second], concurrency: 1 });
    const running = await start(peer, 'led');
    await first.started;
    const id = await start(peer, 'second');
    expect((await peer.call('cancel_job', { job_id: id })).result).toEqual({
      job_id: id,
      status: 'cancelled',
    });
    first.end({});
    await ended(peer, running);
    await ended(peer, await start(peer, 'second', { n: 2 }));
    expect(ran).toBe(true);
    expect(codeOf(await poll(peer, id))).toBe('cancelled');
  });

  test('aborts the tool of a running job', async () => {
    const led = ledTool();
    const peer = await startServer({ tools: [led.tool] });
    const id = await start(peer, 'led');
    const { signal } = await led.started;
    const reason = aborted(signal);
    await peer.call('cancel_job', { job_id: id });
    expect(await reason).toMatchObject({ code: 'cancelled' });
    expect(codeOf(await poll(peer, id))).toBe('cancelled');
  });

  test('says how a job has ended that had ended, again and again, and changes nothing', async () => {
    const led = ledTool();
    const peer = await startServer({ tools: [led.tool] });
    const id = await start(peer, 'led');
    led.end({ n: 1 });
    await ended(peer, id);
    for (let i = 0; i < 3; i++) {
      const { result } = await peer.call('cancel_job', { job_id: id });
      expect(result).toEqual({ job_id: id, status: 'succeeded' });
    }
    expect((await poll(peer, id)).result).toEqual({ n: 1 });
  });
});

describe('list_jobs', () => {
  const quick = jobTool('quick', () => ({}));

  async function startMany(peer: TestServer, count: number): Promise<string[]> {
    const ids: string[] = [];
    for (let n = 0; n < count; n++) {
      peer.clock.nowMs++;
      ids.push(await start(peer, 'quick', { n }));
    }
    for (const id of ids) await ended(peer, id);
    return ids.toReversed();
  }

  const idsOf = ({ result }: ResponseMessage) =>
    (result as { readonly jobs: { job_id: string }[] }).jobs.map(({ job_id }) => job_id);

  test('pages through all jobs, newest first, each once', async () => {
    const peer = await startServer({ tools: [quick] });
    const ids = await startMany(peer, 7);
    const pages: string[][] = [];
    let cursor: string | null = null;
    do {
      const reply: ResponseMessage = await peer.call('list_jobs', {
        limit: 3,
        ...(cursor !== null && { cursor }),
      });
      pages.push(idsOf(reply));
      cursor = reply.result?.['next_cursor'] as string | null;
    } while (cursor !== null);
    expect(pages.map((page) => page.length)).toEqual([3, 3, 1]);
    expect(pages.flat()).toEqual(ids);
  });

  test('a page that is exactly full is the last one', async () => {
    const peer = await startServer({ tools: [quick] });
    await startMany(peer, 3);
    expect((await peer.call('list_jobs', { limit: 3 })).result?.['next_cursor']).toBeNull();
  });

  test('tells of each job what a person wants to know, and filters by status', async () => {
    const led = ledTool();
    const peer = await startServer({ tools: [led.tool, quick] });
    const [done] = await startMany(peer, 1);
    peer.clock.nowMs++;
    const running = await start(peer, 'led');
    const { report } = await led.started;
    report(4);
    await withProgress(peer, running);
    const reply = await peer.call('list_jobs', { status: 'running' });
    expect(reply.result).toEqual({
      jobs: [
        {
          job_id: running,
          tool: 'led',
          status: 'running',
          progress: { completed: 4, total: 10 },
          error: null,
          created_ms: peer.clock.nowMs,
          updated_ms: peer.clock.nowMs,
        },
      ],
      next_cursor: null,
    });
    expect(idsOf(await peer.call('list_jobs', { status: 'succeeded' }))).toEqual([done]);
    expect(idsOf(await peer.call('list_jobs', { status: 'failed' }))).toEqual([]);
    led.end({});
  });

  test('is answered however much its jobs have to say', async () => {
    const talker = jobTool('talker', (_args, { progress }) => {
      progress({ completed: 1, message: '€'.repeat(100_000), partial: { text: 'x'.repeat(500_000) } });
      throw new ToolError('\u0001'.repeat(100_000));
    });
    const peer = await startServer({ tools: [talker] });
    const ids: string[] = [];
    for (let n = 0; n < 40; n++) {
      peer.clock.nowMs++;
      ids.push(await start(peer, 'talker', { n }));
    }
    for (const id of ids) expect(codeOf(await ended(peer, id))).toBe('job_failed');
    const found: string[] = [];
    let cursor: string | null = null;
    do {
      const reply: ResponseMessage = await peer.call('list_jobs', cursor === null ? {} : { cursor });
      expect(reply.ok).toBe(true);
      found.push(...idsOf(reply));
      cursor = reply.result?.['next_cursor'] as string | null;
    } while (cursor !== null);
    expect(found).toEqual(ids.toReversed());
  });

  test.each([{ limit: 0 }, { limit: 101 }, { status: 'lost' }, { cursor: '' }, { more: 1 }])(
    '%o is refused',
    async (args) => {
      const peer = await startServer();
      expect(codeOf(await peer.call('list_jobs', args))).toBe('invalid_args');
    },
  );
});

describe('jobs over a restart', () => {
  test('a job that was accepted before a restart is run after it, and polled from the new server', async () => {
    const stuck = jobTool('work', (_args, { signal }) =>
      aborted(signal).then(() => Promise.reject(new Error('x'))),
    );
    const peer = await startServer({ tools: [stuck] });
    const id = await start(peer, 'work');
    await peer.close();
    const works = jobTool('work', () => ({ done: true }));
    const next = await startServer({ tools: [works], dir: peer.dir, credential: peer.credential });
    expect(await ended(next, id)).toMatchObject({ status: 'done', result: { done: true } });
  });
});
