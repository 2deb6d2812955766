import { describe, expect, test } from 'vitest';
import { ProtocolError } from '../../src/errors/index.ts';
import { MCP_LIMITS } from '../../src/limits.ts';
import { revokeClient, setTerms } from '../../src/server/clients/clients.ts';
import type { ClientTerms } from '../../src/store/index.ts';
import { openDesk } from '../support/clients.ts';
import { createTestClock } from '../support/clock.ts';
import { jobTool, readTool } from '../support/server.ts';
import { type Face, type FaceOptions, type Sent, startFace, WITH_TASKS } from './face.ts';

const tools = [
  readTool('reports.read', () => ({ of: 'reports' })),
  readTool('admin.reset', () => ({ of: 'admin' })),
  jobTool('reports.make', () => ({ made: true })),
  jobTool('admin.rebuild', () => ({ rebuilt: true })),
];
const REPORTS = ['answer_job', 'cancel_job', 'poll_job', 'reports.make', 'reports.read'];
const ADMIN = ['admin.rebuild', 'admin.reset'];

interface Bob {
  readonly face: Face;
  readonly sent: Sent;
  readonly header: { readonly authorization: string };
  list(): Promise<string[]>;
}

/** A server, and a client of it with these terms and a token. */
async function startBob(terms: Partial<ClientTerms>, options: FaceOptions = {}): Promise<Bob> {
  const face = await startFace({ tools, ...options });
  const { server } = face.peer;
  await server.addClient({ id: 'bob', url: 'http://127.0.0.1:9/call', terms });
  const token = await server.addToken('bob');
  const sent = { token };
  return {
    face,
    sent,
    header: { authorization: `Bearer ${token}` },
    list: async () => namesIn((await face.ask('tools/list', {}, sent)).message),
  };
}

// oxlint-disable-next-line typescript/no-explicit-any
const namesIn = ({ result }: any): string[] => result.tools.map(({ name }: { name: string }) => name);

/** Changes the record beside the running server. */
async function beside(
  { face }: Bob,
  change: (store: Awaited<ReturnType<typeof openDesk>>['store']) => Promise<unknown>,
) {
  const { store } = await openDesk(face.peer.dir);
  await change(store);
  await store.close();
}

describe('the scopes of a client', () => {
  test('are what tools/list shows it, for nobody else to keep, while others see their own', async () => {
    const bob = await startBob({ scopes: ['reports.*'] });
    expect(await bob.list()).toEqual(REPORTS);
    const { message } = await bob.face.ask('tools/list');
    expect(namesIn(message)).toEqual([...ADMIN, ...REPORTS]);
    expect(message.result.cacheScope).toBe('private');
  });

  test('without a tool that is a job list none of the tools for jobs', async () => {
    const bob = await startBob({ scopes: ['*.read'] });
    expect(await bob.list()).toEqual(['reports.read']);
  });

  test('hold for older hosts too', async () => {
    const bob = await startBob({ scopes: ['reports.*'] });
    const listed = await bob.face.older({ id: 1, method: 'tools/list', params: {} }, bob.header);
    expect(namesIn(listed.message)).toEqual(REPORTS);
    const params = { name: 'admin.reset', arguments: {} };
    const { message } = await bob.face.older({ id: 2, method: 'tools/call', params }, bob.header);
    expect(message.error).toMatchObject({ code: 403, message: 'your scopes do not include admin.reset' });
  });

  test('refuse a call of another tool, whether there is one or not', async () => {
    const bob = await startBob({ scopes: ['reports.*'] });
    const { call } = bob.face;
    for (const name of ['admin.reset', 'admin.rebuild', 'admin.none']) {
      const { message } = await call(name, {}, { ...bob.sent, capabilities: WITH_TASKS });
      expect(message.error).toEqual({
        code: 403,
        message: `your scopes do not include ${name}`,
        data: { code: 'forbidden' },
      });
    }
    expect((await call('reports.none', {}, bob.sent)).message.error.message).toBe(
      'there is no tool reports.none',
    );
    expect((await call('reports.read', {}, bob.sent)).message.result.structuredContent).toEqual({
      of: 'reports',
    });
    expect((await call('reports.make', {}, bob.sent)).message.result.structuredContent).toEqual({
      made: true,
    });
  });

  test('come in pages, whose cursor stays good when the scopes change', async () => {
    const many = Array.from({ length: 3 * MCP_LIMITS.pageSize }, (_, n) =>
      readTool(`${n % 3 === 0 ? 'a' : 'b'}.${String(n).padStart(4, '0')}`, () => ({})),
    );
    const bob = await startBob({ scopes: ['b.*'] }, { tools: many });
    const page = async (cursor: string) =>
      (await bob.face.ask('tools/list', cursor === '' ? {} : { cursor }, bob.sent)).message.result;
    const first = await page('');
    const second = await page(first.nextCursor);
    const listed = [...first.tools, ...second.tools].map(({ name }: { name: string }) => name);
    expect(listed).toEqual(many.map(({ name }) => name).filter((name) => name.startsWith('b.')));
    await beside(bob, (store) => setTerms(store, 'bob', { scopes: ['b.*', 'a.0000'] }));
    await expect.poll(async () => (await page('')).tools[0].name, { interval: 20 }).toBe('a.0000');
    const after = (await page(first.nextCursor)).tools.map(({ name }: { name: string }) => name);
    expect(after).toEqual(listed.filter((name) => name > first.nextCursor));
  });

  test('are asked before the policy, which is asked of a tool that does not exist as well', async () => {
    const asked: string[] = [];
    const policy = ({ tool }: { tool: string }) => {
      asked.push(tool);
      if (tool === 'reports.none') throw new ProtocolError('forbidden', 'not this one');
    };
    const bob = await startBob({ scopes: ['reports.*'] }, { policy });
    const refusal = async (name: string) => (await bob.face.call(name, {}, bob.sent)).message.error.message;
    expect(await refusal('admin.reset')).toBe('your scopes do not include admin.reset');
    expect(await refusal('reports.none')).toBe('not this one');
    expect(asked).toEqual(['reports.none']);
  });
});

describe('the limits of a client', () => {
  test('a rate limit counts calls, lists and looks at tasks, on both wires together', async () => {
    const bob = await startBob({ callsPerMinute: 3 }, { now: createTestClock(Date.now()).now });
    const { ask, call } = bob.face;
    await ask('tools/list', {}, bob.sent);
    const made = await call('reports.make', {}, { ...bob.sent, capabilities: WITH_TASKS });
    const { taskId } = made.message.result;
    const looked = await ask('tasks/get', { taskId }, { ...bob.sent, capabilities: WITH_TASKS });
    expect(looked.message.result.taskId).toBe(taskId);
    const { message } = await call('reports.read', {}, bob.sent);
    expect(message.error).toMatchObject({ code: 429, message: 'you may make 3 calls a minute' });
    expect(message.error.data.retry_after_ms).toBeGreaterThan(0);
    expect((await ask('tools/list', {}, bob.sent)).message.error.code).toBe(429);
    expect((await call('reports.read')).message.result.structuredContent).toEqual({ of: 'reports' });
  });

  test('to wait for a job is one call, however often the job tells how far it is', async () => {
    const steps = jobTool('steps', async (_args, { progress }) => {
      for (let completed = 1; completed <= 5; completed++) {
        progress({ completed });
        // Progress is written 20 times a second at most.
        await new Promise((resolve) => setTimeout(resolve, 60));
      }
      return { done: true };
    });
    const clock = createTestClock(Date.now());
    const bob = await startBob({ callsPerMinute: 1 }, { tools: [steps], now: clock.now });
    const { message } = await bob.face.call('steps', {}, bob.sent);
    expect(message.result.structuredContent).toEqual({ done: true });
  });

  test('a quota of jobs a day', async () => {
    // Its day does not end.
    const bob = await startBob({ jobsPerDay: 1 }, { now: createTestClock(Date.now()).now });
    await bob.face.call('reports.make', {}, bob.sent);
    const { message } = await bob.face.call('reports.make', {}, bob.sent);
    expect(message.error).toMatchObject({ code: 429, message: 'you may start 1 jobs a day' });
  });
});

describe('the token of a client whose time is over', () => {
  test('is none: 401, from the moment on', async () => {
    const clock = createTestClock(Date.now());
    const bob = await startBob({ expiresMs: clock.nowMs + 1_000 }, { now: clock.now });
    expect((await bob.face.call('reports.read', {}, bob.sent)).status).toBe(200);
    clock.nowMs += 1_000;
    const refused = await bob.face.call('reports.read', {}, bob.sent);
    expect([refused.status, refused.headers['www-authenticate']]).toEqual([
      401,
      'Bearer realm="waybill", error="invalid_token"',
    ]);
  });

  test('and so is that of one that was revoked, while others go on', async () => {
    const bob = await startBob({});
    expect((await bob.face.call('reports.read', {}, bob.sent)).status).toBe(200);
    await beside(bob, (store) => revokeClient(store, 'bob'));
    const status = async () => (await bob.face.call('reports.read', {}, bob.sent)).status;
    await expect.poll(status, { interval: 20 }).toBe(401);
    expect((await bob.face.call('reports.read')).status).toBe(200);
  });
});
