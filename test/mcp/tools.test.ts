import { getEventListeners } from 'node:events';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { ProtocolError } from '../../src/errors/index.ts';
import { MCP_LIMITS } from '../../src/limits.ts';
import { LEGACY, META, MODERN, TASKS } from '../../src/mcp/protocol.ts';
import { contentOutput, defineTool } from '../../src/tools/index.ts';
import { aborted, gate } from '../support/gate.ts';
import { anyTool, jobTool, readTool } from '../support/server.ts';
import { startFace, WITH_FORMS, WITH_TASKS } from './face.ts';

const echo = readTool('echo', (args) => args);
const work = jobTool('work', () => ({}));
const JOB_TOOLS = ['answer_job', 'cancel_job', 'poll_job'];

const picture = defineTool({
  name: 'picture',
  description: 'For tests.',
  input: z.object({}),
  output: contentOutput(),
  run: () => ({ content: [{ type: 'image', data: 'aGk=', mimeType: 'image/png' }] }),
});

/** Reports three times, waits, and ends. */
const steps = (stay = gate()) => ({
  stay,
  tool: readTool('steps', async (_args, { progress }) => {
    for (const completed of [1, 1, 2]) progress({ completed, total: 3, message: `at ${completed}` });
    await stay.opened;
    return { done: true };
  }),
});

describe('server/discover', () => {
  test('tells the revisions, what the server can, and who it is', async () => {
    const face = await startFace({ tools: [echo] });
    const { status, headers, message } = await face.ask('server/discover');
    expect([status, headers['content-type'], headers['cache-control']]).toEqual([
      200,
      'application/json',
      'no-store',
    ]);
    expect(message).toEqual({
      jsonrpc: '2.0',
      id: 1,
      result: {
        resultType: 'complete',
        supportedVersions: [MODERN, ...LEGACY],
        capabilities: { tools: {}, extensions: { [TASKS]: {} } },
        instructions: expect.stringContaining('poll_job'),
        ttlMs: MCP_LIMITS.listTtlMs,
        cacheScope: 'private',
        _meta: { [META.serverInfo]: { name: 'srv-1', version: expect.stringMatching(/^\d/) } },
      },
    });
  });

  test('echoes an id of any kind', async () => {
    const face = await startFace({ tools: [echo] });
    for (const id of [0, -1, 'a "quoted" one', '', Number.MAX_SAFE_INTEGER]) {
      expect((await face.ask('server/discover', {}, { id })).message.id).toBe(id);
    }
  });
});

describe('tools/list', () => {
  test('names tools in their order, and none of those that only the other wire has', async () => {
    const face = await startFace({
      tools: [readTool('b', () => ({})), readTool('a', () => ({})), readTool('A', () => ({}))],
    });
    const { result } = (await face.ask('tools/list')).message;
    expect(result.tools.map(({ name }: { name: string }) => name)).toEqual(['A', 'a', 'b']);
    expect(result).toMatchObject({
      resultType: 'complete',
      ttlMs: MCP_LIMITS.listTtlMs,
      cacheScope: 'private',
    });
    expect(result).not.toHaveProperty('nextCursor');
  });

  test('offers tools for jobs when there is a job tool', async () => {
    const face = await startFace({ tools: [echo, work] });
    const { tools } = (await face.ask('tools/list')).message.result;
    expect(tools.map(({ name }: { name: string }) => name)).toEqual([
      ...JOB_TOOLS.slice(0, 2),
      'echo',
      'poll_job',
      'work',
    ]);
    for (const tool of tools) expect(tool.inputSchema.type).toBe('object');
  });

  test('is empty for a server without tools', async () => {
    const face = await startFace({ tools: [] });
    expect((await face.ask('tools/list')).message.result.tools).toEqual([]);
  });

  test('comes in pages that hold every tool once', async () => {
    const names = Array.from(
      { length: 2 * MCP_LIMITS.pageSize + 1 },
      (_, i) => `tool-${String(i).padStart(4, '0')}`,
    );
    const face = await startFace({ tools: names.map((name) => readTool(name, () => ({}))) });
    const listed: string[] = [];
    const sizes: number[] = [];
    let cursor: string | undefined;
    do {
      const { result } = (await face.ask('tools/list', cursor === undefined ? {} : { cursor })).message;
      listed.push(...result.tools.map(({ name }: { name: string }) => name));
      sizes.push(result.tools.length);
      cursor = result.nextCursor;
    } while (cursor !== undefined);
    expect(listed).toEqual(names);
    expect(sizes).toEqual([MCP_LIMITS.pageSize, MCP_LIMITS.pageSize, 1]);
  });

  test('a page that is just full has no next one', async () => {
    const tools = Array.from({ length: MCP_LIMITS.pageSize }, (_, i) => readTool(`t${i}`, () => ({})));
    const face = await startFace({ tools });
    expect((await face.ask('tools/list')).message.result).not.toHaveProperty('nextCursor');
  });

  test('shows title, hints and schemas as the author wrote them', async () => {
    const tool = defineTool({
      name: 'titled',
      description: 'What it does.',
      annotations: { title: 'A title', readOnlyHint: true },
      input: z.object({ a: z.string() }),
      output: z.object({ b: z.int() }),
      run: () => ({ b: 1 }),
    });
    const face = await startFace({ tools: [tool] });
    expect((await face.ask('tools/list')).message.result.tools).toEqual([
      {
        name: 'titled',
        title: 'A title',
        description: 'What it does.',
        annotations: { title: 'A title', readOnlyHint: true },
        inputSchema: tool.inputSchema,
        outputSchema: tool.outputSchema,
      },
    ]);
  });

  test('promises of a job tool its output or the id of its job', async () => {
    const tool = defineTool({
      name: 'count',
      description: 'For tests.',
      input: z.object({}),
      output: z.object({ count: z.int() }),
      job: true,
      run: () => ({ count: 1 }),
    });
    const face = await startFace({ tools: [tool], mcp: { waitMs: 0 } });
    const { tools } = (await face.ask('tools/list')).message.result;
    const { outputSchema } = tools.find(({ name }: { name: string }) => name === 'count');
    const validator = z.fromJSONSchema(outputSchema);
    expect(outputSchema.type).toBe('object');
    expect(validator.safeParse({ count: 1 }).success).toBe(true);
    expect(validator.safeParse({ count: 'x' }).success).toBe(false);
    const handle = (await face.call('count')).message.result.structuredContent;
    expect(handle.job_id).toMatch(/^job_/);
    expect(validator.safeParse(handle).success).toBe(true);
  });

  test('promises nothing where a schema refers to its own root', async () => {
    const tree: z.ZodType = z.object({
      get children() {
        return z.array(tree);
      },
    });
    const recursive = defineTool({
      name: 'recursive',
      description: 'For tests.',
      input: z.object({}),
      output: tree as z.ZodType<object, object>,
      job: true,
      run: () => ({ children: [] }),
    });
    const face = await startFace({ tools: [recursive] });
    const { tools } = (await face.ask('tools/list')).message.result;
    const listed = tools.find(({ name }: { name: string }) => name === 'recursive');
    expect(JSON.stringify(recursive.outputSchema)).toContain('"$ref":"#"');
    expect(listed).not.toHaveProperty('outputSchema');
  });

  test('promises structure of a tool that shows content only if the tool does', async () => {
    const structured = { type: 'object', properties: { n: { type: 'number' } } };
    const both = defineTool({
      name: 'both',
      description: 'For tests.',
      input: z.object({}),
      output: contentOutput(structured),
      run: () => ({ content: [], structuredContent: { n: 1 } }),
    });
    const face = await startFace({ tools: [picture, both] });
    const { tools } = (await face.ask('tools/list')).message.result;
    expect(tools.map(({ outputSchema }: { outputSchema?: object }) => outputSchema)).toEqual([
      structured,
      undefined,
    ]);
  });
});

describe('tools/call', () => {
  test('gives the result as structure, and as text for hosts that read only that', async () => {
    const face = await startFace({ tools: [echo] });
    const { message } = await face.call('echo', { text: 'ü "quoted"\n', list: [1, 2.5, null] });
    const { content, structuredContent, resultType } = message.result;
    expect(resultType).toBe('complete');
    expect(structuredContent).toEqual({ text: 'ü "quoted"\n', list: [1, 2.5, null] });
    expect(content).toEqual([{ type: 'text', text: JSON.stringify(structuredContent) }]);
  });

  test('needs no arguments', async () => {
    const face = await startFace({ tools: [echo] });
    const { message } = await face.ask('tools/call', { name: 'echo' });
    expect(message.result.structuredContent).toEqual({});
  });

  test('gives content as the tool made it', async () => {
    const face = await startFace({ tools: [picture] });
    const { result } = (await face.call('picture')).message;
    expect(result).toMatchObject({
      resultType: 'complete',
      content: [{ type: 'image', data: 'aGk=', mimeType: 'image/png' }],
    });
    expect(result).not.toHaveProperty('structuredContent');
  });

  test('runs a tool that would do harm twice each time it is called: nothing is a retry here', async () => {
    let runs = 0;
    const face = await startFace({ tools: [anyTool('pay', () => ({ run: ++runs }))] });
    await face.call('pay');
    expect((await face.call('pay')).message.result.structuredContent).toEqual({ run: 2 });
  });

  test('puts the questions of a tool before the person first, and gives it the answers', async () => {
    const asking = defineTool({
      name: 'asking',
      description: 'For tests.',
      input: z.object({}),
      output: z.looseObject({}),
      asks: {
        sure: { message: 'Sure?', schema: { type: 'object', properties: { yes: { type: 'boolean' } } } },
      },
      run: (_args, { answers }) => ({ answers }),
    });
    const face = await startFace({ tools: [asking] });
    const first = await face.call('asking', {}, { capabilities: WITH_FORMS });
    expect(first.message.result).toMatchObject({
      resultType: 'input_required',
      inputRequests: {
        sure: {
          method: 'elicitation/create',
          params: { mode: 'form', message: 'Sure?', requestedSchema: { type: 'object' } },
        },
      },
    });
    const sure = { action: 'accept', content: { yes: true } };
    const params = { name: 'asking', arguments: {}, inputResponses: { sure, other: 5 } };
    const second = await face.ask('tools/call', params, { capabilities: { elicitation: {} } });
    expect(second.message.result.structuredContent).toEqual({ answers: { sure } });
  });
});

describe('limits', () => {
  test('a result that no host should have to read is an error, on both eras', async () => {
    const huge = anyTool('huge', () => ({ text: 'x'.repeat(5 * 1_048_576) }));
    const face = await startFace({ tools: [huge] });
    expect((await face.call('huge')).message.error).toMatchObject({ code: -32_603 });
    const older = await face.older({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'huge' } });
    expect(older.message.error).toMatchObject({ code: -32_603 });
  });

  test('the server’s own limits on nesting hold for this wire too', async () => {
    const face = await startFace({ tools: [], messageLimits: { maxDepth: 6 } });
    const deep = await face.ask('tools/list', { deep: [[[[[[1]]]]]] });
    expect(deep.message.error).toMatchObject({ code: -32_600 });
  });
});

describe('progress', () => {
  test('comes as events with rising values, ended by the response', async () => {
    const { stay, tool } = steps();
    const face = await startFace({ tools: [tool] });
    const stream = await face.open('tools/call', { name: 'steps' }, { progressToken: 'p', id: 'call-1' });
    expect(stream.status).toBe(200);
    expect(stream.headers).toMatchObject({
      'content-type': 'text/event-stream',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
    });
    const values: number[] = [];
    for (let i = 0; i < 3; i++) {
      const { method, params } = await stream.next();
      expect([method, params.progressToken, params.total]).toEqual(['notifications/progress', 'p', 3]);
      values.push(params.progress);
    }
    expect(values.toSorted((a, b) => a - b)).toEqual(values);
    expect(new Set(values).size).toBe(3);
    stay.open();
    const last = await stream.next();
    expect([last.id, last.result.structuredContent]).toEqual(['call-1', { done: true }]);
    expect(await stream.next()).toBeNull();
  });

  test('an integer is a token too, 0 as well', async () => {
    const { stay, tool } = steps();
    stay.open();
    const face = await startFace({ tools: [tool] });
    const { messages } = await face.call('steps', {}, { progressToken: 0 });
    expect(messages[0].params.progressToken).toBe(0);
  });

  test.each([
    ['nothing is told', 'echo', { progressToken: 'p' }],
    ['nobody asked to be told', 'steps', {}],
    ['the host takes no events', 'steps', { progressToken: 'p', headers: { accept: 'application/json' } }],
  ])('one JSON answer when %s', async (_why, name, sent) => {
    const { stay, tool } = steps();
    stay.open();
    const face = await startFace({ tools: [tool, echo] });
    const { headers, messages } = await face.call(name, {}, sent);
    expect([headers['content-type'], messages.length]).toEqual(['application/json', 1]);
  });

  test('an error ends the stream as a result would', async () => {
    const fails = readTool('fails', async (_args, { progress }) => {
      progress({ completed: 1 });
      await new Promise(setImmediate);
      throw new Error('x');
    });
    const face = await startFace({ tools: [fails] });
    const { status, messages } = await face.call('fails', {}, { progressToken: 'p' });
    expect([status, messages.length, messages[1].error.code]).toEqual([200, 2, -32_603]);
  });

  test.each([
    ['a result', () => ({ content: [], structuredContent: { n: 1n } })],
    [
      'an error',
      () => {
        throw new ProtocolError('busy', 'not now', { n: 1n });
      },
    ],
  ])('%s that cannot be written ends it too', async (_what, end) => {
    const odd = defineTool({
      name: 'odd',
      description: 'For tests.',
      input: z.object({}),
      output: contentOutput(),
      run: async (_args, { progress }) => {
        progress({ completed: 1 });
        await new Promise((resolve) => setTimeout(resolve, 20));
        return end();
      },
    });
    const face = await startFace({ tools: [odd] });
    const { messages } = await face.call('odd', {}, { progressToken: 'p' });
    expect(messages.map(({ method, error }) => method ?? error.code)).toEqual([
      'notifications/progress',
      -32_603,
    ]);
    const params = { name: 'odd', arguments: {}, _meta: { progressToken: 'p' } };
    const older = await face.older({ id: 1, method: 'tools/call', params });
    expect(older.message.error.code).toBe(-32_603);
    expect(face.peer.log.complaints).toHaveLength(2);
  });

  test('goes on to its end while the listener closes', async () => {
    const { stay, tool } = steps();
    const face = await startFace({ tools: [tool] });
    const stream = await face.open('tools/call', { name: 'steps' }, { progressToken: 'p' });
    await stream.next();
    const closed = face.listener.close();
    // Longer than a listener waits for connections on which nothing is under way.
    await new Promise((resolve) => setTimeout(resolve, 800));
    stay.open();
    expect((await stream.rest()).at(-1).result.structuredContent).toEqual({ done: true });
    await closed;
  });
});

describe('a host that goes away', () => {
  test.each([
    ['while it waits for JSON', {}],
    ['from a stream', { progressToken: 'p' }],
  ])('%s cancels the direct tool', async (_how, sent) => {
    const begun = gate();
    const reason = gate<unknown>();
    const deaf = readTool('deaf', async (_args, { signal, progress }) => {
      progress({ completed: 1 });
      begun.open();
      reason.open(await aborted(signal));
      return {};
    });
    const face = await startFace({ tools: [deaf] });
    const stream = face.open('tools/call', { name: 'deaf' }, sent);
    await begun.opened;
    if ('progressToken' in sent) (await stream).leave();
    else {
      // The answer will not come: the whole server is left.
      stream.catch(() => {});
      face.leaveAll();
    }
    expect(await reason.opened).toMatchObject({ code: 'cancelled' });
    await expect.poll(() => face.peer.server.stats().callsInFlight).toBe(0);
  });

  test('before its call was looked at cancels the tool too', async () => {
    const looked = gate();
    const reason = gate<unknown>();
    const deaf = readTool('deaf', async (_args, { signal }) => {
      reason.open(await aborted(signal));
      return {};
    });
    const asked = gate();
    const policy = () => {
      asked.open();
      return looked.opened;
    };
    const face = await startFace({ tools: [deaf], policy });
    face.call('deaf').catch(() => {});
    await asked.opened;
    face.leaveAll();
    // Longer than the news of it takes on this machine.
    await new Promise((resolve) => setTimeout(resolve, 100));
    looked.open();
    expect(await reason.opened).toMatchObject({ code: 'cancelled' });
  });

  test('cancels the job that it waited for without Tasks', async () => {
    const begun = gate();
    const reason = gate<unknown>();
    const held = jobTool('held', async (_args, { signal }) => {
      begun.open();
      reason.open(await aborted(signal));
      return {};
    });
    const face = await startFace({ tools: [held] });
    face.call('held').catch(() => {});
    await begun.opened;
    face.leaveAll();
    expect(await reason.opened).toMatchObject({ code: 'cancelled' });
    const { result } = await face.peer.call('list_jobs', { status: 'cancelled' }, { ts_ms: Date.now() });
    expect(result?.['jobs']).toHaveLength(1);
  });
});

describe('calls without end', () => {
  test('leave no listener on the signal that the server drains by', async () => {
    const slow = readTool('slow', async (args) => {
      await new Promise(setImmediate);
      return args;
    });
    const face = await startFace({ tools: [slow, work] });
    const { draining } = face.peer.server.calls;
    const before = getEventListeners(draining, 'abort').length;
    for (let i = 0; i < 5; i++) {
      await face.call('slow', {}, { progressToken: 'p' });
      await face.call('work');
      await face.older({ id: i, method: 'tools/call', params: { name: 'slow', arguments: {} } });
      await face.older({ id: i, method: 'tools/call', params: { name: 'work', arguments: {} } });
      const stream = await face.open('subscriptions/listen', {}, { capabilities: WITH_TASKS });
      await stream.next();
      stream.leave();
    }
    await expect.poll(() => getEventListeners(draining, 'abort').length).toBe(before);
  });
});
