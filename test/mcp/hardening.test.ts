import { connect } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { ProtocolError } from '../../src/errors/index.ts';
import { HTTP_LIMITS } from '../../src/limits.ts';
import type { JsonObject } from '../../src/wire/index.ts';
import { aborted } from '../support/gate.ts';
import { jobTool, readTool } from '../support/server.ts';
import { head, openConnection, post } from '../transports/raw-http.ts';
import { serve } from '../transports/served.ts';
import { bodyOf, type Face, headersOf, startFace, WITH_TASKS } from './face.ts';

/** The bytes of one request of 2026-07-28. */
function bytesOf(face: Face, method: string, params: JsonObject): Buffer {
  const sent = { capabilities: WITH_TASKS };
  // The helper makes each of these one text.
  const headers = headersOf(method, params, sent, face.token) as Record<string, string>;
  return post(Buffer.from(bodyOf(method, params, sent)), { ...headers, host: 'localhost' }, '/mcp');
}

const endless = jobTool('endless', async (_args, { signal }) => ({ why: String(await aborted(signal)) }));

async function startTask(face: Face): Promise<string> {
  const { message } = await face.call('endless', {}, { capabilities: WITH_TASKS });
  return message.result.taskId;
}

describe('requests that stand behind another one on their connection', () => {
  test('end with it, although their answers never had their turn', async () => {
    const face = await startFace({ tools: [endless] });
    const listen = bytesOf(face, 'subscriptions/listen', {
      notifications: { taskIds: [await startTask(face)] },
    });
    const connection = openConnection(face.port);
    const { stats } = face.peer.server;
    connection.write(Buffer.concat([listen, listen, listen]));
    // Each holds a look at its task.
    await expect.poll(() => stats().callsInFlight).toBe(3);
    connection.socket.destroy();
    await expect.poll(() => stats().callsInFlight).toBe(0);
  });

  test('a direct tool among them is told that its caller has gone', async () => {
    const told: string[] = [];
    const slow = readTool('slow', async (_args, { signal }) => {
      told.push('begun');
      told.push(String(await aborted(signal)));
      return {};
    });
    const face = await startFace({ tools: [endless, slow] });
    const connection = openConnection(face.port);
    connection.write(bytesOf(face, 'subscriptions/listen', {}));
    connection.write(bytesOf(face, 'tools/call', { name: 'slow', arguments: {} }));
    await expect.poll(() => told).toEqual(['begun']);
    connection.socket.destroy();
    await expect.poll(() => told.join()).toContain('went away');
  });
});

test('a header cannot hide behind so many others that nobody sees it', async () => {
  const face = await startFace({ tools: [readTool('echo', (args) => args)] });
  const body = Buffer.from(bodyOf('tools/call', { name: 'echo', arguments: {} }));
  // The helper makes each of these one text.
  const right = headersOf('tools/call', { name: 'echo' }, {}, face.token) as Record<string, string>;
  const given = { host: 'localhost', ...right, 'content-length': String(body.length) };
  const statusOf = async (fillers: number, last: string) => {
    const connection = openConnection(face.port);
    const filler = Array.from({ length: fillers }, (_, n) => `x-${n}: 1\r\n`).join('');
    connection.write(`${head('POST', '/mcp', given)}${filler}${last}\r\n`);
    connection.write(body);
    return (await connection.next())?.status;
  };
  const room = HTTP_LIMITS.maxHeaders - Object.keys(given).length;
  expect(await statusOf(room, '')).toBe(200);
  expect(await statusOf(room - 1, 'Mcp-Name: other\r\n')).toBe(400);
  expect(await statusOf(room, 'Mcp-Name: other\r\n')).toBe(431);
  expect(await statusOf(room + 40, 'Mcp-Name: other\r\n')).toBe(431);
});

test('a message of an older revision may have the new headers, and not say something else by them', async () => {
  const face = await startFace({ tools: [readTool('echo', (args) => args)] });
  const call = { id: 1, method: 'tools/call', params: { name: 'echo', arguments: {} } };
  const statusOf = async (headers: Record<string, string>) =>
    (await face.older(call, { 'mcp-protocol-version': '2025-11-25', ...headers })).status;
  expect(await statusOf({ 'mcp-method': 'tools/call', 'mcp-name': 'echo' })).toBe(200);
  expect(await statusOf({ 'mcp-name': '=?base64?ZWNobw==?=' })).toBe(200);
  expect(await statusOf({ 'mcp-method': 'tools/list' })).toBe(400);
  expect(await statusOf({ 'mcp-method': 'tools/call', 'mcp-name': 'other' })).toBe(400);
  const { message } = await face.older(call, { 'mcp-protocol-version': '2025-11-25', 'mcp-name': 'other' });
  expect(message).toMatchObject({ id: 1, error: { code: -32_020 } });
});

test('the policy decides about lists as it does on the signed wire, where list_tools is a tool', async () => {
  const seen: string[] = [];
  const policy = ({ tool }: { readonly tool: string }) => {
    seen.push(tool);
    throw new ProtocolError('rate_limited', 'later', { retry_after_ms: 10 });
  };
  const face = await startFace({ tools: [endless], policy });
  expect((await face.peer.call('list_tools', {}, { ts_ms: Date.now() })).error).toMatch(/^rate_limited: /);
  const refused = { error: { code: 429, data: { code: 'rate_limited', retry_after_ms: 10 } } };
  expect((await face.ask('tools/list')).message).toMatchObject(refused);
  expect((await face.older({ id: 1, method: 'tools/list' })).message).toMatchObject(refused);
  expect(seen).toEqual(['list_tools', 'list_tools', 'list_tools']);
});

test('a peer that takes nothing of a stream is let go, and does not hold the end of the server', async () => {
  const before = HTTP_LIMITS.streamStallMs;
  // Not frozen, only typed so.
  const limits = HTTP_LIMITS as { streamStallMs: number };
  limits.streamStallMs = 100;
  onTestFinished(() => void (limits.streamStallMs = before));
  let begin = () => {};
  const begun = new Promise<void>((resolve) => {
    begin = resolve;
  });
  // More than any buffer on the way takes.
  const text = JSON.stringify('x'.repeat(1_000_000));
  async function* events(): AsyncGenerator<string> {
    begin();
    for (let n = 0; n < 100; n++) yield text;
  }
  const handle = async () => ({ status: 200, headers: {}, events: events() });
  const { listener } = await serve({ routes: [{ path: '/events', maxBodyBytes: 0, handle }] });
  const socket = connect(listener.port, '127.0.0.1');
  onTestFinished(() => void socket.destroy());
  // Nobody listens for data: none is read.
  socket.on('error', () => {});
  socket.write(`${head('GET', '/events', { host: 'localhost' })}\r\n`);
  await begun;
  await expect(listener.close()).resolves.toBeUndefined();
});
