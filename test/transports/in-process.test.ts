import { describe, expect, test } from 'vitest';
import { createClient } from '../../src/client/index.ts';
import { SYSTEM_CLOCK } from '../../src/client/clock.ts';
import { createServer, inProcess } from '../../src/transports/index.ts';
import { jobTool, readTool, startServer } from '../support/server.ts';
import { verifiedReply } from '../support/signing.ts';

const echo = readTool('echo', (args) => args);

describe('§9 in process: bytes in, bytes out', () => {
  test('the bytes are those of every other transport', async () => {
    const peer = await startServer({ tools: [echo] });
    const transport = inProcess(peer.server);
    const { signal } = new AbortController();
    const bytes = await transport(Uint8Array.from(peer.request('echo', { text: 'ü😀' })), { signal });
    expect(bytes).toBeInstanceOf(Uint8Array);
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    expect(verifiedReply(text, peer.credential).result).toEqual({ text: 'ü😀' });
  });

  test('a client calls tools, waits for jobs, and is refused what it may not', async () => {
    const work = jobTool('work', (args, { progress }) => {
      progress({ completed: 1 });
      return args;
    });
    const peer = await startServer({ tools: [echo, work], now: () => SYSTEM_CLOCK.now() });
    const client = createClient(peer.credential, { transport: inProcess(peer.server) });
    expect(await client.call('echo', { n: 1 })).toEqual({ n: 1 });
    expect(await client.call('work', { n: 2 })).toEqual({ n: 2 });
    await expect(client.call('unknown')).rejects.toMatchObject({ code: 'unknown_tool' });
  });

  test('works with a server that was made from nothing but a folder', async () => {
    const peer = await startServer();
    await peer.close();
    const server = await createServer({ tools: [echo], store: `sqlite:${peer.dir}` });
    const client = createClient(peer.credential, { transport: inProcess(server) });
    expect(await client.call('echo', { n: 1 })).toEqual({ n: 1 });
    await server.close();
  });
});
