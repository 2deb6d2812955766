import { createHmac } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { defineTool } from '../../src/tools/index.ts';
import type { JsonObject, ResponseMessage } from '../../src/wire/index.ts';
import { anyTool, codeOf, jobTool, startServer, type TestServer, jobIdOf } from '../support/server.ts';

const BUILT_IN = [
  'answer_job',
  'cancel_job',
  'explain_call',
  'list_jobs',
  'list_tools',
  'poll_job',
  'server_identity',
];

type Listed = readonly Readonly<Record<string, unknown>>[];

async function listAll(peer: TestServer): Promise<{ readonly pages: number; readonly tools: Listed }> {
  const tools: Record<string, unknown>[] = [];
  let cursor: string | null = null;
  let pages = 0;
  do {
    const reply: ResponseMessage = await peer.call('list_tools', cursor === null ? {} : { cursor });
    const page = reply.result as {
      readonly tools: Record<string, unknown>[];
      readonly next_cursor: string | null;
    };
    tools.push(...page.tools);
    cursor = page.next_cursor;
    pages++;
  } while (cursor !== null);
  return { pages, tools };
}

describe('§7 server_identity', () => {
  test('says who the server is, which response key it holds, and what it can do', async () => {
    const peer = await startServer();
    const { result } = await peer.call('server_identity');
    expect(result).toEqual({
      server_id: 'srv-1',
      fingerprint: createHmac('sha256', peer.credential.response_key)
        .update('mcp fingerprint')
        .digest('hex')
        .slice(0, 32),
      audit_key: expect.stringMatching(/^wbp_/),
      capabilities: { async: true, stateless: true, versions: ['mcp/0.1'], max_wait_ms: 30_000 },
    });
  });

  test('says that nothing is recorded where no audit is kept', async () => {
    const peer = await startServer({ audit: false });
    expect((await peer.call('server_identity')).result).toMatchObject({ audit_key: null });
  });

  test('shows each client the fingerprint of its own key', async () => {
    const peer = await startServer();
    const other = peer.as(await peer.addClient('agent-b'));
    const [mine, theirs] = await Promise.all([peer.call('server_identity'), other.call('server_identity')]);
    expect(mine.result?.['fingerprint']).not.toBe(theirs.result?.['fingerprint']);
  });

  test('takes no arguments', async () => {
    const peer = await startServer();
    expect(codeOf(await peer.call('server_identity', { n: 1 }))).toBe('invalid_args');
  });
});

describe('§7 list_tools', () => {
  test('lists every tool in the order of names, the built-in ones too', async () => {
    const peer = await startServer({ tools: [jobTool('zip', () => ({})), anyTool('add', () => ({}))] });
    const { tools, pages } = await listAll(peer);
    expect(tools.map(({ name }) => name)).toEqual(['add', ...BUILT_IN, 'zip']);
    expect(pages).toBe(1);
  });

  test('tells of a tool all that a caller needs', async () => {
    const greet = defineTool({
      name: 'greet',
      description: 'Says hello.',
      input: z.strictObject({ name: z.string() }),
      output: z.strictObject({ text: z.string() }),
      annotations: { title: 'Greet', readOnlyHint: true },
      run: ({ name }) => ({ text: `hello ${name}` }),
    });
    const { tools } = await listAll(await startServer({ tools: [greet, jobTool('work', () => ({}))] }));
    expect(tools.find(({ name }) => name === 'greet')).toEqual({
      name: 'greet',
      description: 'Says hello.',
      job: false,
      annotations: { title: 'Greet', readOnlyHint: true },
      input_schema: {
        $schema: 'https://json-schema.org/draft/2020-12/schema',
        type: 'object',
        properties: { name: { type: 'string' } },
        required: ['name'],
        additionalProperties: false,
      },
      output_schema: {
        $schema: 'https://json-schema.org/draft/2020-12/schema',
        type: 'object',
        properties: { text: { type: 'string' } },
        required: ['text'],
        additionalProperties: false,
      },
    });
    expect(tools.find(({ name }) => name === 'work')?.['job']).toBe(true);
  });

  test.each([92, 93, 94, 193, 250])(
    'pages through %i tools and the built-in ones, each once',
    async (count) => {
      const many = Array.from({ length: count }, (_, n) => anyTool(`tool-${n}`, () => ({})));
      const { tools, pages } = await listAll(await startServer({ tools: many }));
      const names = tools.map(({ name }) => String(name));
      expect(names).toEqual([...BUILT_IN, ...many.map(({ name }) => name)].toSorted());
      expect(pages).toBe(Math.ceil((count + BUILT_IN.length) / 100));
    },
  );

  test('goes on from any cursor', async () => {
    const peer = await startServer();
    const after = async (cursor: string) =>
      ((await peer.call('list_tools', { cursor })).result as { readonly tools: Listed }).tools.length;
    expect([await after(''), await after('list'), await after('zzz')]).toEqual([7, 4, 0]);
  });

  test('every built-in tool takes what its published schema says and gives what it says', async () => {
    const { Ajv2020 } = await import('ajv/dist/2020.js');
    const ajv = new Ajv2020({ strict: false });
    const peer = await startServer({ tools: [jobTool('work', () => ({ n: 1 }))] });
    const job_id = jobIdOf((await peer.call('work')).result);
    const { tools } = await listAll(peer);
    const calls: Record<string, JsonObject> = {
      answer_job: { job_id, answers: { sure: { action: 'accept', content: { n: 1 } } } },
      cancel_job: { job_id },
      explain_call: { tool: 'work', args: { n: 1 } },
      list_jobs: { limit: 5, status: 'succeeded' },
      list_tools: {},
      poll_job: { job_id, wait_ms: 1_000 },
      server_identity: {},
    };
    for (const name of BUILT_IN.toReversed()) {
      const listed = tools.find((tool) => tool['name'] === name);
      const takes = ajv.compile(listed?.['input_schema'] as object);
      const gives = ajv.compile(listed?.['output_schema'] as object);
      const args = calls[name] ?? {};
      expect([name, takes(args)]).toEqual([name, true]);
      const { result } = await peer.call(name, args);
      expect([name, gives(result), gives.errors]).toEqual([name, true, null]);
      expect([name, takes({ ...args, stranger: 1 })]).toEqual([name, false]);
      expect(codeOf(await peer.call(name, { ...args, stranger: 1 }))).toBe('invalid_args');
    }
  });
});
