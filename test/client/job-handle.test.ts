import { describe, expect, it } from 'vitest';
import { ClientError, type JobProgress, type JobUpdate, ProtocolError } from '../../src/client/index.ts';
import { CLIENT_LIMITS } from '../../src/limits.ts';
import type { RequestMessage } from '../../src/wire/envelope.ts';
import {
  type Answer,
  clientOf,
  createPeer,
  createTestClock,
  inTurn,
  type Members,
  refusal,
  rejection,
  reply,
  unsigned,
} from './peer.ts';

const JOB_ID = 'job-1';
const queued: Members = {
  status: 'accepted',
  result: { job_id: JOB_ID, progress: null, poll_after_ms: 400 },
};
const running = (progress: JobProgress | null): Members => ({
  status: 'running',
  result: { job_id: JOB_ID, progress: progress && { ...progress }, poll_after_ms: 400 },
});
const QUESTIONS = { confirm: { message: 'Sure?', schema: { type: 'object', properties: {} } } };
const waiting: Members = {
  status: 'running',
  result: { job_id: JOB_ID, progress: null, poll_after_ms: 400, questions: QUESTIONS },
};
const done: Members = { status: 'done', result: { rows: 3 } };
const failed: Members = { status: 'error', result: null, error: 'job_failed: the disk is full' };
const cancelled: Members = { status: 'error', result: null, error: 'cancelled: by the client' };
const expired: Members = { status: 'error', result: null, error: 'deadline_exceeded: after 1 h' };

/** Answers the start with `accepted`, then polls in turn. */
function createJobPeer(...polls: (Members | ((request: RequestMessage) => Answer))[]) {
  const turn = inTurn(
    ...polls.map((poll) => (typeof poll === 'function' ? poll : (r: RequestMessage) => reply(r, poll))),
  );
  let nth = 0;
  return createPeer((request) => {
    if (request.tool === 'long') return reply(request, queued);
    if (request.tool === 'poll_job') return turn(request, ++nth);
    return reply(request, { result: { job_id: JOB_ID, status: 'cancelled' } });
  });
}

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

describe('call of a job', () => {
  it('waits with held polls and returns the result', async () => {
    const peer = createJobPeer(running({ completed: 1 }), running({ completed: 2, total: 2 }), done);
    const clock = createTestClock();
    expect(await clientOf(peer, { clock }).call('long', { payload: {} })).toEqual({ rows: 3 });
    expect(peer.requests.map(({ tool, args }) => [tool, args])).toEqual([
      ['long', { payload: {} }],
      ...Array.from({ length: 3 }, () => ['poll_job', { job_id: JOB_ID, wait_ms: CLIENT_LIMITS.waitMs }]),
    ]);
    expect(clock.sleeps, 'a poll that brought news is followed at once').toEqual([]);
  });

  it('reports progress, each value once', async () => {
    const half = { completed: 1, total: 2, message: 'half', partial: { rows: 1 } };
    const peer = createJobPeer(running(null), running(half), running(half), running({ completed: 2 }), done);
    const seen: JobProgress[] = [];
    await clientOf(peer).call('long', {}, { onProgress: (progress) => seen.push(progress) });
    expect(seen).toEqual([half, { completed: 2 }]);
    const waits = peer.requests.slice(1).map(({ args }) => args['wait_ms']);
    expect(waits, 'who watches is shown first how the job stands').toEqual([
      undefined,
      ...Array(4).fill(2_000),
    ]);
  });

  it.each([
    ['failed', failed, 'job_failed', 'the disk is full'],
    ['was cancelled', cancelled, 'cancelled', 'by the client'],
    ['expired', expired, 'deadline_exceeded', 'after 1 h'],
  ] as const)('that %s throws its code and message', async (_, end, code, message) => {
    const error = await rejection(clientOf(createJobPeer(running(null), end)).call('long'));
    expect(error).toBeInstanceOf(ProtocolError);
    expect(error).toMatchObject({ code, message });
  });

  it('that was started before and has ended still gives its result', async () => {
    const peer = createJobPeer(done);
    expect(await clientOf(peer).call('long', {}, { requestId: 'order-17' })).toEqual({ rows: 3 });
    expect(peer.requests[0]?.request_id).toBe('order-17');
    expect(peer.requests[1]?.request_id).not.toBe('order-17');
  });

  it('waits no longer than half of a short timeoutMs in one poll', async () => {
    const peer = createJobPeer(done, done);
    await clientOf(peer).call('long', {}, { timeoutMs: 4_000 });
    await clientOf(peer, { timeoutMs: 2_000 }).job(JOB_ID).result();
    expect(peer.requests.map(({ args }) => args['wait_ms'])).toEqual([undefined, 2_000, 1_000]);
  });

  it('ends its wait when the signal aborts, and leaves the job alone', async () => {
    const controller = new AbortController();
    const reason = new Error('the user left');
    const peer = createJobPeer(running(null), () => {
      controller.abort(reason);
      return 'silence';
    });
    expect(await rejection(clientOf(peer).call('long', {}, { signal: controller.signal }))).toBe(reason);
    expect(peer.requests.map(({ tool }) => tool)).toEqual(['long', 'poll_job', 'poll_job']);
  });

  it('whose acceptance names no job is an error of the server', async () => {
    const peer = createPeer((request) => reply(request, { status: 'accepted', result: {} }));
    expect(await rejection(clientOf(peer).call('long'))).toMatchObject({ code: 'internal' });
  });
});

describe('waiting for a job', () => {
  it('outlasts a server that is away for longer than a call would wait', async () => {
    const lost = Array.from({ length: 20 }, () => () => new Error('connection refused'));
    const peer = createJobPeer(...lost, (r) => refusal(r, 'busy: starting'), running(null), ...lost, done);
    expect(await clientOf(peer).call('long')).toEqual({ rows: 3 });
    const job = await clientOf(createJobPeer(...lost, done)).start('long');
    expect(await job.result()).toEqual({ rows: 3 });
  });

  it('is not that patient with a server that never answered about the job', async () => {
    const peer = createJobPeer(() => new Error('connection refused'));
    const job = clientOf(peer).job(JOB_ID);
    expect(await rejection(job.result())).toMatchObject({ kind: 'connection' });
    expect(await rejection(collect(job.updates()))).toMatchObject({ kind: 'connection' });
    expect(peer.requests).toHaveLength(2 * CLIENT_LIMITS.attempts);
  });

  it('is patient from the first answer about the job', async () => {
    const lost = Array.from({ length: 20 }, () => () => new Error('connection refused'));
    const peer = createJobPeer(running(null), ...lost, done);
    expect(await clientOf(peer).job(JOB_ID).result()).toEqual({ rows: 3 });
  });

  it('gives up on replies that nobody signed, and tells how to find the job again', async () => {
    const peer = createJobPeer((request) => unsigned(request, 'bad_signature: no'));
    const error = await rejection(clientOf(peer).call('long'));
    expect(error).toBeInstanceOf(ClientError);
    expect(error).toMatchObject({
      kind: 'reply_unverified',
      message: expect.stringContaining(`client.job("${JOB_ID}") finds it`),
    });
  });

  it('pauses when a server does not hold polls, as long as it says', async () => {
    const clock = createTestClock();
    const peer = createJobPeer(running(null), running(null), running(null), done);
    await clientOf(peer, { clock }).call('long');
    expect(clock.sleeps).toHaveLength(2);
    for (const ms of clock.sleeps) expect(ms).toBeLessThanOrEqual(400);
  });

  it('pauses when a server says nothing of it', async () => {
    const clock = createTestClock();
    const silent: Members = { status: 'running', result: { job_id: JOB_ID, progress: null } };
    await clientOf(createJobPeer(silent, silent, done), { clock }).call('long');
    expect(clock.sleeps).toHaveLength(1);
    expect(clock.sleeps[0]).toBeLessThanOrEqual(CLIENT_LIMITS.pollAfterMs);
  });

  it('takes progress in a shape it does not know for none', async () => {
    const odd: Members = { status: 'running', result: { job_id: JOB_ID, progress: { percent: 5 } } };
    const [update] = await collect(clientOf(createJobPeer(odd, done)).job(JOB_ID).updates());
    expect(update).toMatchObject({ state: 'running', progress: null });
  });

  it('takes a status that no poll can have for an error of the server', async () => {
    const job = clientOf(createJobPeer({ status: 'ok' })).job(JOB_ID);
    expect(await rejection(job.result())).toMatchObject({ code: 'internal' });
  });
});

describe('start', () => {
  it('returns a handle once the job is accepted', async () => {
    const peer = createJobPeer(running(null), done);
    const job = await clientOf(peer).start('long', { seconds: 1 });
    expect(job.id).toBe(JOB_ID);
    expect(peer.requests).toHaveLength(1);
    expect(await job.result()).toEqual({ rows: 3 });
  });

  it('of a direct tool throws a TypeError that carries the result', async () => {
    const peer = createPeer((request) => reply(request, { result: { total: 6 } }));
    const error = await rejection(clientOf(peer).start('batch_sum', { numbers: [1, 2, 3] }));
    expect(error).toBeInstanceOf(TypeError);
    expect(error).toMatchObject({ message: expect.stringContaining('use call()'), cause: { total: 6 } });
  });

  it('that is refused throws the refusal', async () => {
    const peer = createPeer((request) => refusal(request, 'invalid_args: seconds: too many'));
    expect(await rejection(clientOf(peer).start('long'))).toMatchObject({ code: 'invalid_args' });
  });
});

describe('client.job(id)', () => {
  it('asks nothing before it is used, and finds a job of another process', async () => {
    const peer = createJobPeer(done);
    const job = clientOf(peer).job(JOB_ID);
    expect(peer.requests).toEqual([]);
    expect(await job.result()).toEqual({ rows: 3 });
    expect(peer.requests[0]?.args).toMatchObject({ job_id: JOB_ID });
  });

  it('of an unknown job throws not_found when it is used', async () => {
    const peer = createPeer((request) => refusal(request, 'not_found: you have no such job'));
    const job = clientOf(peer).job('job-2');
    const uses = [() => job.poll(), () => job.result(), () => job.cancel(), () => collect(job.updates())];
    for (const use of uses) expect(await rejection(use())).toMatchObject({ code: 'not_found' });
  });

  it('needs an id', () => {
    expect(() => clientOf(createJobPeer()).job('')).toThrow(TypeError);
  });
});

describe('poll', () => {
  const error = (code: string) => expect.objectContaining({ name: 'ProtocolError', code });
  it.each<[string, Members, Record<string, unknown>]>([
    ['queued', queued, { progress: null, result: null, error: null }],
    ['running', running({ completed: 1 }), { progress: { completed: 1 }, result: null, error: null }],
    ['running', waiting, { progress: null, questions: QUESTIONS, result: null, error: null }],
    ['succeeded', done, { progress: null, result: { rows: 3 }, error: null }],
    ['failed', failed, { progress: null, result: null, error: error('job_failed') }],
    [
      'failed',
      { ...failed, error: 'internal: id 7' },
      { progress: null, result: null, error: error('internal') },
    ],
    ['cancelled', cancelled, { progress: null, result: null, error: error('cancelled') }],
    ['expired', expired, { progress: null, result: null, error: error('deadline_exceeded') }],
  ])('tells that a job is %s, without waiting', async (state, members, rest) => {
    const peer = createJobPeer(members);
    expect(await clientOf(peer).job(JOB_ID).poll()).toEqual({ state, questions: {}, ...rest });
    expect(peer.requests.map(({ args }) => args)).toEqual([{ job_id: JOB_ID }]);
  });

  it('takes an output that looks like progress for the output', async () => {
    const result = { progress: { completed: 1 }, questions: QUESTIONS, poll_after_ms: 1 };
    const update = await clientOf(createJobPeer({ status: 'done', result }))
      .job(JOB_ID)
      .poll();
    expect(update).toEqual({ state: 'succeeded', progress: null, questions: {}, result, error: null });
  });
});

describe('updates', () => {
  it('give the job as it is now, then every change, and end with its end', async () => {
    const one = running({ completed: 1 });
    const peer = createJobPeer(queued, queued, running(null), one, one, running({ completed: 2 }), done);
    const updates = await collect(clientOf(peer).job(JOB_ID).updates());
    expect(updates.map(({ state, progress }) => [state, progress?.completed])).toEqual([
      ['queued', undefined],
      ['running', undefined],
      ['running', 1],
      ['running', 2],
      ['succeeded', undefined],
    ]);
    expect(updates.at(-1)?.result).toEqual({ rows: 3 });
    expect(peer.requests.map(({ args }) => 'wait_ms' in args)).toEqual([false, ...Array(6).fill(true)]);
  });

  it('of a job that failed end with the reason and do not throw', async () => {
    const updates = await collect(clientOf(createJobPeer(failed)).job(JOB_ID).updates());
    expect(updates).toMatchObject([{ state: 'failed', error: { code: 'job_failed' } }]);
  });

  it('stop polling when their reader stops', async () => {
    const peer = createJobPeer(running({ completed: 1 }), running({ completed: 2 }), done);
    const seen: JobUpdate[] = [];
    for await (const update of clientOf(peer).job(JOB_ID).updates()) {
      seen.push(update);
      if (seen.length === 2) break;
    }
    await new Promise(setImmediate);
    expect(peer.requests).toHaveLength(2);
  });

  it('reject with the reason of the signal', async () => {
    const controller = new AbortController();
    const reason = new Error('the user left');
    const peer = createJobPeer(running({ completed: 1 }), running({ completed: 2 }));
    const updates = clientOf(peer).job(JOB_ID).updates({ signal: controller.signal });
    await updates.next();
    controller.abort(reason);
    expect(await rejection(updates.next())).toBe(reason);
    expect(await updates.next()).toEqual({ done: true, value: undefined });
    expect(peer.requests).toHaveLength(1);
  });
});

describe('a job that asks', () => {
  it('tells of its questions as a change of its own', async () => {
    const peer = createJobPeer(running(null), waiting, waiting, running(null), done);
    const updates = await collect(clientOf(peer).job(JOB_ID).updates());
    expect(updates.map(({ state, questions }) => [state, questions])).toEqual([
      ['running', {}],
      ['running', QUESTIONS],
      ['running', {}],
      ['succeeded', {}],
    ]);
  });

  it('has none where a server sends something else', async () => {
    for (const questions of [[1], 'no', { confirm: { message: 1, schema: {} } }, { confirm: null }]) {
      const result = { job_id: JOB_ID, progress: null, poll_after_ms: 400, questions };
      expect(
        (
          await clientOf(createJobPeer({ status: 'running', result }))
            .job(JOB_ID)
            .poll()
        ).questions,
      ).toEqual({});
    }
  });

  it('is answered by the keys of its questions', async () => {
    const peer = createPeer((request) =>
      reply(request, { status: 'ok', result: { job_id: JOB_ID, status: 'running' } }),
    );
    const answers = { confirm: { action: 'accept', content: { sure: true } } } as const;
    expect(await clientOf(peer).job(JOB_ID).answer(answers)).toBe('running');
    expect(peer.requests).toMatchObject([{ tool: 'answer_job', args: { job_id: JOB_ID, answers } }]);
  });

  it('throws what is wrong with an answer', async () => {
    const result = { issues: [{ path: 'confirm.content.sure', message: 'is missing' }] };
    const peer = createPeer((request) =>
      refusal(request, 'invalid_args: confirm.content.sure: is missing', { result }),
    );
    const error = await rejection(
      clientOf(peer)
        .job(JOB_ID)
        .answer({ confirm: { action: 'accept' } }),
    );
    expect(error).toMatchObject({ code: 'invalid_args', result });
  });
});

describe('cancel', () => {
  it('asks the server to end the job, and says how it stands', async () => {
    const peer = createJobPeer(cancelled);
    const job = clientOf(peer).job(JOB_ID);
    expect(await job.cancel()).toBe('cancelled');
    expect(peer.requests).toMatchObject([{ tool: 'cancel_job', args: { job_id: JOB_ID } }]);
    expect(await rejection(job.result())).toMatchObject({ code: 'cancelled' });
  });
});
