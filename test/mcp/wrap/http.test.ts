import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { createMcpHandler } from '@modelcontextprotocol/server';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { WRAP_LIMITS } from '../../../src/mcp/wrap/limits.ts';
import { wrapServer } from '../../../src/mcp/wrap/wrap.ts';
import { createTestLog } from '../../support/log.ts';
import { reservePlace } from '../../support/services/keeper.ts';
import { httpServer, rawMcpServer, sendJson } from './http-server.ts';
import { modernServer } from './modern.mjs';
import { EVERYTHING, refusalOf, textOf, wrapped } from './wrapping.ts';

/** Nobody else is given it while the test runs. */
async function freePort(): Promise<string> {
  const { port, folder } = await reservePlace();
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return String(port);
}

/** server-everything over HTTP, ready. */
async function everything(port: string): Promise<ChildProcess> {
  const child = spawn(process.execPath, [EVERYTHING, 'streamableHttp'], {
    env: { ...process.env, PORT: port },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  for await (const chunk of child.stderr) if (String(chunk).includes('listening')) break;
  child.stderr.resume();
  return child;
}

describe('a server over HTTP', () => {
  test('is wrapped like a command, and found again after it was killed and started anew', async () => {
    const port = await freePort();
    const first = await everything(port);
    const url = `http://127.0.0.1:${port}/mcp`;
    const { client, isUp } = await wrapped({ kind: 'http', url }, { jobs: ['*long*'] });
    const job = await client.start('trigger-long-running-operation', { duration: 3, steps: 6 });
    const seen: unknown[] = [];
    expect(textOf(await job.result({ onProgress: (progress) => seen.push(progress) }))).toContain(
      'completed',
    );
    expect(seen.length).toBeGreaterThan(0);
    first.kill('SIGKILL');
    await once(first, 'exit');
    await everything(port);
    expect(textOf(await client.call('echo', { message: 'again' }))).toBe('Echo: again');
    expect(isUp()).toBe(true);
  });

  test('of 2026-07-28 gets the arguments that belong into headers there', async () => {
    const handler = createMcpHandler(modernServer, { legacy: 'reject' });
    const headers: IncomingMessage['headers'][] = [];
    const url = await httpServer((request, response) => {
      headers.push(request.headers);
      void relay(request, response, handler.fetch);
    });
    const { client } = await wrapped({ kind: 'http', url });
    expect(await client.call('region', { region: 'Zürich', n: 1 })).toEqual({
      content: [{ type: 'text', text: 'Zürich 1' }],
      structuredContent: { text: 'Zürich 1' },
    });
    expect(headers.find((each) => each['mcp-name'] === 'region')).toHaveProperty('mcp-param-region');
    await expect(client.call('asks')).rejects.toMatchObject({
      message: 'the wrapped server asks for what waybill wrap does not offer',
    });
  });

  test('is sent the token, and no log tells it', async () => {
    const url = await rawMcpServer({
      who: (id, response, { headers }) =>
        sendJson(response, { id, result: { content: [{ type: 'text', text: headers.authorization }] } }),
    });
    const { client, log } = await wrapped({ kind: 'http', url, token: 'a-secret-1' });
    expect(textOf(await client.call('who'))).toBe('Bearer a-secret-1');
    expect(JSON.stringify(log.lines)).not.toContain('a-secret-1');
  });

  test.each([
    [401, /^the wrapped server answered with HTTP status 401: is its token right\?$/],
    [500, /^the wrapped server answered with HTTP status 500$/],
    [404, /^the wrapped server did not take the call: HTTP status 404$/],
  ])('that answers a call with status %i fails it in clear words', async (status, message) => {
    const url = await rawMcpServer({ refuse: (_id, response) => void response.writeHead(status).end() });
    const { client } = await wrapped({ kind: 'http', url });
    await expect(client.call('refuse')).rejects.toMatchObject({
      code: 'job_failed',
      message: expect.stringMatching(message),
    });
  });

  test.each(['json', 'stream'])('that sends too much at once (%s) is cut off', async (kind) => {
    const limit = WRAP_LIMITS.maxMessageBytes;
    const url = await rawMcpServer({
      much: (id, response) => {
        const type = kind === 'json' ? 'application/json' : 'text/event-stream';
        response.writeHead(200, { 'content-type': type });
        response.write(kind === 'json' ? `{"jsonrpc":"2.0","id":${id},"result":"` : 'data: ');
        // Without end: it stops when nobody takes it any more.
        const more = () => {
          while (!response.destroyed && response.write('x'.repeat(65_536)));
        };
        response.on('drain', more);
        more();
      },
      little: (id, response) =>
        sendJson(response, { id, result: { content: [{ type: 'text', text: 'ok' }] } }),
    });
    const { client } = await wrapped({ kind: 'http', url });
    await expect(client.call('much')).rejects.toMatchObject({
      code: 'job_failed',
      message: `the wrapped server sent a message of more than ${limit} bytes during the call`,
    });
    expect(textOf(await client.call('little'))).toBe('ok');
  });

  test('may send more than that in many messages', async () => {
    const url = await rawMcpServer({
      often: (id, response) => {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        const notice = {
          jsonrpc: '2.0',
          method: 'notifications/message',
          params: { level: 'info', data: 'x'.repeat(100_000) },
        };
        for (let i = 0; i < 60; i++) response.write(`data: ${JSON.stringify(notice)}\r\n\r\n`);
        const result = { content: [{ type: 'text', text: 'ok' }] };
        response.end(`data: ${JSON.stringify({ jsonrpc: '2.0', id, result })}\n\n`);
      },
    });
    const { client } = await wrapped({ kind: 'http', url });
    expect(textOf(await client.call('often'))).toBe('ok');
  });

  test.each(['end', 'destroy'] as const)(
    'whose stream stops before the answer (%s) fails the call at once',
    async (how) => {
      const url = await rawMcpServer({
        half: (_id, response) => {
          response.writeHead(200, { 'content-type': 'text/event-stream' });
          response.write(': hello\n\n', () => response[how]());
        },
      });
      const { client } = await wrapped({ kind: 'http', url });
      await expect(client.call('half')).rejects.toMatchObject({
        code: 'job_failed',
        message: 'the wrapped server broke the connection during the call',
      });
    },
  );

  test('that is not there cannot be wrapped', async () => {
    const url = `http://127.0.0.1:${await freePort()}/mcp`;
    await expect(wrapServer({ target: { kind: 'http', url }, log: createTestLog() })).rejects.toMatchObject({
      name: 'SetupError',
      message: expect.stringMatching(
        /^the server http:\/\/127\.0\.0\.1:\d+\/mcp cannot be wrapped: .*ECONNREFUSED/,
      ),
    });
  });

  test('that goes away makes calls busy until it is back', async () => {
    Object.assign(WRAP_LIMITS, { waitMs: 200 });
    const port = await freePort();
    const child = await everything(port);
    const { client, isUp } = await wrapped({ kind: 'http', url: `http://127.0.0.1:${port}/mcp` });
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(await refusalOf(client.call('echo', { message: 'a' }, { timeoutMs: 5_000 }))).toMatchObject({
      code: 'busy',
    });
    expect(isUp()).toBe(false);
    await everything(port);
    await vi.waitFor(() => expect(isUp()).toBe(true), 20_000);
    expect(textOf(await client.call('echo', { message: 'b' }))).toBe('Echo: b');
  });
});

async function relay(
  request: IncomingMessage,
  response: ServerResponse,
  answer: (request: Request) => Promise<Response>,
): Promise<void> {
  const { method = 'GET', headers, url = '/' } = request;
  const body = method === 'POST' ? { body: await buffer(request) } : {};
  const given = Object.entries(headers).map(([name, value]): [string, string] => [name, String(value)]);
  const got = await answer(
    new Request(new URL(url, `http://${headers.host}`), { method, headers: given, ...body }),
  );
  response.writeHead(got.status, Object.fromEntries(got.headers));
  for await (const chunk of got.body ?? []) response.write(chunk);
  response.end();
}
