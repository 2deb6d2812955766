import { describe, expect, test } from 'vitest';
import { LEGACY, META, MODERN } from '../../src/mcp/protocol.ts';
import { gate } from '../support/gate.ts';
import { jobTool, readTool } from '../support/server.ts';
import { bodyOf, headersOf, startFace } from './face.ts';

const echo = readTool('echo', (args) => args);
const CLIENT = { capabilities: {}, clientInfo: { name: 'host', version: '1' } };
const initialize = (protocolVersion: string) => ({
  id: 1,
  method: 'initialize',
  params: { protocolVersion, ...CLIENT },
});

describe('2025-11-25 over HTTP', () => {
  test.each(LEGACY)('initialize with %s', async (version) => {
    const face = await startFace({ tools: [echo] });
    const { status, headers, message } = await face.older(initialize(version));
    expect([status, headers['content-type'], headers['mcp-session-id']]).toEqual([
      200,
      'application/json',
      undefined,
    ]);
    expect(message.result).toMatchObject({
      protocolVersion: version,
      capabilities: { tools: {} },
      serverInfo: { name: 'srv-1' },
      instructions: expect.stringContaining('poll_job'),
    });
  });

  test('answers a version that it does not know with one that it does', async () => {
    const face = await startFace({ tools: [echo] });
    expect((await face.older(initialize('2199-01-01'))).message.result.protocolVersion).toBe('2025-11-25');
  });

  test('notifications are accepted', async () => {
    const face = await startFace({ tools: [echo] });
    const { status, text } = await face.older(
      { method: 'notifications/initialized' },
      { 'mcp-protocol-version': '2025-11-25' },
    );
    expect([status, text]).toEqual([202, '']);
  });

  test('tools/list, ping and tools/call need no session', async () => {
    const face = await startFace({ tools: [echo, jobTool('work', () => ({}))] });
    const version = { 'mcp-protocol-version': '2025-11-25' };
    const { tools } = (await face.older({ id: 1, method: 'tools/list' }, version)).message.result;
    expect(tools.map(({ name }: { name: string }) => name)).toEqual([
      'answer_job',
      'cancel_job',
      'echo',
      'poll_job',
      'work',
    ]);
    expect((await face.older({ id: 'a', method: 'ping' }, version)).message).toEqual({
      jsonrpc: '2.0',
      id: 'a',
      result: {},
    });
    const params = { name: 'echo', arguments: { a: 1 } };
    const { result } = (await face.older({ id: 2, method: 'tools/call', params }, version)).message;
    expect(result).toEqual({ content: [{ type: 'text', text: '{"a":1}' }], structuredContent: { a: 1 } });
  });

  test.each([
    ['a method that is not there', { method: 'nothing/here' }, -32_601],
    ['a method of the newer revision', { method: 'tasks/get', params: { taskId: 'a' } }, -32_601],
    ['a request named like a notification', { method: 'notifications/initialized' }, -32_601],
    ['a tool that is not there', { method: 'tools/call', params: { name: 'nothing' } }, -32_602],
    ['a name that is a number', { method: 'tools/call', params: { name: 5 } }, -32_602],
    ['a cursor that is none', { method: 'tools/list', params: { cursor: 'x' } }, -32_602],
    ['a _meta that is a number', { method: 'ping', params: { _meta: 5 } }, -32_600],
    [
      'a progress token that is an object',
      { method: 'ping', params: { _meta: { progressToken: {} } } },
      -32_600,
    ],
  ])('%s is refused', async (_what, message, code) => {
    const face = await startFace({ tools: [echo] });
    const answer = await face.older({ id: 7, ...message });
    expect([answer.message.id, answer.message.error.code]).toEqual([7, code]);
  });

  test('progress comes as events; to a host that takes none, JSON', async () => {
    const steps = readTool('steps', async (_args, { progress }) => {
      progress({ completed: 1 });
      await new Promise(setImmediate);
      return {};
    });
    const face = await startFace({ tools: [steps] });
    const call = {
      id: 1,
      method: 'tools/call',
      params: { name: 'steps', arguments: {}, _meta: { progressToken: 'p' } },
    };
    const { headers, messages } = await face.older(call);
    expect(headers['content-type']).toBe('text/event-stream');
    expect(messages.map(({ method }) => method)).toEqual(['notifications/progress', undefined]);
    expect((await face.older(call, { accept: 'application/json' })).headers['content-type']).toBe(
      'application/json',
    );
  });

  test('who goes away has not cancelled: there, that takes a message', async () => {
    const begun = gate();
    const stay = gate();
    const ended = gate<boolean>();
    const slow = readTool('slow', async (_args, { signal }) => {
      begun.open();
      await stay.opened;
      ended.open(signal.aborted);
      return {};
    });
    const face = await startFace({ tools: [slow] });
    face.older({ id: 1, method: 'tools/call', params: { name: 'slow', arguments: {} } }).catch(() => {});
    await begun.opened;
    face.leaveAll();
    await new Promise((resolve) => setTimeout(resolve, 100));
    stay.open();
    expect(await ended.opened).toBe(false);
  });

  test('needs a token too', async () => {
    const face = await startFace({ tools: [echo] });
    expect((await face.older(initialize('2025-11-25'), { authorization: undefined })).status).toBe(401);
  });

  test('GET, which would open a stream: 405', async () => {
    const face = await startFace({ tools: [echo] });
    expect((await face.raw('', { accept: 'text/event-stream' }, 'GET')).status).toBe(405);
  });
});

describe('which revision a request is of', () => {
  const modern = { _meta: { [META.protocolVersion]: MODERN, [META.clientCapabilities]: {} } };
  const RESULT_TYPE = 'resultType';

  test.each([
    ['a version in _meta', modern, { 'mcp-protocol-version': MODERN, 'mcp-method': 'tools/list' }],
    [
      'both, and headers in another case',
      modern,
      { 'MCP-Protocol-Version': MODERN, 'MCP-METHOD': 'tools/list' },
    ],
  ])('the newer: %s', async (_what, params, headers) => {
    const face = await startFace({ tools: [echo] });
    const { message } = await face.older({ id: 1, method: 'tools/list', params }, headers);
    expect(message.result).toHaveProperty(RESULT_TYPE);
  });

  test.each([
    ['nothing at all', {}, {}],
    ['a header with its version', {}, { 'mcp-protocol-version': '2025-06-18' }],
    [
      'its version, beside headers of the newer',
      {},
      { 'mcp-protocol-version': '2025-11-25', 'mcp-method': 'tools/list' },
    ],
    ['a _meta of its own', { _meta: { progressToken: 'p' } }, {}],
  ])('an older: %s', async (_what, params, headers) => {
    const face = await startFace({ tools: [echo] });
    const { message } = await face.older({ id: 1, method: 'tools/list', params }, headers);
    expect(message.result.tools).toHaveLength(1);
    expect(message.result).not.toHaveProperty(RESULT_TYPE);
  });

  test.each([
    [
      'the header of the newer without _meta',
      {},
      { 'mcp-protocol-version': MODERN, 'mcp-method': 'tools/list' },
      -32_602,
    ],
    ['a method header alone', {}, { 'mcp-method': 'tools/list' }, -32_602],
    ['a version in _meta without headers', modern, {}, -32_020],
    [
      'an older version in the header, the newer in _meta',
      modern,
      { 'mcp-protocol-version': '2025-11-25', 'mcp-method': 'tools/list' },
      -32_020,
    ],
    [
      'a version that nobody speaks',
      {},
      { 'mcp-protocol-version': '2024-01-01', 'mcp-method': 'tools/list' },
      -32_602,
    ],
  ])('refused: %s', async (_what, params, headers, code) => {
    const face = await startFace({ tools: [echo] });
    const { status, message } = await face.older({ id: 1, method: 'tools/list', params }, headers);
    expect([status, message.error.code]).toEqual([400, code]);
  });

  test('initialize with the version of the newer is answered with an older one', async () => {
    const face = await startFace({ tools: [echo] });
    expect((await face.older(initialize(MODERN))).message.result.protocolVersion).toBe('2025-11-25');
  });

  test('both on one connection', async () => {
    const face = await startFace({ tools: [echo] });
    expect((await face.older({ id: 1, method: 'ping' })).status).toBe(200);
    expect((await face.raw(bodyOf('tools/list'), headersOf('tools/list'))).status).toBe(200);
  });
});
