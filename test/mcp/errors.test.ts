import { describe, expect, test } from 'vitest';
import { ProtocolError, ToolError } from '../../src/errors/index.ts';
import { MESSAGE_LIMITS } from '../../src/limits.ts';
import type { McpOptions } from '../../src/mcp/options.ts';
import { LEGACY, META, MODERN, TASKS } from '../../src/mcp/protocol.ts';
import { revokeTokens } from '../../src/server/clients/clients.ts';
import { openClientStore } from '../../src/store/index.ts';
import { defineTool } from '../../src/tools/index.ts';
import type { JsonObject } from '../../src/wire/index.ts';
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

/** With something else in the place of the arguments. */
const withArgs =
  (text: string): Send =>
  (face) =>
    face.raw(
      bodyOf('tools/call', CALL).replace('"arguments":{}', `"arguments":${text}`),
      headersOf('tools/call', CALL),
    );
const inTasks = (method: string, params: JsonObject): Send =>
  ask(method, params, { capabilities: WITH_TASKS });
const oldVersion: Send = (face) =>
  face.raw(
    JSON.stringify({
      jsonrpc: '2.0',
      id: 1,
      method: 'tools/list',
      params: { _meta: { [META.protocolVersion]: '1900-01-01' } },
    }),
    { ...headersOf('tools/list'), 'mcp-protocol-version': '1900-01-01' },
  );

const NEEDED = { requiredCapabilities: { extensions: { [TASKS]: {} } } };
const FORMS = { requiredCapabilities: { elicitation: {} } };
const UNKNOWN = { code: 'not_found' };

/** What is sent, and the message of the error, or its data. */
type Row = readonly [what: string, send: Send, expected?: RegExp | object];

/** Of messages that show no id that could be echoed. */
const WITHOUT_ID: readonly (readonly [code: number, rows: readonly Row[]])[] = [
  [
    -32_700,
    [
      ['no JSON', body('{"jsonrpc"'), /not JSON/],
      ['an empty body', body(''), /not JSON/],
      ['no UTF-8', body(Buffer.from([0x22, 0xff, 0x22])), /UTF-8/],
    ],
  ],
  [
    -32_600,
    [
      ['a batch', body('[]'), /batches/],
      ['a text', body('"hello"')],
      ['an id of null', body('{"jsonrpc":"2.0","id":null,"method":"a"}'), /null/],
      ['an id that is an object', body('{"jsonrpc":"2.0","id":{},"method":"a"}'), /string or an integer/],
      ['JSON nested too deep', body('['.repeat(MESSAGE_LIMITS.maxDepth + 1)), /deep/],
      ['too many members', body(`[${'{"a":1},'.repeat(MESSAGE_LIMITS.maxMembers)}{"a":1}]`), /members/],
    ],
  ],
];

const TABLE: readonly (readonly [status: number, code: number, rows: readonly Row[]])[] = [
  [
    400,
    -32_600,
    [
      ['another version of JSON-RPC', body('{"jsonrpc":"1.0","id":1,"method":"a"}'), /JSON-RPC 2.0/],
      ['a response', body('{"jsonrpc":"2.0","id":1,"result":{}}'), /responses/],
      ['params that are a list', body('{"jsonrpc":"2.0","id":1,"method":"a","params":[]}'), /params/],
      [
        'a lone surrogate',
        withArgs(String.raw`{"a":["\ud800"]}`),
        /params\.arguments\.a\[0\]: has a lone surrogate/,
      ],
      [
        'a number beyond all doubles',
        withArgs('{"a":1e400}'),
        /params\.arguments\.a: is not a finite number/,
      ],
      ['a member named __proto__', withArgs(String.raw`{"__pr\u006fto__":{}}`), /forbidden name/],
    ],
  ],
  [
    400,
    -32_602,
    [
      ['no _meta', body('{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo"}}'), /_meta/],
      ['no version', meta(CAPABLE), /protocolVersion/],
      ['no capabilities', meta(VERSION), /clientCapabilities/],
      ['capabilities that are a list', meta({ ...VERSION, [META.clientCapabilities]: [] })],
      [
        'a progress token that is an object',
        meta({ ...VERSION, ...CAPABLE, progressToken: {} }),
        /progressToken/,
      ],
    ],
  ],
  [
    400,
    -32_022,
    [
      [
        'a version that nobody speaks',
        oldVersion,
        { supported: [MODERN, ...LEGACY], requested: '1900-01-01' },
      ],
    ],
  ],
  [
    400,
    -32_020,
    [
      [
        'no MCP-Protocol-Version',
        headers({ 'mcp-protocol-version': undefined }),
        /Protocol-Version is missing/,
      ],
      ['another MCP-Protocol-Version', headers({ 'mcp-protocol-version': '2025-11-25' }), /Version differs/],
      ['no Mcp-Method', headers({ 'mcp-method': undefined }), /Mcp-Method is missing/],
      ['another Mcp-Method', headers({ 'mcp-method': 'Tools/Call' }), /Mcp-Method differs/],
      ['Mcp-Method twice', headers({ 'mcp-method': ['tools/call', 'tools/call'] }), /Mcp-Method differs/],
      ['no Mcp-Name', headers({ 'mcp-name': undefined }), /Mcp-Name is missing/],
      ['another Mcp-Name', headers({ 'mcp-name': 'work' }), /Mcp-Name differs/],
      ['Mcp-Name twice', headers({ 'mcp-name': ['echo', 'work'] }), /Mcp-Name differs/],
      ['another Mcp-Name in Base64', headers({ 'mcp-name': base64('work') }), /Mcp-Name differs/],
      ['an Mcp-Name in broken Base64', headers({ 'mcp-name': '=?base64?ZWNo!?=' }), /characters/],
      [
        'Mcp-Name of another task',
        ask('tasks/get', { taskId: 'a' }, { headers: { 'mcp-name': 'b' } }),
        /Name/,
      ],
    ],
  ],
  [
    404,
    -32_601,
    [
      ['an unknown method', ask('resources/list'), /resources\/list/],
      ['tasks/list, which there is not', inTasks('tasks/list', {})],
      ['a name of what every object has', ask('constructor')],
    ],
  ],
  [
    400,
    -32_021,
    [
      ['a tool for hosts with Tasks', ask('tools/call', { name: 'tasks_only' }), NEEDED],
      ['tasks/get without the capability', ask('tasks/get', { taskId: 'a' }), NEEDED],
      ['tasks/update without it', ask('tasks/update', { taskId: 'a', inputResponses: {} }), NEEDED],
      ['tasks/cancel without it', ask('tasks/cancel', { taskId: 'a' }), NEEDED],
      ['a subscription to tasks', ask('subscriptions/listen', { notifications: { taskIds: [] } }), NEEDED],
      ['a tool that asks a host that cannot', ask('tools/call', { name: 'asking' }), FORMS],
      [
        'a tool that asks a host that can only open pages',
        ask('tools/call', { name: 'asking' }, { capabilities: { elicitation: { url: {} } } }),
        FORMS,
      ],
    ],
  ],
  [
    200,
    -32_602,
    [
      ['a tool that is not there', ask('tools/call', { name: 'nothing' }), /no tool nothing/],
      ['a tool that only the other wire has', ask('tools/call', { name: 'list_jobs' }), /no tool/],
      ['no name', ask('tools/call', {}), /name must be a string/],
      ['arguments that are a list', withArgs('[]'), /arguments must be an object/],
      ['arguments of null', withArgs('null'), /arguments must be an object/],
      ['a cursor that is none', ask('tools/list', { cursor: 'nothing' }), /cursor/],
      ['a cursor that is a number', ask('tools/list', { cursor: 5 }), /cursor must be a string/],
      [
        'answers that are a list',
        ask('tools/call', { name: 'asking', inputResponses: [] }, { capabilities: WITH_FORMS }),
        /inputResponses/,
      ],
      [
        'an answer without action',
        ask('tools/call', { name: 'asking', inputResponses: { sure: {} } }, { capabilities: WITH_FORMS }),
        /sure/,
      ],
      ['an unknown task', inTasks('tasks/get', { taskId: 'job_x' }), UNKNOWN],
      ['an unknown task to cancel', inTasks('tasks/cancel', { taskId: 'job_x' }), UNKNOWN],
      [
        'an unknown task to answer',
        inTasks('tasks/update', { taskId: 'job_x', inputResponses: {} }),
        UNKNOWN,
      ],
      ['a task without id', inTasks('tasks/get', {}), /taskId/],
      ['a task with too long an id', inTasks('tasks/get', { taskId: 'x'.repeat(129) }), /taskId/],
      ['an update without answers', inTasks('tasks/update', { taskId: 'job_x' }), /inputResponses/],
      [
        'a subscription to too many tasks',
        inTasks('subscriptions/listen', {
          notifications: { taskIds: Array.from({ length: 101 }, (_, i) => `job_${i}`) },
        }),
        /at most 100/,
      ],
      [
        'a subscription to numbers',
        inTasks('subscriptions/listen', { notifications: { taskIds: [1] } }),
        /strings/,
      ],
    ],
  ],
];

async function assertRefused([, send, expected]: Row, status: number, code: number, id?: number) {
  const face = await startFace({ tools: TOOLS });
  const answer = await send(face);
  const { error } = answer.message;
  expect([answer.status, error.code, answer.message.id]).toEqual([status, code, id]);
  expect(answer.headers['content-type']).toBe('application/json');
  if (expected instanceof RegExp) expect(error.message).toMatch(expected);
  else if (expected !== undefined) expect(error.data).toEqual(expected);
  // None of these is a mistake of ours.
  expect(face.peer.log.complaints).toEqual([]);
}

describe.each(WITHOUT_ID)('%i, HTTP 400, without id', (code, rows) => {
  test.each(rows.map((row) => [row[0], row] as const))('%s', async (_what, row) => {
    await assertRefused(row, 400, code);
  });
});

describe.each(TABLE)('HTTP %i, %i', (status, code, rows) => {
  test.each(rows.map((row) => [row[0], row] as const))('%s', async (_what, row) => {
    await assertRefused(row, status, code, 1);
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

  test.each([
    ['Bearer x', 'Bearer realm="waybill", error="invalid_token"'],
    // No token at all: what to send is told.
    ['Bearer ', 'Bearer realm="waybill"'],
    ['Basic eDp5', 'Bearer realm="waybill"'],
    ['Bearer a b', 'Bearer realm="waybill"'],
  ])('%s: 401', async (authorization, challenge) => {
    const face = await startFace({ tools: TOOLS, mcp: { anonymous: 'agent-a' } });
    const answer = await face.ask('tools/list', {}, { token: null, headers: { authorization } });
    expect(answer.status).toBe(401);
    expect(answer.headers['www-authenticate']).toBe(challenge);
  });

  test.each([
    ['poll_job without job_id', {}, /job_id/],
    ['poll_job that waits too long', { job_id: 'a', wait_ms: 30_001 }, /wait_ms/],
    ['poll_job of an unknown job', { job_id: 'a' }, /you have no such job/],
  ])('%s is a result that the model can read', async (_what, args, words) => {
    const face = await startFace({ tools: TOOLS });
    const { status, message } = await face.ask('tools/call', { name: 'poll_job', arguments: args });
    expect(status).toBe(200);
    expect(message.result.isError).toBe(true);
    expect(message.result.content[0].text).toMatch(words);
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
    await expect.poll(async () => (await face.ask('tools/list')).status).toBe(401);
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
      // What authors throw is not always an Error.
      // oxlint-disable-next-line typescript/only-throw-error
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
