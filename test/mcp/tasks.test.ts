import { describe, expect, test } from 'vitest';
import { ProtocolError, ToolError } from '../../src/errors/index.ts';
import { JOB_POLICY, MCP_LIMITS } from '../../src/limits.ts';
import { META } from '../../src/mcp/protocol.ts';
import { revokeClient } from '../../src/server/clients/clients.ts';
import { openClientStore } from '../../src/store/index.ts';
import type { Progress, ToolContext } from '../../src/tools/index.ts';
import type { JsonObject } from '../../src/wire/index.ts';
import { aborted, gate } from '../support/gate.ts';
import { anyTool, jobIdOf, jobTool } from '../support/server.ts';
import { type Face, type Message, startFace, WITH_TASKS } from './face.ts';

const capabilities = WITH_TASKS;
const QUESTION = { message: 'Which?', schema: { type: 'object', properties: { name: { type: 'string' } } } };

async function start(face: Face, name: string, args: JsonObject = {}): Promise<Message> {
  return (await face.call(name, args, { capabilities })).message.result;
}

async function get(face: Face, taskId: string): Promise<Message> {
  return (await face.ask('tasks/get', { taskId }, { capabilities })).message.result;
}

/** The task once it is no longer `working`. */
async function ended(face: Face, taskId: string): Promise<Message> {
  await expect.poll(async () => (await get(face, taskId)).status).not.toBe('working');
  return get(face, taskId);
}

/** A job that waits until it is let go, and then gives its arguments. */
function heldTool(name = 'held') {
  const stay = gate();
  const tool = jobTool(name, async (args, { signal }) => {
    await Promise.race([stay.opened, aborted(signal)]);
    signal.throwIfAborted();
    return args;
  });
  return { stay, tool };
}

describe('creating a task', () => {
  test('answers at once with a handle that is good', async () => {
    const { stay, tool } = heldTool();
    const face = await startFace({ tools: [tool] });
    const before = Date.now();
    const task = await start(face, 'held', { a: 1 });
    expect(task).toEqual({
      resultType: 'task',
      taskId: expect.stringMatching(/^job_/),
      status: 'working',
      createdAt: expect.stringMatching(/^\d{4}-.*Z$/),
      lastUpdatedAt: task.createdAt,
      ttlMs: JOB_POLICY.deadlineMs + JOB_POLICY.retentionMs,
      pollIntervalMs: MCP_LIMITS.pollIntervalMs,
      _meta: { [META.serverInfo]: expect.objectContaining({ name: 'srv-1' }) },
    });
    expect(Date.parse(task.createdAt)).toBeGreaterThanOrEqual(before);
    const { resultType, createdAt, status } = await get(face, task.taskId);
    expect({ resultType, createdAt, status }).toEqual({
      resultType: 'complete',
      createdAt: task.createdAt,
      status: 'working',
    });
    stay.open();
    expect((await ended(face, task.taskId)).status).toBe('completed');
  });

  test('is for jobs only: a direct tool gives its result', async () => {
    const face = await startFace({ tools: [anyTool('direct', () => ({ a: 1 }))] });
    expect(await start(face, 'direct')).toMatchObject({
      resultType: 'complete',
      structuredContent: { a: 1 },
    });
  });

  test('asks the policy once: a policy that forbids to look does not lose the handle', async () => {
    const { tool } = heldTool();
    const asked: string[] = [];
    const policy = (call: { tool: string }) => {
      asked.push(call.tool);
      if (call.tool === 'poll_job') throw new Error('nobody looks');
    };
    const face = await startFace({ tools: [tool], policy });
    expect((await start(face, 'held')).taskId).toMatch(/^job_/);
    expect(asked).toEqual(['held']);
  });

  test('two calls are two tasks', async () => {
    const { tool } = heldTool();
    const face = await startFace({ tools: [tool] });
    const [a, b] = [await start(face, 'held'), await start(face, 'held')];
    expect(a.taskId).not.toBe(b.taskId);
  });

  test('a client with too many of them is told busy', async () => {
    const { tool } = heldTool();
    const face = await startFace({ tools: [tool], maxOpenJobs: 1 });
    await start(face, 'held');
    const { message } = await face.call('held', {}, { capabilities });
    expect(message.error.data).toEqual({ code: 'busy', retry_after_ms: 1_000 });
  });
});

describe('how a task stands', () => {
  test('working, with its progress in words', async () => {
    const report = gate<(progress: Progress) => void>();
    const { stay } = heldTool();
    const slow = jobTool('slow', async (_args, { progress }) => {
      report.open(progress);
      await stay.opened;
      return {};
    });
    const face = await startFace({ tools: [slow] });
    const { taskId } = await start(face, 'slow');
    const progress = await report.opened;
    expect(await get(face, taskId)).not.toHaveProperty('statusMessage');
    progress({ completed: 3, total: 10, message: 'reading' });
    await expect.poll(async () => (await get(face, taskId)).statusMessage).toBe('3 of 10: reading');
    progress({ completed: 4 });
    await expect.poll(async () => (await get(face, taskId)).statusMessage).toBe('4');
    stay.open();
    await ended(face, taskId);
  });

  test('completed, with the result that the call would have had', async () => {
    const face = await startFace({ tools: [jobTool('work', (args) => args)] });
    const task = await ended(face, (await start(face, 'work', { a: 1 })).taskId);
    expect(task).toMatchObject({
      status: 'completed',
      result: {
        resultType: 'complete',
        content: [{ type: 'text', text: '{"a":1}' }],
        structuredContent: { a: 1 },
      },
    });
    // From then on it is kept for its retention.
    const sinceMs = Date.parse(task.lastUpdatedAt) - Date.parse(task.createdAt);
    expect(task.ttlMs).toBe(sinceMs + JOB_POLICY.retentionMs);
  });

  test('completed with isError when the tool stated its failure', async () => {
    const fails = jobTool('fails', () => {
      throw new ToolError('out of paper');
    });
    const face = await startFace({ tools: [fails] });
    const task = await ended(face, (await start(face, 'fails')).taskId);
    expect(task.status).toBe('completed');
    expect(task.result).toEqual({
      resultType: 'complete',
      content: [{ type: 'text', text: 'out of paper' }],
      isError: true,
    });
  });

  test('failed, with an error that says nothing, when the tool broke', async () => {
    const breaks = jobTool('breaks', () => {
      throw new Error('secret-42');
    });
    const face = await startFace({ tools: [breaks] });
    const task = await ended(face, (await start(face, 'breaks')).taskId);
    expect(task).toMatchObject({ status: 'failed', error: { code: -32_603, data: { code: 'internal' } } });
    expect(task).not.toHaveProperty('result');
    expect(JSON.stringify(task)).not.toContain('secret-42');
  });

  test('failed when its time was over', async () => {
    const { tool } = heldTool();
    const face = await startFace({
      tools: [anyTool('late', tool.run as never, { job: { deadlineMs: 50 } })],
    });
    const task = await ended(face, (await start(face, 'late')).taskId);
    expect(task).toMatchObject({
      status: 'failed',
      error: { code: 504, data: { code: 'deadline_exceeded' } },
    });
  });

  test('cancelled, for the tool too', async () => {
    const reason = gate<unknown>();
    const held = jobTool('held', async (_args, { signal }) => {
      reason.open(await aborted(signal));
      return {};
    });
    const face = await startFace({ tools: [held] });
    const { taskId } = await start(face, 'held');
    const { message } = await face.ask('tasks/cancel', { taskId }, { capabilities });
    expect(Object.keys(message.result)).toEqual(['resultType', '_meta']);
    const task = await get(face, taskId);
    expect(task.status).toBe('cancelled');
    expect(task).not.toHaveProperty('error');
    expect(await reason.opened).toMatchObject({ code: 'cancelled' });
    // Once more changes nothing.
    expect((await face.ask('tasks/cancel', { taskId }, { capabilities })).message.result.resultType).toBe(
      'complete',
    );
  });

  test('a task that has ended cannot be cancelled, and says so by staying as it is', async () => {
    const face = await startFace({ tools: [jobTool('work', () => ({}))] });
    const { taskId } = await start(face, 'work');
    await ended(face, taskId);
    await face.ask('tasks/cancel', { taskId }, { capabilities });
    expect((await get(face, taskId)).status).toBe('completed');
  });

  test('is the same after a restart of the server', async () => {
    const { tool } = heldTool();
    const first = await startFace({ tools: [tool, jobTool('work', () => ({ a: 1 }))] });
    const done = await start(first, 'work');
    const before = await ended(first, done.taskId);
    const open = await start(first, 'held', { b: 2 });
    await first.listener.close();
    await first.peer.close();
    const again = heldTool();
    again.stay.open();
    const second = await startFace({ tools: [again.tool, jobTool('work', () => ({}))], before: first });
    expect(await get(second, done.taskId)).toEqual(before);
    expect((await ended(second, open.taskId)).result.structuredContent).toEqual({ b: 2 });
  });
});

describe('a task that asks', () => {
  const asking = (name: string, ask: (context: ToolContext) => Promise<object>) =>
    jobTool(name, async (_args, context) => ({ ...(await ask(context)) }));

  test('shows its questions until they are answered, one by one', async () => {
    const tool = asking('asks', ({ ask }) => ask({ one: QUESTION, two: QUESTION }));
    const face = await startFace({ tools: [tool] });
    const { taskId } = await start(face, 'asks');
    const task = await ended(face, taskId);
    expect(task).toMatchObject({
      resultType: 'complete',
      status: 'input_required',
      inputRequests: {
        one: {
          method: 'elicitation/create',
          params: { mode: 'form', message: 'Which?', requestedSchema: QUESTION.schema },
        },
        two: { method: 'elicitation/create' },
      },
    });
    const update = async (inputResponses: JsonObject) =>
      (await face.ask('tasks/update', { taskId, inputResponses }, { capabilities })).message;
    const one = { action: 'accept', content: { name: 'Ada' } };
    expect(Object.keys((await update({ one, other: 'not asked' })).result)).toEqual(['resultType', '_meta']);
    expect(Object.keys((await get(face, taskId)).inputRequests)).toEqual(['two']);
    await update({ two: { action: 'decline' }, one: { action: 'cancel' } });
    const { result } = await ended(face, taskId);
    expect(result.structuredContent).toEqual({ one, two: { action: 'decline' } });
  });

  test('refuses an answer that breaks its question, and goes on waiting', async () => {
    const face = await startFace({ tools: [asking('asks', ({ ask }) => ask({ one: QUESTION }))] });
    const { taskId } = await start(face, 'asks');
    await ended(face, taskId);
    for (const one of [{ action: 'accept', content: { name: 5 } }, { action: 'perhaps' }, 5, null]) {
      const { message } = await face.ask(
        'tasks/update',
        { taskId, inputResponses: { one } },
        { capabilities },
      );
      expect(message.error.code).toBe(-32_602);
    }
    expect((await get(face, taskId)).status).toBe('input_required');
  });

  test('an update that answers nothing is acknowledged', async () => {
    const { tool } = heldTool();
    const face = await startFace({ tools: [tool] });
    const { taskId } = await start(face, 'held');
    const { message } = await face.ask(
      'tasks/update',
      { taskId, inputResponses: { a: 1 } },
      { capabilities },
    );
    expect(message.result.resultType).toBe('complete');
  });

  test('can be answered over the other wire', async () => {
    const face = await startFace({ tools: [asking('asks', ({ ask }) => ask({ one: QUESTION }))] });
    const { taskId } = await start(face, 'asks');
    await ended(face, taskId);
    const answers = { one: { action: 'accept', content: { name: 'Ada' } } };
    await face.peer.call('answer_job', { job_id: taskId, answers }, { ts_ms: Date.now() });
    expect((await ended(face, taskId)).result.structuredContent).toEqual(answers);
  });
});

describe('the two wires', () => {
  const now = () => ({ ts_ms: Date.now() });

  test('a job of the signed wire is a task', async () => {
    const face = await startFace({ tools: [jobTool('work', (args) => args)] });
    const { result } = await face.peer.call('work', { a: 1 }, now());
    expect((await ended(face, jobIdOf(result))).result.structuredContent).toEqual({ a: 1 });
  });

  test('a task is a job of the signed wire', async () => {
    const face = await startFace({ tools: [jobTool('work', (args) => args)] });
    const { taskId } = await start(face, 'work', { a: 1 });
    const poll = () => face.peer.call('poll_job', { job_id: taskId, wait_ms: 5_000 }, now());
    await expect.poll(async () => (await poll()).status).toBe('done');
    expect((await poll()).result).toEqual({ a: 1 });
  });
});

describe('subscriptions/listen', () => {
  const listen = (face: Face, taskIds?: string[], sent = {}) =>
    face.open('subscriptions/listen', taskIds === undefined ? {} : { notifications: { taskIds } }, {
      id: 'sub-1',
      capabilities,
      ...sent,
    });

  test('a client has so many at once, and then is told to come back', async () => {
    const face = await startFace({ tools: [] });
    const streams = await Promise.all(
      Array.from({ length: MCP_LIMITS.maxOwnSubscriptions }, () => listen(face)),
    );
    for (const stream of streams) await stream.next();
    const answer = await face.ask('subscriptions/listen', {});
    expect(answer.message.error).toMatchObject({ code: 503, data: { code: 'busy' } });
    for (const stream of streams) stream.leave();
  });

  test('the tokens of one client share its places, and another client has its own', async () => {
    const face = await startFace({ tools: [] });
    const { peer, newToken } = face;
    const streams = await Promise.all(
      Array.from({ length: MCP_LIMITS.maxOwnSubscriptions }, () => listen(face)),
    );
    for (const stream of streams) await stream.next();
    const token = await newToken(peer.credential.client_id);
    const answer = await face.ask('subscriptions/listen', {}, { token });
    expect(answer.message.error).toMatchObject({ code: 503, data: { code: 'busy' } });
    await peer.addClient('agent-b');
    const other = await listen(face, undefined, { token: await newToken('agent-b') });
    expect(await other.next()).toMatchObject({ params: { notifications: {} } });
    for (const stream of [...streams, other]) stream.leave();
  });

  /** What a subscription still tells whose client is refused while it waits for a change. */
  async function restOnceRefused(refuse: (face: Face) => Promise<unknown>) {
    const began = gate();
    const stay = gate();
    const held = jobTool('held', async () => {
      began.open();
      await stay.opened;
      return {};
    });
    const face = await startFace({ tools: [held] });
    const { taskId } = await start(face, 'held');
    const stream = await listen(face, [taskId]);
    expect(await stream.next()).toMatchObject({ params: { notifications: { taskIds: [taskId] } } });
    expect((await stream.next()).params.status).toBe('working');
    await began.opened;
    await expect.poll(() => face.peer.server.stats().callsInFlight).toBe(1);
    await refuse(face);
    await expect.poll(() => face.peer.server.calls.clientOf(face.token)).toBeNull();
    stay.open();
    const rest = await stream.rest();
    // That it had begun may be told still.
    return { face, last: rest.at(-1), told: rest.slice(0, -1).map(({ params }) => params.status) };
  }

  const end = {
    jsonrpc: '2.0',
    id: 'sub-1',
    result: { resultType: 'complete', _meta: { [META.subscriptionId]: 'sub-1' } },
  };

  test('ends with its response at the next change once its client is revoked', async () => {
    const { last, told } = await restOnceRefused(async ({ peer }) => {
      const store = openClientStore({ dir: peer.dir });
      await revokeClient(store, peer.credential.client_id);
      await store.close();
    });
    expect(last).toEqual(end);
    expect(told).not.toContain('completed');
  });

  test('ends so once its token is taken back, and leaves its place', async () => {
    let token = '';
    const { face, last, told } = await restOnceRefused(async ({ peer, newToken }) => {
      // A client has two at most.
      await newToken(peer.credential.client_id);
      token = await newToken(peer.credential.client_id);
    });
    expect(last).toEqual(end);
    expect(told).not.toContain('completed');
    const places = Array.from({ length: MCP_LIMITS.maxOwnSubscriptions });
    const streams = await Promise.all(places.map(() => listen(face, undefined, { token })));
    for (const stream of streams) {
      expect(await stream.next()).toMatchObject({ params: { notifications: {} } });
      stream.leave();
    }
  });

  test('tells of every change of the tasks that were named, and of no other', async () => {
    const report = gate<(progress: Progress) => void>();
    const stay = gate();
    const slow = jobTool('slow', async (_args, { progress }) => {
      report.open(progress);
      await stay.opened;
      return { done: true };
    });
    const other = heldTool('other');
    const face = await startFace({ tools: [slow, other.tool] });
    const { taskId } = await start(face, 'slow');
    await start(face, 'other');
    const progress = await report.opened;
    const stream = await listen(face, [taskId, taskId, 'job_unknown']);
    expect(stream.headers['content-type']).toBe('text/event-stream');
    const first = await stream.next();
    expect(first).toEqual({
      jsonrpc: '2.0',
      method: 'notifications/subscriptions/acknowledged',
      params: { notifications: { taskIds: [taskId] }, _meta: { [META.subscriptionId]: 'sub-1' } },
    });
    const now = await stream.next();
    expect(now).toMatchObject({ method: 'notifications/tasks', params: { taskId, status: 'working' } });
    expect(now.params['_meta']).toEqual({ [META.subscriptionId]: 'sub-1' });
    other.stay.open();
    for (const completed of [1, 2]) {
      progress({ completed });
      expect((await stream.next()).params.statusMessage).toBe(String(completed));
    }
    stay.open();
    const last = await stream.next();
    const { resultType: _resultType, ...task } = await get(face, taskId);
    expect(last.params).toEqual({ ...task, _meta: { [META.subscriptionId]: 'sub-1' } });
    stream.leave();
  });

  test('tells of a change within the same millisecond', async () => {
    const [began, go] = [gate(), gate()];
    const asks = jobTool('asks', async (_args, { ask }) => {
      began.open();
      await go.opened;
      return { ...(await ask({ one: QUESTION })) };
    });
    // A clock that stands still.
    const face = await startFace({ tools: [asks], now: () => 1_800_000_000_000 });
    const { taskId } = await start(face, 'asks');
    // That it has begun is a change as well.
    await began.opened;
    const stream = await listen(face, [taskId]);
    await stream.next();
    expect((await stream.next()).params.status).toBe('working');
    go.open();
    expect((await stream.next()).params.status).toBe('input_required');
    stream.leave();
  });

  test('begins with the acknowledgment however many tasks are named', async () => {
    const { tool } = heldTool();
    const face = await startFace({ tools: [tool] });
    const ids: string[] = [];
    for (let i = 0; i < MCP_LIMITS.maxSubscribedTasks; i++) ids.push((await start(face, 'held')).taskId);
    const stream = await listen(face, ids);
    expect((await stream.next()).params.notifications.taskIds).toEqual(ids);
    const told = new Set<string>();
    while (told.size < ids.length) told.add((await stream.next()).params.taskId);
    stream.leave();
  });

  test('comes as events even to a host that says it takes none', async () => {
    const face = await startFace({ tools: [] });
    const stream = await listen(face, undefined, { headers: { accept: 'application/json' } });
    expect(await stream.next()).toMatchObject({ params: { notifications: {} } });
    stream.leave();
  });

  test.each([
    ['the server closes', (face: Face) => face.peer.close()],
    ['the listener closes', (face: Face) => face.listener.close()],
  ])('ends with its response when %s', async (_why, close) => {
    const { tool } = heldTool();
    const face = await startFace({ tools: [tool] });
    const { taskId } = await start(face, 'held');
    const stream = await listen(face, [taskId]);
    await stream.next();
    const closed = close(face);
    const last = (await stream.rest()).at(-1);
    expect(last).toEqual({
      jsonrpc: '2.0',
      id: 'sub-1',
      result: { resultType: 'complete', _meta: { [META.subscriptionId]: 'sub-1' } },
    });
    await closed;
  });

  test('rides out a time in which the server cannot tell', async () => {
    const report = gate<(progress: Progress) => void>();
    const stay = gate();
    const slow = jobTool('slow', async (_args, { progress }) => {
      report.open(progress);
      await stay.opened;
      return {};
    });
    const refused = gate();
    let isAway = false;
    const policy = () => {
      if (!isAway) return;
      refused.open();
      throw new ProtocolError('busy', 'away');
    };
    const face = await startFace({ tools: [slow], policy });
    const { taskId } = await start(face, 'slow');
    const stream = await listen(face, [taskId]);
    const progress = await report.opened;
    await stream.next();
    // It waits now; what comes after this change is refused.
    await expect.poll(() => face.peer.server.stats().callsInFlight).toBe(1);
    isAway = true;
    progress({ completed: 1 });
    await refused.opened;
    stay.open();
    isAway = false;
    await expect.poll(async () => (await stream.next()).params.status).toBe('completed');
    stream.leave();
  });

  test('is let go of when the client leaves', async () => {
    const { tool } = heldTool();
    const face = await startFace({ tools: [tool] });
    const { taskId } = await start(face, 'held');
    const stream = await listen(face, [taskId]);
    await stream.next();
    await stream.next();
    await expect.poll(() => face.peer.server.stats().callsInFlight).toBe(1);
    stream.leave();
    await expect.poll(() => face.peer.server.stats().callsInFlight).toBe(0);
  });
});
