import { describe, expect, test } from 'vitest';
import { mcpRoute } from '../../src/mcp/index.ts';
import { MESSAGE_LIMITS } from '../../src/limits.ts';
import { createFetchHandler } from '../../src/transports/index.ts';
import { aborted, gate } from '../support/gate.ts';
import { readTool, startServer, type TestServerOptions } from '../support/server.ts';
import { bodyOf, eventsIn, headersOf, type Message, type Sent } from './face.ts';
import type { JsonObject } from '../../src/wire/index.ts';

const echo = readTool('echo', (args) => args);

async function handlerOf(options: TestServerOptions = {}) {
  const peer = await startServer({ tools: [echo], ...options });
  const handler = createFetchHandler(peer.server, {
    routes: [mcpRoute(peer.server, { anonymous: 'agent-a' })],
  });
  return { peer, handler };
}

function toRequest(method: string, params: JsonObject, sent: Sent = {}, init: RequestInit = {}): Request {
  // A list of values is not used here.
  const headers = headersOf(method, params, sent) as Record<string, string>;
  return new Request('http://localhost/mcp', {
    method: 'POST',
    headers,
    body: bodyOf(method, params, sent),
    ...init,
  });
}

async function messagesOf(response: Response): Promise<Message[]> {
  return eventsIn(await response.text());
}

describe('the route behind the fetch handler', () => {
  test('answers with JSON', async () => {
    const { handler } = await handlerOf();
    const response = await handler(toRequest('tools/call', { name: 'echo', arguments: { a: 1 } }));
    expect([response.status, response.headers.get('content-type')]).toEqual([200, 'application/json']);
    expect((await response.json()).result.structuredContent).toEqual({ a: 1 });
  });

  test('answers with events', async () => {
    const steps = readTool('steps', async (_args, { progress }) => {
      progress({ completed: 1 });
      await new Promise(setImmediate);
      return { done: true };
    });
    const { handler } = await handlerOf({ tools: [steps] });
    const response = await handler(toRequest('tools/call', { name: 'steps' }, { progressToken: 'p' }));
    expect(response.headers.get('content-type')).toBe('text/event-stream');
    const [progress, answer] = await messagesOf(response);
    expect(progress.params).toEqual({ progressToken: 'p', progress: 1 });
    expect(answer.result.structuredContent).toEqual({ done: true });
  });

  test.each([
    ['GET', 405],
    ['DELETE', 405],
    ['HEAD', 405],
  ])('%s: %i', async (method, status) => {
    const { handler } = await handlerOf();
    const response = await handler(new Request('http://localhost/mcp', { method }));
    expect([response.status, response.headers.get('allow')]).toEqual([status, 'POST']);
  });

  test('refuses a body that is too large', async () => {
    const { handler } = await handlerOf();
    const body = new Uint8Array(MESSAGE_LIMITS.maxMessageBytes + 1);
    expect((await handler(toRequest('tools/list', {}, {}, { body }))).status).toBe(413);
  });

  test('a notification has no body', async () => {
    const { handler } = await handlerOf();
    const body = JSON.stringify({ jsonrpc: '2.0', method: 'notifications/cancelled' });
    const response = await handler(toRequest('notifications/cancelled', {}, {}, { body }));
    expect([response.status, response.body]).toEqual([202, null]);
  });

  function deafTool() {
    const begun = gate();
    const reason = gate<unknown>();
    const tool = readTool('deaf', async (_args, { signal, progress }) => {
      progress({ completed: 1 });
      begun.open();
      reason.open(await aborted(signal));
      return {};
    });
    return { begun, reason, tool };
  }

  test('a runtime that aborts the request cancels the tool', async () => {
    const { begun, reason, tool } = deafTool();
    const { handler } = await handlerOf({ tools: [tool] });
    const controller = new AbortController();
    const answer = handler(toRequest('tools/call', { name: 'deaf' }, {}, { signal: controller.signal }));
    await begun.opened;
    controller.abort();
    expect(await reason.opened).toMatchObject({ code: 'cancelled' });
    await answer;
  });

  test('a runtime that cancels the body of the response cancels the tool', async () => {
    const { reason, tool } = deafTool();
    const { handler } = await handlerOf({ tools: [tool] });
    const response = await handler(toRequest('tools/call', { name: 'deaf' }, { progressToken: 'p' }));
    const reader = response.body?.getReader();
    await reader?.read();
    await reader?.cancel();
    expect(await reason.opened).toMatchObject({ code: 'cancelled' });
  });
});
