import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openSite, type Process, type Site } from '../cli/replicas.ts';
import { waybill } from '../cli/waybill.ts';
import { postgresUrl, redisUrl } from '../support/services/shared.ts';
import type { JsonObject } from '../../src/wire/index.ts';
import { type Message, openAt, type Sent, type Stream, WITH_TASKS } from './face.ts';
import { connect } from './official.ts';

/** Far above what anything here takes, so that a busy machine fails nothing. */
const BUSY = { timeout: 30_000 };

/** `hold` runs until there is a file, and tells as progress in which process. */
const MODULE = `
  import { existsSync, writeFileSync } from 'node:fs'; import { setTimeout } from 'node:timers/promises';
  import { defineTool } from 'waybill'; import { z } from 'zod';
  const pid = process.pid;
  const job = { backoffMs: 10 };
  export default [
    defineTool({
      name: 'hold', description: 'Waits for a file.', job,
      input: z.object({ file: z.string() }), output: z.object({ pid: z.int() }),
      run: async ({ file }, { signal, progress }) => {
        progress({ completed: 1, total: 2, message: String(pid) });
        try {
          while (!existsSync(file)) await setTimeout(20, null, { signal });
        } catch (error) {
          writeFileSync('stopped-' + file, String(pid));
          throw error;
        }
        return { pid };
      },
    }),
    defineTool({
      name: 'ask_name', description: 'Asks for a name.', job,
      input: z.object({}), output: z.object({ pid: z.int(), name: z.string() }),
      run: async (_args, { ask }) => {
        const schema = z.toJSONSchema(z.object({ name: z.string() }));
        const { who } = await ask({ who: { message: 'Who?', schema } });
        return { pid, name: String(who?.content?.name) };
      },
    }),
  ];`;

/** Two servers and two workers on one store and one queue; alice and bob have tokens. */
interface Replicas {
  readonly site: Site;
  readonly a: Process;
  readonly b: Process;
  readonly workers: readonly Process[];
  readonly alice: string;
  readonly bob: string;
}

async function openReplicas({ workers = 1 } = {}): Promise<Replicas> {
  const site = await openSite(await postgresUrl(), await redisUrl(), MODULE);
  await run(site, 'clients', 'add', 'bob');
  const [a, b, alice, bob, ...running] = await Promise.all([
    site.serve('--no-worker'),
    site.serve('--no-worker'),
    newToken(site, 'alice'),
    newToken(site, 'bob'),
    ...Array.from({ length: workers }, () => site.work()),
  ]);
  for (const server of [a, b])
    for (const token of [alice, bob]) await expect.poll(() => statusOf(server, token), BUSY).toBe(200);
  return { site, a, b, workers: running, alice, bob };
}

async function run({ cwd, env }: Site, ...args: readonly string[]): Promise<Message> {
  const { WAYBILL_STORE_FILE = '' } = env;
  const ended = await waybill([...args, '--json'], { cwd, env: { WAYBILL_STORE_FILE } });
  expect(ended).toMatchObject({ code: 0, stderr: '' });
  return JSON.parse(ended.stdout);
}

const newToken = async (site: Site, client: string): Promise<string> =>
  (await run(site, 'clients', 'token', client)).token;

const portOf = ({ url }: Process): number => Number(new URL(url).port);

async function statusOf(server: Process, token: string): Promise<number> {
  const stream = await openAt(portOf(server), 'tools/list', {}, { token });
  await stream.rest();
  return stream.status;
}

function open(server: Process, token: string, method: string, params: JsonObject, sent: Sent = {}) {
  return openAt(portOf(server), method, params, { token, capabilities: WITH_TASKS, ...sent });
}

/** The answer to a request of a client that drives tasks. */
async function ask(
  server: Process,
  token: string,
  method: string,
  params: JsonObject = {},
): Promise<Message> {
  return (await open(server, token, method, params)).next();
}

async function startTask(server: Process, token: string, name: string, args: JsonObject): Promise<string> {
  const { result } = await ask(server, token, 'tools/call', { name, arguments: args });
  expect(result).toMatchObject({ resultType: 'task', status: 'working' });
  return result.taskId;
}

async function taskOn(server: Process, token: string, taskId: string): Promise<Message> {
  return (await ask(server, token, 'tasks/get', { taskId })).result;
}

/** Polls a task on one server until it is as expected. */
function expectTask(server: Process, token: string, taskId: string) {
  return expect.poll(() => taskOn(server, token, taskId), BUSY);
}

const runsIn = ({ pid }: Process) => ({ status: 'working', statusMessage: `1 of 2: ${pid}` });
const completedIn = ({ pid }: Process) => ({
  status: 'completed',
  result: { structuredContent: { pid } },
});
const touch = ({ cwd }: Site, file: string) => writeFileSync(join(cwd, file), '');

/** The next event that tells of a task in this state. */
async function nextTask(stream: Stream, wanted: object): Promise<void> {
  for (;;) {
    const message = await stream.next();
    expect(message).toMatchObject({ method: 'notifications/tasks' });
    try {
      expect(message.params).toMatchObject(wanted);
      return;
    } catch (error) {
      if (message.params.status !== 'working') throw error;
    }
  }
}

describe('the Model Context Protocol on two servers', {
  tags: ['postgres', 'redis'],
  timeout: 120_000,
}, () => {
  test('a task that one of them started is polled on the other, by its own client only', async () => {
    const { site, a, b, workers, alice, bob } = await openReplicas();
    const [worker] = workers as [Process];
    const taskId = await startTask(a, alice, 'hold', { file: 'held' });
    await expectTask(b, alice, taskId).toMatchObject(runsIn(worker));

    const unknown = `${taskId.slice(0, -8)}AAAAAAAA`;
    for (const method of ['tasks/get', 'tasks/cancel', 'tasks/update']) {
      const params = { inputResponses: {} };
      const [other, none] = await Promise.all(
        [taskId, unknown].map((id) => ask(b, bob, method, { ...params, taskId: id })),
      );
      expect(other).toEqual(none);
      expect(other.error).toMatchObject({ code: -32_602, data: { code: 'not_found' } });
    }

    touch(site, 'held');
    for (const server of [b, a]) await expectTask(server, alice, taskId).toMatchObject(completedIn(worker));
    expect(await site.client(a).job(taskId).result()).toEqual({ pid: worker.pid });
  });

  test('a job of the signed wire on one is a task on the other, where its cancel reaches the worker', async () => {
    const { site, a, b, workers, alice } = await openReplicas();
    const [worker] = workers as [Process];
    const job = await site.client(a).start('hold', { file: 'signed' });
    await expectTask(b, alice, job.id).toMatchObject(runsIn(worker));
    expect((await ask(b, alice, 'tasks/cancel', { taskId: job.id })).result.resultType).toBe('complete');
    const stopped = join(site.cwd, 'stopped-signed');
    await expect
      .poll(() => existsSync(stopped) && readFileSync(stopped, 'utf8'), BUSY)
      .toBe(String(worker.pid));
    expect((await job.poll()).state).toBe('cancelled');
    expect(await taskOn(a, alice, job.id)).toMatchObject({ status: 'cancelled' });
  });

  test('a question is seen on one, answered on the other, and the worker goes on', async () => {
    const { a, b, workers, alice } = await openReplicas();
    const [worker] = workers as [Process];
    const taskId = await startTask(b, alice, 'ask_name', {});
    await expectTask(a, alice, taskId).toMatchObject({
      status: 'input_required',
      inputRequests: { who: { method: 'elicitation/create', params: { message: 'Who?' } } },
    });
    const inputResponses = { who: { action: 'accept', content: { name: 'Ada' } } };
    const { result } = await ask(b, alice, 'tasks/update', { taskId, inputResponses });
    expect(result).toMatchObject({ resultType: 'complete' });
    await expectTask(a, alice, taskId).toMatchObject({
      status: 'completed',
      result: { structuredContent: { pid: worker.pid, name: 'Ada' } },
    });
  });

  test('a subscription on one tells of a task of the other, also when its worker is killed with -9', async () => {
    const { site, a, b, workers, alice } = await openReplicas({ workers: 2 });
    const taskId = await startTask(a, alice, 'hold', { file: 'go-on' });
    const stream = await open(b, alice, 'subscriptions/listen', { notifications: { taskIds: [taskId] } });
    expect((await stream.next()).params.notifications).toEqual({ taskIds: [taskId] });
    const shown = () => taskOn(a, alice, taskId).then(({ statusMessage }) => statusMessage);
    await expect.poll(shown, BUSY).toMatch(/^1 of 2: \d+$/);
    const message = await shown();
    const [first, second] = workers.toSorted((one) => (message === `1 of 2: ${one.pid}` ? -1 : 1)) as [
      Process,
      Process,
    ];
    await nextTask(stream, runsIn(first));
    first.child.kill('SIGKILL');
    await nextTask(stream, runsIn(second));
    touch(site, 'go-on');
    await nextTask(stream, completedIn(second));
    stream.leave();
  });

  test('a server that is killed leaves the job of a host without Tasks that waits there', async () => {
    const { site, a, b, workers, alice } = await openReplicas();
    const [worker] = workers as [Process];
    const call = { name: 'hold', arguments: { file: 'kept' } };
    const waiting = open(a, alice, 'tools/call', call, { capabilities: {} }).catch((error: unknown) => error);
    // Its id is told to nobody: it is among the jobs of its client.
    const newest = async () => (await site.client(b).jobs().next()).value;
    await expect.poll(newest, BUSY).toMatchObject({ status: 'running' });
    a.child.kill('SIGKILL');
    expect(await waiting).toMatchObject({ code: 'ECONNRESET' });
    const id = (await newest())?.job_id ?? '';
    await expectTask(b, alice, id).toMatchObject(runsIn(worker));
    touch(site, 'kept');
    await expectTask(b, alice, id).toMatchObject(completedIn(worker));
    const host = await connect(new URL('/mcp', b.url).href, 'legacy', { token: alice });
    const { structuredContent } = await host.callTool({ name: 'poll_job', arguments: { job_id: id } });
    expect(structuredContent).toEqual({ pid: worker.pid });
  });

  test('a token that is given or taken away by the command line is so on both', async () => {
    const { site, a, b, bob } = await openReplicas({ workers: 0 });
    const both = (token: string) => Promise.all([a, b].map((server) => statusOf(server, token)));
    const second = await newToken(site, 'bob');
    await expect.poll(() => both(second), BUSY).toEqual([200, 200]);
    expect(await both(bob)).toEqual([200, 200]);
    await run(site, 'clients', 'token', 'bob', '--revoke');
    for (const token of [bob, second]) await expect.poll(() => both(token), BUSY).toEqual([401, 401]);
  });
});
