import { describe, expect, test, vi } from 'vitest';
import { ProtocolError, ToolError } from '../../src/errors/index.ts';
import { MCP_LIMITS } from '../../src/limits.ts';
import type { Backend, JobView } from '../../src/mcp/backend.ts';
import { waitForJob } from '../../src/mcp/wait.ts';
import { defineTool, type Progress } from '../../src/tools/index.ts';
import type { JsonObject } from '../../src/wire/index.ts';
import { z } from 'zod';
import { aborted, gate } from '../support/gate.ts';
import { jobTool } from '../support/server.ts';
import { type Answer, type Face, startFace, type Stream } from './face.ts';

/** The two kinds of hosts that have no Tasks. */
const HOSTS: readonly (readonly [
  string,
  (face: Face, name: string, args?: JsonObject) => Promise<Answer>,
])[] = [
  ['of 2026-07-28', (face, name, args = {}) => face.call(name, args)],
  [
    'of 2025-11-25',
    (face, name, args = {}) => face.older({ id: 1, method: 'tools/call', params: { name, arguments: args } }),
  ],
];
const STREAMS: readonly (readonly [string, (face: Face, name: string) => Promise<Stream>])[] = [
  ['of 2026-07-28', (face, name) => face.open('tools/call', { name }, { progressToken: 'p' })],
  [
    'of 2025-11-25',
    (face, name) =>
      face.openOlder({
        id: 1,
        method: 'tools/call',
        params: { name, arguments: {}, _meta: { progressToken: 'p' } },
      }),
  ],
];

function heldTool() {
  const stay = gate();
  const tool = jobTool('held', async (args, { signal }) => {
    await Promise.race([stay.opened, aborted(signal)]);
    signal.throwIfAborted();
    return args;
  });
  return { stay, tool };
}

describe.each(HOSTS)('a host without Tasks, %s', (_era, call) => {
  test('is given the result of a job that ends in time', async () => {
    const face = await startFace({ tools: [jobTool('work', (args) => args)] });
    const { result } = (await call(face, 'work', { a: 1 })).message;
    expect(result).toMatchObject({
      content: [{ type: 'text', text: '{"a":1}' }],
      structuredContent: { a: 1 },
    });
    expect(result).not.toHaveProperty('isError');
  });

  test('is given the failure that a job states as a result, and any other as an error', async () => {
    const states = jobTool('states', () => {
      throw new ToolError('out of paper');
    });
    const breaks = jobTool('breaks', () => {
      throw new Error('secret-42');
    });
    const face = await startFace({ tools: [states, breaks] });
    expect((await call(face, 'states')).message.result).toMatchObject({
      isError: true,
      content: [{ text: 'out of paper' }],
    });
    const broken = await call(face, 'breaks');
    expect(broken.message.error.code).toBe(-32_603);
    expect(broken.text).not.toContain('secret-42');
  });

  test('is told what to do about a job that takes longer, and can', async () => {
    const { stay, tool } = heldTool();
    const face = await startFace({ tools: [tool], mcp: { waitMs: 50 } });
    const { result } = (await call(face, 'held', { a: 1 })).message;
    const { job_id: id, status } = result.structuredContent;
    expect(['queued', 'running']).toContain(status);
    expect(result.content[0].text).toContain(id);
    expect(result.content[0].text).toContain('Call the tool poll_job with this job_id');
    const soon = (await call(face, 'poll_job', { job_id: id, wait_ms: 0 })).message.result;
    expect(soon.structuredContent.job_id).toBe(id);
    stay.open();
    const poll = async () => (await call(face, 'poll_job', { job_id: id, wait_ms: 20_000 })).message.result;
    await expect.poll(async () => (await poll()).structuredContent).toEqual({ a: 1 });
  });

  test('can cancel such a job, and is told so', async () => {
    const { tool } = heldTool();
    const face = await startFace({ tools: [tool], mcp: { waitMs: 0 } });
    const { job_id: id } = (await call(face, 'held')).message.result.structuredContent;
    const cancelled = (await call(face, 'cancel_job', { job_id: id })).message.result;
    expect(cancelled.structuredContent).toEqual({ job_id: id, status: 'cancelled' });
    const polled = (await call(face, 'poll_job', { job_id: id })).message.result;
    expect(polled).toMatchObject({ isError: true, content: [{ text: 'cancelled: by the client' }] });
  });

  test('is told what a job asks, and can answer', async () => {
    const question = {
      message: 'Which?',
      schema: { type: 'object', properties: { name: { type: 'string' } } },
    };
    const asks = jobTool('asks', async (_args, { ask }) => ({ ...(await ask({ who: question })) }));
    const face = await startFace({ tools: [asks] });
    const { result } = (await call(face, 'asks')).message;
    const { job_id: id, questions } = result.structuredContent;
    expect(questions).toEqual({ who: question });
    expect(result.content[0].text).toMatch(/answer_job.*\nwho: Which\? .*"name":\{"type":"string"\}/);
    const answers = { who: { action: 'accept', content: { name: 'Ada' } } };
    const answered = (await call(face, 'answer_job', { job_id: id, answers })).message.result;
    expect(answered.structuredContent).not.toHaveProperty('questions');
    const poll = async () => (await call(face, 'poll_job', { job_id: id, wait_ms: 20_000 })).message.result;
    await expect.poll(async () => (await poll()).structuredContent).toEqual(answers);
  });

  test("finds nothing under another client's job", async () => {
    const { tool } = heldTool();
    const face = await startFace({ tools: [tool], mcp: { waitMs: 0, anonymous: 'agent-b' } });
    const { message } = await face.call('held');
    await face.peer.addClient('agent-b');
    const { job_id: id } = message.result.structuredContent;
    const other: Face = {
      ...face,
      call: (name, args) => face.call(name, args, { token: null }),
      older: (sent) => face.older(sent, { authorization: undefined }),
    };
    for (const name of ['poll_job', 'cancel_job', 'answer_job']) {
      const args = { job_id: id, ...(name === 'answer_job' && { answers: {} }) };
      const { result } = (await call(other, name, args)).message;
      expect(result).toMatchObject({ isError: true, content: [{ text: 'not_found: you have no such job' }] });
    }
  });

  test('is given the id when nobody may look while it waits', async () => {
    const { tool } = heldTool();
    const policy = ({ tool: name }: { tool: string }) => {
      if (name === 'poll_job') throw new ProtocolError('rate_limited', 'slowly', { retry_after_ms: 1 });
    };
    const face = await startFace({ tools: [tool], policy });
    expect((await call(face, 'held')).message.result.structuredContent.job_id).toMatch(/^job_/);
  });

  test('waits no longer when the server drains', async () => {
    const { tool } = heldTool();
    const face = await startFace({ tools: [tool], mcp: { waitMs: 3_600_000 } });
    const answer = call(face, 'held');
    await expect.poll(() => face.peer.server.stats().callsInFlight).toBe(1);
    const closed = face.peer.close();
    expect((await answer).message.result.structuredContent.job_id).toMatch(/^job_/);
    await closed;
  });
});

describe.each(STREAMS)('a host without Tasks, %s, that asked for progress', (_era, open) => {
  test('is told of each change with rising values, and then the result', async () => {
    const report = gate<(progress: Progress) => void>();
    const stay = gate();
    const slow = jobTool('slow', async (_args, { progress }) => {
      report.open(progress);
      await stay.opened;
      return { done: true };
    });
    const face = await startFace({ tools: [slow] });
    const opening = open(face, 'slow');
    const progress = await report.opened;
    progress({ completed: 5, total: 10, message: 'half' });
    const stream = await opening;
    const values: number[] = [];
    for (;;) {
      const { method, params } = await stream.next();
      expect([method, params.progressToken]).toEqual(['notifications/progress', 'p']);
      values.push(params.progress);
      if (params.message === 'half') break;
    }
    progress({ completed: 5, total: 10, message: 'still' });
    const still = await stream.next();
    values.push(still.params.progress);
    expect(still.params.message).toBe('still');
    stay.open();
    const rest = await stream.rest();
    values.push(...rest.slice(0, -1).map(({ params }) => params.progress));
    expect(values.every((value, i) => i === 0 || value > Number(values[i - 1]))).toBe(true);
    expect(rest.at(-1).result.structuredContent).toEqual({ done: true });
  });
});

describe('a tool that hosts must drive as a task', () => {
  test('answers a host of an older revision with its id at once', async () => {
    const { stay, tool } = heldTool();
    const required = defineTool({
      name: 'required',
      description: 'For tests.',
      input: z.object({}),
      output: z.looseObject({}),
      job: true,
      taskSupport: 'required',
      run: (_args, context) => tool.run({} as never, context) as Promise<Record<string, unknown>>,
    });
    const face = await startFace({ tools: [required], mcp: { waitMs: 3_600_000 } });
    const { message } = await face.older({
      id: 1,
      method: 'tools/call',
      params: { name: 'required', arguments: {} },
    });
    expect(message.result.structuredContent.job_id).toMatch(/^job_/);
    stay.open();
  });
});

describe('waiting for a job', () => {
  const VIEW: JobView = {
    id: 'job_1',
    tool: 'held',
    state: 'running',
    progress: null,
    questions: {},
    result: null,
    error: null,
    createdMs: 0,
    updatedMs: 0,
    ttlMs: null,
    pollAfterMs: 500,
  };

  /** A backend of which nothing but `job` is asked. */
  const backendOf = (job: Backend['job']): Backend => {
    const other = () => Promise.reject(new Error('not asked'));
    return { name: 's', tools: other, call: other, cancel: other, answer: other, job };
  };

  test('looks at least every heartbeat, and tells that work goes on', async () => {
    const waits: number[] = [];
    const backend = backendOf(async (_id, wait) => {
      waits.push(wait?.ms ?? -1);
      return waits.length < 4 ? VIEW : { ...VIEW, state: 'succeeded', result: {} };
    });
    const report = vi.fn<(progress: Progress) => void>();
    const { signal } = new AbortController();
    const job = await waitForJob(backend, VIEW, { ms: 60_000, signal, report });
    expect(job.state).toBe('succeeded');
    expect(waits).toEqual([1, 1, 1, 1].map(() => MCP_LIMITS.heartbeatMs));
    // What has ended tells its result.
    expect(report.mock.calls).toEqual(Array.from({ length: 3 }, () => [{ completed: 0 }]));
  });

  test.each(['busy', 'rate_limited', 'internal', 'forbidden'] as const)(
    '%s: what is known of it',
    async (code) => {
      const backend = backendOf(() => Promise.reject(new ProtocolError(code, 'x')));
      const { signal } = new AbortController();
      expect(await waitForJob(backend, VIEW, { ms: 60_000, signal, report: () => {} })).toBe(VIEW);
    },
  );

  test('a job that was forgotten is told of', async () => {
    const backend = backendOf(() => Promise.reject(new ProtocolError('not_found', 'x')));
    const { signal } = new AbortController();
    await expect(waitForJob(backend, VIEW, { ms: 60_000, signal, report: () => {} })).rejects.toThrow('x');
  });

  test('says what it has seen, so that no change in between is waited past', async () => {
    const seen: unknown[] = [];
    const backend = backendOf(async (_id, wait) => {
      seen.push(wait?.after);
      const revision = seen.length;
      return revision < 3 ? { ...VIEW, revision } : { ...VIEW, state: 'succeeded', result: {} };
    });
    const { signal } = new AbortController();
    await waitForJob(backend, { ...VIEW, revision: 0 }, { ms: 60_000, signal, report: () => {} });
    expect(seen).toEqual([0, 1, 2]);
  });

  test('looks at nothing when there is no time, or nobody left', async () => {
    const backend = backendOf(() => Promise.reject(new Error('asked')));
    const { signal } = new AbortController();
    expect(await waitForJob(backend, VIEW, { ms: 0, signal, report: () => {} })).toBe(VIEW);
    expect(await waitForJob(backend, VIEW, { ms: 9, signal: AbortSignal.abort(), report: () => {} })).toBe(
      VIEW,
    );
  });
});
