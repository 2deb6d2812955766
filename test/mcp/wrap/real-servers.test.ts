import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Client } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { describe, expect, onTestFinished, test } from 'vitest';
import { tempFolder } from '../../support/temp.ts';
import { EVERYTHING, FILESYSTEM, nodeTarget, textOf, wrapped } from './wrapping.ts';

/** The same server, without us between. */
async function direct(...args: string[]): Promise<Client> {
  const client = new Client({ name: 'test', version: '1' });
  await client.connect(new StdioClientTransport({ command: process.execPath, args, stderr: 'ignore' }));
  onTestFinished(() => client.close());
  return client;
}

describe('server-everything, wrapped', () => {
  test('has its tools on the signed wire with descriptions, annotations and input schemas as they are', async () => {
    const [{ client, leftOut }, foreign] = await Promise.all([
      wrapped(nodeTarget(EVERYTHING), { jobs: ['*long*'] }),
      direct(EVERYTHING),
    ]);
    // One wants a kind of task that the current revision has no more.
    expect(leftOut).toBe(1);
    const [served, listed] = await Promise.all([client.tools(), foreign.listTools()]);
    expect(listed.tools.length).toBeGreaterThan(10);
    const callable = listed.tools.filter(({ execution }) => execution?.taskSupport !== 'required');
    expect(callable.length).toBe(listed.tools.length - 1);
    for (const { name, title, description, annotations, inputSchema, outputSchema } of callable) {
      const ours = served.find((each) => each.name === name);
      expect(ours).toMatchObject({
        description,
        annotations: { ...(title !== undefined && { title }), ...annotations },
        job: name === 'trigger-long-running-operation',
      });
      expect(ours?.input_schema).toEqual(inputSchema);
      expect(ours?.output_schema).toMatchObject({
        'x-mcp-content': true,
        properties: outputSchema === undefined ? {} : { structuredContent: outputSchema },
      });
    }
  });

  test('has its long tool as a job that tells how far it is, and gives its result', async () => {
    const { client } = await wrapped(nodeTarget(EVERYTHING), { jobs: ['*long*'] });
    const job = await client.start('trigger-long-running-operation', { duration: 4, steps: 8 });
    const seen: unknown[] = [];
    const result = await job.result({ onProgress: (progress) => seen.push(progress) });
    expect(result).toEqual({
      content: [{ type: 'text', text: 'Long running operation completed. Duration: 4 seconds, Steps: 8.' }],
    });
    // Which of the steps are seen depends on the moment.
    expect(seen).toContainEqual({ completed: expect.any(Number), total: 8 });
  });

  test('passes pictures and structure through unchanged', async () => {
    const [{ client }, foreign] = await Promise.all([wrapped(nodeTarget(EVERYTHING)), direct(EVERYTHING)]);
    for (const [name, args] of [
      ['get-tiny-image', {}],
      ['get-structured-content', { location: 'New York' }],
      ['get-annotated-message', { messageType: 'error', includeImage: true }],
      ['get-resource-links', { count: 2 }],
    ] as const) {
      const { content, structuredContent } = await foreign.callTool({ name, arguments: args });
      expect(await client.call(name, args)).toEqual({
        content,
        ...(structuredContent !== undefined && { structuredContent }),
      });
    }
    const { content } = await client.call<{ content: object[] }>('get-tiny-image');
    expect(content).toContainEqual({
      type: 'image',
      mimeType: 'image/png',
      data: expect.stringMatching(/^iVBOR/),
    });
  });

  test('refuses wrong arguments itself, and its words arrive', async () => {
    const { client } = await wrapped(nodeTarget(EVERYTHING));
    await expect(client.call('get-sum', { a: 'one' })).rejects.toMatchObject({
      code: 'job_failed',
      message: expect.stringContaining('expected number'),
    });
  });

  test('is told when a job is cancelled, and answers others meanwhile', async () => {
    const { client } = await wrapped(nodeTarget(EVERYTHING), { jobs: ['*long*'] });
    const job = await client.start('trigger-long-running-operation', { duration: 60, steps: 600 });
    for await (const { progress } of job.updates()) if (progress !== null) break;
    expect(await job.cancel()).toBe('cancelled');
    expect(textOf(await client.call('echo', { message: 'still there' }))).toBe('Echo: still there');
  });
});

test('server-filesystem, wrapped, reads a file and keeps to its folder', async () => {
  const folder = tempFolder();
  writeFileSync(join(folder, 'a.txt'), 'one line, Zoë\n');
  const { client } = await wrapped(nodeTarget(FILESYSTEM, folder));
  const read = await client.call('read_text_file', { path: join(folder, 'a.txt') });
  expect(textOf(read)).toBe(readFileSync(join(folder, 'a.txt'), 'utf8'));
  await expect(client.call('read_text_file', { path: '/etc/hostname' })).rejects.toMatchObject({
    code: 'job_failed',
    message: expect.stringContaining('outside allowed directories'),
  });
});

test('a server of 2026-07-28 alone, on stdio, is wrapped like the older ones', async () => {
  const { client } = await wrapped(nodeTarget(fileURLToPath(new URL('modern.mjs', import.meta.url))));
  expect(await client.call('region', { region: 'eu', n: 2 })).toEqual({
    content: [{ type: 'text', text: 'eu 2' }],
    structuredContent: { text: 'eu 2' },
  });
  await expect(client.call('asks')).rejects.toMatchObject({
    message: 'the wrapped server asks for what waybill wrap does not offer',
  });
});
