import { once } from 'node:events';
import { expect, test } from 'vitest';
import { wrapServer } from '../../../src/mcp/wrap/wrap.ts';
import { createTestLog } from '../../support/log.ts';
import { httpServer, rawMcpServer, sendJson } from './http-server.ts';
import { textOf, wrapped } from './wrapping.ts';

const hi = (id: number, response: Parameters<typeof sendJson>[0]) =>
  sendJson(response, { id, result: { content: [{ type: 'text', text: 'hi' }] } });

test('an address that sends on to another host is not followed there, and that host hears nothing', async () => {
  const heard: unknown[] = [];
  const other = await httpServer(({ headers, url }, response) => {
    heard.push(headers.authorization ?? url);
    response.writeHead(404).end();
  });
  for (const status of [301, 302, 303, 307, 308]) {
    const url = await httpServer((request, response) => {
      request.resume();
      void once(request, 'end').then(() => response.writeHead(status, { location: other }).end());
    });
    const target = { kind: 'http', url, token: 'wbt_secret' } as const;
    await expect(wrapServer({ target, log: createTestLog() })).rejects.toThrow(/redirect/i);
  }
  expect(heard).toEqual([]);
});

test('nor when it does so during a call', async () => {
  const heard: unknown[] = [];
  const other = await httpServer(({ url }, response) => {
    heard.push(url);
    response.writeHead(404).end();
  });
  const url = await rawMcpServer({
    away: (_id, response) => void response.writeHead(307, { location: other }).end(),
    hi,
  });
  const { client } = await wrapped({ kind: 'http', url, token: 'wbt_secret' });
  await expect(client.call('away', { secret: 1 })).rejects.toMatchObject({ code: 'job_failed' });
  expect(heard).toEqual([]);
  expect(textOf(await client.call('hi'))).toBe('hi');
});
