import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import type { Explanation } from '../../src/server/built-in/explanation.ts';
import type { ClientTerms } from '../../src/store/index.ts';
import { defineTool } from '../../src/tools/index.ts';
import type { Credential } from '../../src/transports/index.ts';
import type { JsonObject } from '../../src/wire/index.ts';
import { anyTool, codeOf, jobTool, startServer, type TestServer } from '../support/server.ts';

const ADD = defineTool({
  name: 'math/add',
  description: 'Adds.',
  input: z.strictObject({ a: z.number(), b: z.number() }),
  output: z.strictObject({ sum: z.number() }),
  annotations: { readOnlyHint: true },
  run: ({ a, b }) => ({ sum: a + b }),
});
const ASKS = defineTool({
  name: 'math/ask',
  description: 'Asks first.',
  input: z.strictObject({}),
  output: z.strictObject({}),
  asks: { sure: { message: 'Sure?', schema: { type: 'object', properties: { yes: { type: 'boolean' } } } } },
  run: () => ({}),
});
/** Never ends by itself. */
const WORK = jobTool('work', (_args, { signal }) => {
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve({})));
});
const TOOLS = [ADD, ASKS, WORK, anyTool('write', () => ({}))];
const RIGHT = { a: 1, b: 2 };

/** A client with these terms, of a server with the tools above. */
async function startAs(
  terms: Partial<ClientTerms> = {},
  options: Parameters<typeof startServer>[0] = {},
): Promise<TestServer> {
  const peer = await startServer({ tools: TOOLS, ...options });
  const url = 'http://127.0.0.1:9/call';
  const credential: Credential = await peer.server.addClient({ id: 'limited', url, terms });
  return peer.as(credential);
}

async function explain(peer: TestServer, tool?: string, args?: JsonObject): Promise<Explanation> {
  const call = { ...(tool !== undefined && { tool }), ...(args !== undefined && { args }) };
  const reply = await peer.call('explain_call', call);
  expect(reply).toMatchObject({ ok: true, status: 'ok' });
  return reply.result as unknown as Explanation;
}

function stepOf({ steps }: Explanation, name: string) {
  return steps.find(({ step }) => step === name);
}

describe('§7 explain_call', () => {
  test('goes through the steps behind request_id in their order, and says what each found', async () => {
    const explanation = await explain(await startAs(), 'math/add', RIGHT);
    expect(explanation).toEqual({
      key: 'current',
      expires_ms: null,
      scopes: ['*'],
      window: { max_past_ms: 300_000, max_future_ms: 60_000 },
      limits: { calls_per_minute: null, jobs_per_day: null, open_jobs: { used: 0, limit: 10_000 } },
      refused_by: null,
      steps: [
        { step: 'rate', ok: true, code: null, detail: 'no limit' },
        { step: 'quota', ok: true, code: null, detail: 'counts jobs only' },
        { step: 'scope', ok: true, code: null, detail: '* includes it' },
        { step: 'policy', ok: true, code: null, detail: 'this server has none of its own' },
        { step: 'tool', ok: true, code: null, detail: 'a direct tool' },
        { step: 'args', ok: true, code: null, detail: 'they fit the input schema' },
        { step: 'run', ok: true, code: null, detail: 'runs at once' },
      ],
    });
  });

  test('without a tool it tells what holds for every call', async () => {
    const terms = { callsPerMinute: 3, jobsPerDay: 2, maxOpenJobs: 5, scopes: ['math/*'], expiresMs: 2e12 };
    const peer = await startAs(terms);
    expect(await explain(peer)).toMatchObject({
      expires_ms: 2e12,
      scopes: ['math/*'],
      limits: {
        calls_per_minute: { used: 1, limit: 3 },
        jobs_per_day: { used: 0, limit: 2 },
        open_jobs: { used: 0, limit: 5 },
      },
      refused_by: null,
      steps: [{ step: 'rate', ok: true }],
    });
  });

  test('every client may call it, whatever its scopes', async () => {
    const peer = await startAs({ scopes: ['nothing'] });
    expect((await explain(peer, 'explain_call')).refused_by).toBeNull();
    expect((await explain(peer, 'poll_job', { job_id: 'x' })).refused_by).toBeNull();
  });

  test('tells of a tool outside the scopes neither whether there is one, nor what it takes', async () => {
    const peer = await startAs({ scopes: ['math/*'], jobsPerDay: 1 });
    const untold = { ok: null, code: null, detail: 'not told of a tool outside your scopes' };
    const [job, direct, none] = await Promise.all([
      explain(peer, 'work', { wrong: 1 }),
      explain(peer, 'write'),
      explain(peer, 'neither'),
    ]);
    for (const step of ['quota', 'tool', 'args', 'run'])
      expect(stepOf(job, step)).toEqual({ step, ...untold });
    const named = (name: string, explanation: Explanation) =>
      JSON.stringify(explanation).replaceAll(name, 'TOOL');
    expect(named('write', direct)).toBe(named('work', job));
    expect(named('neither', none)).toBe(named('work', job));
  });

  test('goes on behind a step that refuses, so that all that is wrong is seen at once', async () => {
    const peer = await startAs({ callsPerMinute: 1, jobsPerDay: 1 });
    const explanation = await explain(peer, 'math/add', { a: 'x', c: 1 });
    expect(explanation.refused_by).toBe('rate');
    expect(stepOf(explanation, 'args')).toMatchObject({
      ok: false,
      code: 'invalid_args',
      detail: expect.stringMatching(/^a: .*; b: .*; \$: .*c/),
    });
  });

  test('runs nothing and takes nothing of a quota', async () => {
    let runs = 0;
    const tool = anyTool('count', () => ({ n: ++runs }));
    const peer = await startAs({ jobsPerDay: 1 }, { tools: [tool, ...TOOLS] });
    for (let i = 0; i < 3; i++) {
      expect((await explain(peer, 'count')).refused_by).toBeNull();
      expect((await explain(peer, 'work')).refused_by).toBeNull();
    }
    expect(runs).toBe(0);
    expect((await peer.call('list_jobs')).result).toEqual({ jobs: [], next_cursor: null });
    expect((await peer.call('work')).status).toBe('accepted');
  });

  test('does not ask a policy, which may count; the policy decides about explain_call itself', async () => {
    const asked: string[] = [];
    const policy = ({ tool }: { readonly tool: string }) => void asked.push(tool);
    const explanation = await explain(await startAs({}, { policy }), 'write');
    expect(stepOf(explanation, 'policy')).toMatchObject({ ok: null });
    expect(asked).toEqual(['explain_call']);
  });

  test('names the generation of keys that the message was signed with', async () => {
    const peer = await startAs();
    const next = await peer.server.rotateClient('limited', { url: 'http://127.0.0.1:9/call' });
    expect((await explain(peer)).key).toBe('previous');
    expect((await explain(peer.as(next))).key).toBe('current');
  });
});

interface Situation {
  readonly terms?: Partial<ClientTerms>;
  readonly before?: (peer: TestServer) => Promise<unknown>;
  readonly tool: string;
  readonly args?: JsonObject;
  readonly step: Explanation['refused_by'];
  readonly code?: string;
}

const SITUATIONS: Readonly<Record<string, Situation>> = {
  'a direct tool': { tool: 'math/add', args: RIGHT, step: null },
  'a job': { tool: 'work', step: null },
  'a built-in tool': { terms: { scopes: ['x'] }, tool: 'list_jobs', step: null },
  'a tool in a scope': { terms: { scopes: ['x', 'm*/a*d'] }, tool: 'math/add', args: RIGHT, step: null },
  // Explaining takes the last call.
  'the rate used up': {
    terms: { callsPerMinute: 3 },
    before: (peer) => Promise.all([peer.call('write'), peer.call('write')]),
    tool: 'math/add',
    args: RIGHT,
    step: 'rate',
    code: 'rate_limited',
  },
  'the rate not quite used up': {
    terms: { callsPerMinute: 4 },
    before: (peer) => Promise.all([peer.call('write'), peer.call('write')]),
    tool: 'math/add',
    args: RIGHT,
    step: null,
  },
  'the jobs of the day used up': {
    terms: { jobsPerDay: 1 },
    before: (peer) => peer.call('work'),
    tool: 'work',
    step: 'quota',
    code: 'rate_limited',
  },
  'the jobs of the day used up, for a direct tool': {
    terms: { jobsPerDay: 1 },
    before: (peer) => peer.call('work'),
    tool: 'write',
    step: null,
  },
  'as many open jobs as there may be': {
    terms: { maxOpenJobs: 2 },
    before: (peer) => Promise.all([peer.call('work'), peer.call('work')]),
    tool: 'work',
    step: 'run',
    code: 'busy',
  },
  'outside the scopes': { terms: { scopes: ['math/*'] }, tool: 'write', step: 'scope', code: 'forbidden' },
  'outside the scopes, and no tool': {
    terms: { scopes: ['math/*'] },
    tool: 'nothing',
    step: 'scope',
    code: 'forbidden',
  },
  'no tool': { tool: 'nothing', step: 'tool', code: 'unknown_tool' },
  'wrong arguments': { tool: 'math/add', args: { a: 'x' }, step: 'args', code: 'invalid_args' },
  'wrong arguments of a built-in tool': {
    tool: 'poll_job',
    args: { job_id: 1 },
    step: 'args',
    code: 'invalid_args',
  },
  'a tool that asks first': { tool: 'math/ask', step: 'args', code: 'invalid_args' },
  'several at once': {
    terms: { scopes: ['math/*'], callsPerMinute: 1 },
    tool: 'write',
    step: 'rate',
    code: 'rate_limited',
  },
};

describe('what explain_call says is what the call then gets', () => {
  test.each(Object.entries(SITUATIONS))('%s', async (_name, situation) => {
    const { terms = {}, before, tool, args = {}, step, code } = situation;
    const peer = await startAs(terms);
    await before?.(peer);
    const explanation = await explain(peer, tool, args);
    expect(explanation.refused_by).toBe(step);
    expect(stepOf(explanation, step ?? '')?.code).toBe(code);
    const reply = await peer.call(tool, args);
    expect(codeOf(reply)).toBe(code);
    expect(reply.ok).toBe(step === null);
  });
});
