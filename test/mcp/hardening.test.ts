import { connect } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
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
  await listener.close();
});
