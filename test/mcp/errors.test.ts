import { describe, expect, test } from 'vitest';
import { ProtocolError, ToolError } from '../../src/errors/index.ts';
import { MESSAGE_LIMITS } from '../../src/limits.ts';
import type { McpOptions } from '../../src/mcp/options.ts';
import { LEGACY, META, MODERN, TASKS } from '../../src/mcp/protocol.ts';
import { revokeTokens } from '../../src/server/clients.ts';
import { openClientStore } from '../../src/store/index.ts';
import { defineTool } from '../../src/tools/index.ts';
import { z } from 'zod';
import { gate } from '../support/gate.ts';
import { anyTool, jobTool, readTool } from '../support/server.ts';
import { bodyOf, type Face, headersOf, startFace, WITH_FORMS, WITH_TASKS } from './face.ts';

const echo = readTool('echo', (args) => args);
const work = jobTool('work', () => ({}));
const CALL = { name: 'echo', arguments: {} };
const base64 = (text: string) => `=?base64?${Buffer.from(text).toString('base64')}?=`;

const strict = defineTool({
  name: 'strict',
  description: 'For tests.',
  input: z.object({ count: z.int(), name: z.string() }),
  output: z.object({}),
  run: () => ({}),
});
const asking = defineTool({
  name: 'asking',
  description: 'For tests.',
  input: z.object({}),
  output: z.looseObject({}),
  asks: {
    sure: {
      message: 'Sure?',
      schema: { type: 'object', properties: { yes: { type: 'boolean' } }, required: ['yes'] },
    },
  },
  run: (_args, { answers }) => ({ answers }),
});
const tasksOnly = defineTool({
  name: 'tasks_only',
  description: 'For tests.',
  input: z.object({}),
  output: z.object({}),
  job: true,
  taskSupport: 'required',
  run: () => ({}),
});
const TOOLS = [echo, work, strict, asking, tasksOnly];

type Send = (face: Face) => ReturnType<Face['raw']>;

/** A body sent as it is, with the headers of a call of `echo`. */
const body =
  (bytes: string | Uint8Array): Send =>
  (face) =>
    face.raw(bytes, headersOf('tools/call', CALL));
const meta = (members: object): Send =>
  body(JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { ...CALL, _meta: members } }));
const VERSION = { [META.protocolVersion]: MODERN };
const CAPABLE = { [META.clientCapabilities]: {} };
const headers =
  (given: Record<string, string | string[] | undefined>): Send =>
  (face) =>
    face.ask('tools/call', CALL, { headers: given });
const ask =
  (...given: Parameters<Face['ask']>): Send =>
  (face) =>
    face.ask(...given);

interface Row {
  readonly what: string;
  readonly send: Send;
  readonly status: number;
  readonly code: number;
  readonly message?: RegExp;
  readonly data?: object;
  /** Of the message that is answered; left out where it could not be read. */
  readonly id?: unknown;
}

const BEFORE_A_METHOD: readonly Row[] = [
  { what: 'no JSON', send: body('{"jsonrpc"'), status: 400, code: -32_700, message: /not JSON/ },
  { what: 'an empty body', send: body(''), status: 400, code: -32_700 },
  {
    what: 'no UTF-8',
    send: body(Buffer.from([0x22, 0xff, 0x22])),
    status: 400,
    code: -32_700,
    message: /UTF-8/,
  },
  { what: 'a batch', send: body('[]'), status: 400, code: -32_600, message: /batches/ },
  { what: 'a text', send: body('"hello"'), status: 400, code: -32_600 },
  {
    what: 'another version of JSON-RPC',
    send: body('{"jsonrpc":"1.0","id":1,"method":"a"}'),
    status: 400,
    code: -32_600,
    id: 1,
  },
  {
    what: 'a response',
    send: body('{"jsonrpc":"2.0","id":7,"result":{}}'),
    status: 400,
    code: -32_600,
    message: /responses/,
    id: 7,
  },
  {
    what: 'an id of null',
    send: body('{"jsonrpc":"2.0","id":null,"method":"a"}'),
    status: 400,
    code: -32_600,
    message: /null/,
  },
  {
    what: 'an id that is an object',
    send: body('{"jsonrpc":"2.0","id":{},"method":"a"}'),
    status: 400,
    code: -32_600,
  },
  {
    what: 'an id that is a fraction',
    send: body('{"jsonrpc":"2.0","id":1.5,"method":"a"}'),
    status: 400,
    code: -32_600,
    id: 1.5,
  },
  {
    what: 'params that are a list',
    send: body('{"jsonrpc":"2.0","id":1,"method":"a","params":[]}'),
    status: 400,
    code: -32_600,
    id: 1,
  },
  {
    what: 'JSON nested too deep',
    send: body('['.repeat(MESSAGE_LIMITS.maxDepth + 1)),
    status: 400,
    code: -32_600,
    message: /deep/,
  },
  {
    what: 'too many members',
    send: body(`[${'{"a":1},'.repeat(MESSAGE_LIMITS.maxMembers)}{"a":1}]`),
    status: 400,
    code: -32_600,
    message: /members/,
  },
  {
    what: 'a lone surrogate',
    send: (face) =>
      face.raw(
        bodyOf('tools/call', CALL).replace('"arguments":{}', String.raw`"arguments":{"a":["\ud800"]}`),
        headersOf('tools/call', CALL),
      ),
    status: 400,
    code: -32_600,
    message: /params\.arguments\.a\[0\]: has a lone surrogate/,
    id: 1,
  },
  {
    what: 'a number beyond all doubles',
    send: (face) =>
      face.raw(
        bodyOf('tools/call', CALL).replace('"arguments":{}', '"arguments":{"a":1e400}'),
        headersOf('tools/call', CALL),
      ),
    status: 400,
    code: -32_600,
    message: /finite/,
    id: 1,
  },
  {
    what: 'a member named __proto__',
    send: (face) =>
      face.raw(
        bodyOf('tools/call', CALL).replace('"arguments":{}', String.raw`"arguments":{"__pr\u006fto__":{}}`),
        headersOf('tools/call', CALL),
      ),
    status: 400,
    code: -32_600,
    message: /forbidden name/,
    id: 1,
  },
  {
    what: 'no _meta',
    send: body('{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo"}}'),
    status: 400,
    code: -32_602,
    message: /_meta is missing/,
    id: 1,
  },
  { what: 'no version', send: meta(CAPABLE), status: 400, code: -32_602, message: /protocolVersion/, id: 1 },
  {
    what: 'no capabilities',
    send: meta(VERSION),
    status: 400,
    code: -32_602,
    message: /clientCapabilities/,
    id: 1,
  },
  {
    what: 'capabilities that are a list',
    send: meta({ ...VERSION, [META.clientCapabilities]: [] }),
    status: 400,
    code: -32_602,
    id: 1,
  },
  {
    what: 'a progress token that is an object',
    send: meta({ ...VERSION, ...CAPABLE, progressToken: {} }),
    status: 400,
    code: -32_602,
    message: /progressToken/,
    id: 1,
  },
  {
    what: 'a version that nobody speaks',
    send: (face) =>
      face.raw(
        JSON.stringify({
          jsonrpc: '2.0',
          id: 'a',
          method: 'tools/list',
          params: { _meta: { [META.protocolVersion]: '1900-01-01' } },
        }),
        { ...headersOf('tools/list'), 'mcp-protocol-version': '1900-01-01' },
      ),
    status: 400,
    code: -32_022,
    data: { supported: [MODERN, ...LEGACY], requested: '1900-01-01' },
    id: 'a',
  },
  {
    what: 'no MCP-Protocol-Version',
    send: headers({ 'mcp-protocol-version': undefined }),
    status: 400,
    code: -32_020,
    message: /MCP-Protocol-Version is missing/,
    id: 1,
  },
  {
    what: 'another MCP-Protocol-Version',
    send: headers({ 'mcp-protocol-version': '2025-11-25' }),
    status: 400,
    code: -32_020,
    message: /MCP-Protocol-Version differs/,
    id: 1,
  },
  {
    what: 'no Mcp-Method',
    send: headers({ 'mcp-method': undefined }),
    status: 400,
    code: -32_020,
    message: /Mcp-Method is missing/,
    id: 1,
  },
  {
    what: 'another Mcp-Method',
    send: headers({ 'mcp-method': 'Tools/Call' }),
    status: 400,
    code: -32_020,
    message: /Mcp-Method differs/,
    id: 1,
  },
  {
    what: 'Mcp-Method twice',
    send: headers({ 'mcp-method': ['tools/call', 'tools/call'] }),
    status: 400,
    code: -32_020,
    message: /Mcp-Method differs/,
    id: 1,
  },
  {
    what: 'no Mcp-Name',
    send: headers({ 'mcp-name': undefined }),
    status: 400,
    code: -32_020,
    message: /Mcp-Name is missing/,
    id: 1,
  },
  {
    what: 'another Mcp-Name',
    send: headers({ 'mcp-name': 'work' }),
    status: 400,
    code: -32_020,
    message: /Mcp-Name differs/,
    id: 1,
  },
  {
    what: 'Mcp-Name twice',
    send: headers({ 'mcp-name': ['echo', 'work'] }),
    status: 400,
    code: -32_020,
    id: 1,
  },
  {
    what: 'another Mcp-Name in Base64',
    send: headers({ 'mcp-name': base64('work') }),
    status: 400,
    code: -32_020,
    message: /Mcp-Name differs/,
    id: 1,
  },
  {
    what: 'an Mcp-Name in broken Base64',
    send: headers({ 'mcp-name': '=?base64?ZWNo!?=' }),
    status: 400,
    code: -32_020,
    message: /characters/,
    id: 1,
  },
  {
    what: 'Mcp-Name of another task',
    send: ask('tasks/get', { taskId: 'a' }, { capabilities: WITH_TASKS, headers: { 'mcp-name': 'b' } }),
    status: 400,
    code: -32_020,
    id: 1,
  },
  {
    what: 'an unknown method',
    send: ask('resources/list'),
    status: 404,
    code: -32_601,
    message: /resources\/list/,
    id: 1,
  },
  {
    what: 'tasks/list, which there is not',
    send: ask('tasks/list', {}, { capabilities: WITH_TASKS }),
    status: 404,
    code: -32_601,
    id: 1,
  },
  { what: 'a name of what every object has', send: ask('constructor'), status: 404, code: -32_601, id: 1 },
];

const NEEDED = { requiredCapabilities: { extensions: { [TASKS]: {} } } };

const OF_A_METHOD: readonly Row[] = [
  {
    what: 'a tool that is not there',
    send: ask('tools/call', { name: 'nothing' }),
    status: 200,
    code: -32_602,
    message: /no tool nothing/,
    id: 1,
  },
  {
    what: 'a tool that only the other wire has',
    send: ask('tools/call', { name: 'list_jobs' }),
    status: 200,
    code: -32_602,
    id: 1,
  },
  {
    what: 'no name',
    send: ask('tools/call', {}),
    status: 200,
    code: -32_602,
    message: /name must be a string/,
    id: 1,
  },
  {
    what: 'arguments that are a list',
    send: ask('tools/call', { name: 'echo', arguments: [] }),
    status: 200,
    code: -32_602,
    message: /arguments must be an object/,
    id: 1,
  },
  {
    what: 'arguments of null',
    send: ask('tools/call', { name: 'echo', arguments: null }),
    status: 200,
    code: -32_602,
    id: 1,
  },
  {
    what: 'a cursor that is none',
    send: ask('tools/list', { cursor: 'nothing' }),
    status: 200,
    code: -32_602,
    message: /cursor/,
    id: 1,
  },
  {
    what: 'a cursor that is a number',
    send: ask('tools/list', { cursor: 5 }),
    status: 200,
    code: -32_602,
    message: /cursor must be a string/,
    id: 1,
  },
  {
    what: 'a tool for hosts with Tasks',
    send: ask('tools/call', { name: 'tasks_only' }),
    status: 400,
    code: -32_021,
    data: NEEDED,
    id: 1,
  },
  {
    what: 'tasks/get without the capability',
    send: ask('tasks/get', { taskId: 'a' }),
    status: 400,
    code: -32_021,
    data: NEEDED,
    id: 1,
  },
  {
    what: 'tasks/update without the capability',
    send: ask('tasks/update', { taskId: 'a', inputResponses: {} }),
    status: 400,
    code: -32_021,
    data: NEEDED,
    id: 1,
  },
  {
    what: 'tasks/cancel without the capability',
    send: ask('tasks/cancel', { taskId: 'a' }),
    status: 400,
    code: -32_021,
    data: NEEDED,
    id: 1,
  },
  {
    what: 'a subscription to tasks without the capability',
    send: ask('subscriptions/listen', { notifications: { taskIds: [] } }),
    status: 400,
    code: -32_021,
    data: NEEDED,
    id: 1,
  },
  {
    what: 'a tool that asks a host that cannot',
    send: ask('tools/call', { name: 'asking' }),
    status: 400,
    code: -32_021,
    data: { requiredCapabilities: { elicitation: {} } },
    id: 1,
  },
  {
    what: 'a tool that asks a host that can only open pages',
    send: ask('tools/call', { name: 'asking' }, { capabilities: { elicitation: { url: {} } } }),
    status: 400,
    code: -32_021,
    id: 1,
  },
  {
    what: 'answers that are a list',
    send: ask('tools/call', { name: 'asking', inputResponses: [] }, { capabilities: WITH_FORMS }),
    status: 200,
    code: -32_602,
    id: 1,
  },
  {
    what: 'an answer without action',
    send: ask('tools/call', { name: 'asking', inputResponses: { sure: {} } }, { capabilities: WITH_FORMS }),
    status: 200,
    code: -32_602,
    message: /sure/,
    id: 1,
  },
  {
    what: 'an unknown task',
    send: ask('tasks/get', { taskId: 'job_x' }, { capabilities: WITH_TASKS }),
    status: 200,
    code: -32_602,
    data: { code: 'not_found' },
    id: 1,
  },
  {
    what: 'a task without id',
    send: ask('tasks/get', {}, { capabilities: WITH_TASKS }),
    status: 200,
    code: -32_602,
    message: /taskId/,
    id: 1,
  },
  {
    what: 'a task with too long an id',
    send: ask('tasks/get', { taskId: 'x'.repeat(129) }, { capabilities: WITH_TASKS }),
    status: 200,
    code: -32_602,
    id: 1,
  },
  {
    what: 'an update without answers',
    send: ask('tasks/update', { taskId: 'job_x' }, { capabilities: WITH_TASKS }),
    status: 200,
    code: -32_602,
    message: /inputResponses/,
    id: 1,
  },
  {
    what: 'a subscription to too many tasks',
    send: ask(
      'subscriptions/listen',
      { notifications: { taskIds: Array.from({ length: 101 }, (_, i) => `job_${i}`) } },
      { capabilities: WITH_TASKS },
    ),
    status: 200,
    code: -32_602,
    message: /at most 100/,
    id: 1,
  },
  {
    what: 'a subscription to tasks that are numbers',
    send: ask('subscriptions/listen', { notifications: { taskIds: [1] } }, { capabilities: WITH_TASKS }),
    status: 200,
    code: -32_602,
    id: 1,
  },
  {
    what: 'poll_job without job_id',
    send: ask('tools/call', { name: 'poll_job' }),
    status: 200,
    code: -32_602,
    message: /job_id/,
    id: 1,
  },
  {
    what: 'poll_job that waits too long',
    send: ask('tools/call', { name: 'poll_job', arguments: { job_id: 'a', wait_ms: 30_001 } }),
    status: 200,
    code: -32_602,
    message: /wait_ms/,
    id: 1,
  },
  {
    what: 'poll_job of an unknown job',
    send: ask('tools/call', { name: 'poll_job', arguments: { job_id: 'a' } }),
    status: 200,
    code: -32_602,
    data: { code: 'not_found' },
    id: 1,
  },
];

describe.each([
  ['before a method runs', BEFORE_A_METHOD],
  ['of a method', OF_A_METHOD],
])('refused %s', (_when, rows) => {
  test.each(rows)('$what: $code, HTTP $status', async ({ send, status, code, message, data, id }) => {
    const face = await startFace({ tools: TOOLS });
    const answer = await send(face);
    expect({ status: answer.status, code: answer.message.error.code, id: answer.message.id }).toEqual({
      status,
      code,
      id,
    });
    expect(answer.headers['content-type']).toBe('application/json');
    if (message !== undefined) expect(answer.message.error.message).toMatch(message);
    if (data !== undefined) expect(answer.message.error.data).toEqual(data);
    expect(face.peer.log.complaints).toEqual([]);
  });
});

describe('headers that fit', () => {
  test.each([
    ['in Base64', { 'mcp-name': base64('echo') }],
    ['with names in any case', { 'mcp-name': undefined, 'MCP-NAME': 'echo' }],
  ])('%s', async (_how, given) => {
    const face = await startFace({ tools: TOOLS });
    const { status, message } = await face.ask('tools/call', CALL, { headers: given });
    expect([status, message.result.structuredContent]).toEqual([200, {}]);
  });

  test('need not name what the method has no name for', async () => {
    const face = await startFace({ tools: TOOLS });
    expect((await face.ask('tools/list', {}, { headers: { 'mcp-name': 'any' } })).status).toBe(200);
  });
});

describe('arguments that break the schema', () => {
  test('are a result with every issue, for the model to read', async () => {
    const face = await startFace({ tools: TOOLS });
    const { status, message } = await face.call('strict', { count: 'x' });
    expect(status).toBe(200);
    expect(message.result).toMatchObject({ resultType: 'complete', isError: true });
    const [{ text }] = message.result.content;
    expect(text).toMatch(/^invalid_args: /);
    expect(text).toMatch(/count: /);
    expect(text).toMatch(/name: /);
  });

  test('answers that break their question are asked for again, and the tool does not run', async () => {
    const face = await startFace({ tools: TOOLS });
    const inputResponses = { sure: { action: 'accept', content: { yes: 'perhaps' } } };
    const { message } = await face.ask(
      'tools/call',
      { name: 'asking', inputResponses },
      { capabilities: WITH_FORMS },
    );
    expect(message.result.resultType).toBe('input_required');
    expect(Object.keys(message.result.inputRequests)).toEqual(['sure']);
  });
});

describe('what is no message', () => {
  test.each(['GET', 'DELETE', 'PUT', 'HEAD', 'OPTIONS'])('%s: 405, with Allow', async (method) => {
    const face = await startFace({ tools: TOOLS });
    const { status, headers: got } = await face.raw('', {}, method);
    expect([status, got.allow]).toEqual([405, 'POST']);
  });

  test.each([undefined, 'text/plain', 'application/jsonx', 'multipart/form-data'])(
    'media type %s: 415',
    async (type) => {
      const face = await startFace({ tools: TOOLS });
      const answer = await face.raw('{}', { ...headersOf('tools/list'), 'content-type': type });
      expect([answer.status, answer.message.error.code]).toEqual([415, 415]);
    },
  );

  test('a body that is too large: 413, whether it says so or not', async () => {
    const face = await startFace({ tools: TOOLS });
    const large = Buffer.alloc(MESSAGE_LIMITS.maxMessageBytes + 1, ' ');
    const length = { 'content-length': String(large.length) };
    const chunked = { 'transfer-encoding': 'chunked' };
    for (const how of [length, chunked]) {
      const answer = await face.raw(large, { ...headersOf('tools/list'), ...how });
      expect([answer.status, answer.message.error.code]).toEqual([413, 413]);
    }
  });

  test('a body of just the limit is read', async () => {
    const face = await startFace({ tools: TOOLS });
    const text = bodyOf('tools/list').padEnd(MESSAGE_LIMITS.maxMessageBytes, ' ');
    expect((await face.raw(text, headersOf('tools/list'))).status).toBe(200);
  });

  test('a notification: 202 and no body', async () => {
    const face = await startFace({ tools: TOOLS });
    const notification = JSON.stringify({ jsonrpc: '2.0', method: 'notifications/cancelled', params: {} });
    for (const given of [headersOf('notifications/cancelled'), { 'content-type': 'application/json' }]) {
      const answer = await face.raw(notification, given);
      expect([answer.status, answer.text]).toEqual([202, '']);
    }
  });
});

describe('where a request comes from', () => {
  const at = (given: Record<string, string>) => ({ headers: given });

  test.each([
    'evil.example',
    'localhost.evil.example',
    'evil.example:80',
    'localhost, localhost',
    '127.0.0.1.evil',
  ])('Host %s: 403 before the token is looked at', async (host) => {
    const face = await startFace({ tools: TOOLS });
    const answer = await face.ask('tools/list', {}, { ...at({ host }), token: null });
    expect(answer.status).toBe(403);
    expect(answer.message.error.message).toContain('--mcp-host');
  });

  test.each([
    'https://evil.example',
    'null',
    'file://localhost',
    'http://localhost@evil.example',
    'http://localhost/evil',
    'http://evil.example#localhost',
    'http://127.0.0.1.evil.example:80',
  ])('Origin %s: 403', async (origin) => {
    const face = await startFace({ tools: TOOLS });
    expect((await face.ask('tools/list', {}, at({ origin }))).status).toBe(403);
  });

  test.each([
    { host: 'localhost:8080' },
    { host: 'LOCALHOST' },
    { host: '[::1]:9' },
    { origin: 'http://localhost:5173' },
    { origin: 'https://127.0.0.1' },
    { host: 'tools.example', origin: 'https://Tools.example:8443' },
  ])('%o may', async (given) => {
    const face = await startFace({ tools: TOOLS, mcp: { hosts: ['Tools.example'] } });
    expect((await face.ask('tools/list', {}, at(given))).status).toBe(200);
  });
});

describe('who calls', () => {
  test('no token: 401 that says how to get one', async () => {
    const face = await startFace({ tools: TOOLS });
    const answer = await face.ask('tools/list', {}, { token: null });
    expect(answer.status).toBe(401);
    expect(answer.headers['www-authenticate']).toBe('Bearer realm="waybill"');
    expect(answer.message.error.message).toContain('waybill clients token');
  });

  test.each(['Bearer x', 'Bearer ', 'Basic eDp5', 'Bearer a b'])('%s: 401', async (authorization) => {
    const face = await startFace({ tools: TOOLS, mcp: { anonymous: 'agent-a' } });
    const answer = await face.ask('tools/list', {}, { token: null, headers: { authorization } });
    expect(answer.status).toBe(401);
    expect(answer.headers['www-authenticate']).toMatch(/error="invalid_token"/);
  });

  test('two tokens, one of them good: 401', async () => {
    const face = await startFace({ tools: TOOLS });
    const authorization = [`Bearer ${face.token}`, 'Bearer x'];
    // node:http sends a list as several headers for this name too.
    const answer = await face.raw(bodyOf('tools/list'), { ...headersOf('tools/list'), authorization });
    expect(answer.status).toBe(401);
  });

  test('a token that was revoked beside the running server: 401 within a second', async () => {
    const face = await startFace({ tools: TOOLS });
    expect((await face.ask('tools/list')).status).toBe(200);
    const clients = openClientStore({ dir: face.peer.dir });
    await revokeTokens(clients, 'agent-a');
    await clients.close();
    await expect.poll(async () => (await face.ask('tools/list')).status, { timeout: 5_000 }).toBe(401);
  });

  test('no token where one client may stand for all', async () => {
    const clientIds: string[] = [];
    const who = readTool('who', (_args, { clientId }) => {
      clientIds.push(clientId);
      return {};
    });
    const face = await startFace({ tools: [who], mcp: { anonymous: 'agent-a' } });
    expect((await face.call('who', {}, { token: null })).status).toBe(200);
    expect(clientIds).toEqual(['agent-a']);
  });

  test('nobody stands for all when that client is not there', async () => {
    const face = await startFace({ tools: TOOLS, mcp: { anonymous: 'agent-z' } });
    expect((await face.ask('tools/list', {}, { token: null })).status).toBe(401);
  });

  test("another client's task is told of exactly as one that there is not", async () => {
    const stay = gate();
    const held = jobTool('held', () => stay.opened.then(() => ({})));
    const face = await startFace({ tools: [held] });
    await face.peer.addClient('agent-b');
    const other = await face.newToken('agent-b');
    const { message } = await face.call('held', {}, { capabilities: WITH_TASKS });
    const { taskId } = message.result;
    const unknown = `${taskId.slice(0, -8)}AAAAAAAA`;
    for (const method of ['tasks/get', 'tasks/cancel', 'tasks/update']) {
      const texts = await Promise.all(
        [taskId, unknown].map(async (id) => {
          const params = { taskId: id, inputResponses: {} };
          return (await face.ask(method, params, { capabilities: WITH_TASKS, token: other })).text;
        }),
      );
      expect(texts[0]).toBe(texts[1]);
      expect(texts[0]).toContain('not_found');
    }
    const listened = await face.open(
      'subscriptions/listen',
      { notifications: { taskIds: [taskId] } },
      { capabilities: WITH_TASKS, token: other },
    );
    expect((await listened.next()).params.notifications).toEqual({ taskIds: [] });
    listened.leave();
    const own = await face.ask('tasks/get', { taskId }, { capabilities: WITH_TASKS });
    expect(own.message.result.status).toBe('working');
    stay.open();
  });
});

describe('what server, policy and tools refuse', () => {
  test.each([
    ['forbidden', 403, null],
    ['rate_limited', 429, { retry_after_ms: 250 }],
    ['busy', 503, { retry_after_ms: 250 }],
  ] as const)('a policy that says %s: its number, the word in data', async (code, number, result) => {
    const policy = () => {
      throw new ProtocolError(code, 'not now', result);
    };
    const face = await startFace({ tools: TOOLS, policy });
    const { status, message } = await face.call('echo');
    expect(status).toBe(200);
    expect(message.error).toEqual({ code: number, message: 'not now', data: { code, ...result } });
  });

  test('data.code is the code, whatever the policy puts beside it', async () => {
    const policy = () => {
      throw new ProtocolError('forbidden', 'no', { code: 'ok', big: 1n });
    };
    const face = await startFace({ tools: TOOLS, policy });
    // What is not JSON is a mistake of the policy: told to the log.
    const { message } = await face.call('echo');
    expect(message.error.code).toBe(-32_603);
    expect(face.peer.log.complaints).toHaveLength(1);
  });

  test('a policy sees who calls what', async () => {
    const seen: unknown[] = [];
    const face = await startFace({ tools: TOOLS, policy: (call) => void seen.push({ ...call }) });
    const { message } = await face.call('work', {}, { capabilities: WITH_TASKS });
    await face.ask('tasks/get', { taskId: message.result.taskId }, { capabilities: WITH_TASKS });
    await face.ask('tasks/cancel', { taskId: message.result.taskId }, { capabilities: WITH_TASKS });
    expect(seen).toEqual(['work', 'poll_job', 'cancel_job'].map((tool) => ({ clientId: 'agent-a', tool })));
  });

  test('a tool that states a failure: a result in its words', async () => {
    const fails = anyTool('fails', () => {
      throw new ToolError('the printer is on fire');
    });
    const face = await startFace({ tools: [fails] });
    expect((await face.call('fails')).message.result).toMatchObject({
      isError: true,
      content: [{ type: 'text', text: 'the printer is on fire' }],
    });
  });

  test.each([
    ['an Error', new Error('secret-42')],
    ['a text', 'secret-42'],
    ['nothing', undefined],
    ['an object with a message', { message: 'secret-42', code: -32_000 }],
  ])('a tool that throws %s: an opaque id, and the detail in the log only', async (_what, thrown) => {
    const fails = anyTool('fails', () => {
      throw thrown;
    });
    const face = await startFace({ tools: [fails] });
    const { status, text, message } = await face.call('fails');
    expect([status, message.error.code, message.error.data]).toEqual([200, -32_603, { code: 'internal' }]);
    expect(text).not.toContain('secret-42');
    const id = /error id (\S+)$/.exec(message.error.message)?.[1];
    expect(face.peer.log.complaints).toHaveLength(1);
    expect(face.peer.log.complaints[0]?.fields['error_id']).toBe(id);
  });

  test.each([
    ['a bigint', { n: 1n }],
    ['no number', { n: Number.NaN }],
    ['a date', { n: new Date(0) }],
    ['a lone surrogate', { n: '\ud800' }],
  ])('a direct tool that returns %s: internal, as on the other wire', async (_what, result) => {
    const face = await startFace({ tools: [readTool('odd', () => result)] });
    const { message } = await face.call('odd');
    expect(message.error.code).toBe(-32_603);
    expect(face.peer.log.complaints).toHaveLength(1);
    expect((await face.peer.call('odd', {}, { ts_ms: Date.now() })).error).toMatch(/^internal: /);
  });

  test('a tool that is too slow: deadline_exceeded', async () => {
    const slow = readTool('slow', () => new Promise(() => {}));
    const face = await startFace({ tools: [slow], directTimeoutMs: 50 });
    const { error } = (await face.call('slow')).message;
    expect([error.code, error.data]).toEqual([504, { code: 'deadline_exceeded' }]);
  });

  test('a server that drains: busy', async () => {
    const stay = gate();
    const slow = readTool('slow', () => stay.opened.then(() => ({ done: true })));
    const face = await startFace({ tools: [slow, echo], drainMs: 20_000 });
    const held = face.call('slow');
    await expect.poll(() => face.peer.server.stats().callsInFlight).toBe(1);
    const closed = face.peer.close();
    const { error } = (await face.call('echo')).message;
    expect([error.code, error.data]).toEqual([503, { code: 'busy', retry_after_ms: 1_000 }]);
    stay.open();
    expect((await held).message.result.structuredContent).toEqual({ done: true });
    await closed;
  });

  test('too many calls at once: busy', async () => {
    const stay = gate();
    const slow = readTool('slow', () => stay.opened.then(() => ({})));
    const face = await startFace({ tools: [slow, echo], maxCallsInFlight: 1 });
    const held = face.call('slow');
    await expect.poll(() => face.peer.server.stats().callsInFlight).toBe(1);
    expect((await face.call('echo')).message.error.data.code).toBe('busy');
    stay.open();
    await held;
  });
});

describe('a route', () => {
  test.each([
    [{ anonymous: '' }, TypeError],
    [{ waitMs: -1 }, RangeError],
    [{ waitMs: 0.5 }, RangeError],
    [{ hosts: ['tools.example:80'] }, TypeError],
    [{ hosts: ['https://tools.example'] }, TypeError],
    [{ typo: 1 }, TypeError],
  ])('is not made of %o', async (mcp, kind) => {
    // Wrong on purpose.
    await expect(startFace({ tools: TOOLS, mcp: mcp as McpOptions })).rejects.toThrow(kind);
  });

  test('is not made for a tool that the protocol cannot carry, and says which', async () => {
    const marked = defineTool({
      name: 'marked',
      description: 'For tests.',
      input: z.object({ a: z.number().meta({ 'x-mcp-header': 'A' }) }),
      output: z.object({}),
      run: () => ({}),
    });
    await expect(startFace({ tools: [marked] })).rejects.toThrow(/tool marked: x-mcp-header of a/);
  });
});
