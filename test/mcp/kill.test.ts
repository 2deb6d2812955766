import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { SerializedTaskReference, TaskEnabledSession } from '@modelcontextprotocol/ext-tasks/client';
import { beforeAll, describe, expect, test } from 'vitest';
import { type Folder, makeFolder } from '../system/server-process.ts';
import { type DurableServer, startDurable, tokenOf } from './durable-server.ts';
import { connect, type HostOptions, openTasks } from './official.ts';

const PERSON = { name: 'Ada' };

let folder: Folder;
let server: DurableServer;
let owner: HostOptions;
let stranger: HostOptions;

async function sessionOf(host: HostOptions): Promise<TaskEnabledSession> {
  return openTasks(await connect(server.url, 'modern', host), server.url, host);
}

/** Starts a task, and keeps what a later host needs to find it again. */
async function start(host: HostOptions, tool: string, args: Record<string, string | boolean>) {
  const session = await sessionOf(host);
  const execution = await session.callTool(tool, args);
  if (execution.kind !== 'task') throw new Error(`${tool} became no task`);
  const reference = execution.serializeReference();
  await execution.detach();
  return { session, reference };
}

/** Waits until a task shows what only one that runs can show. */
async function shows(session: TaskEnabledSession, { taskId }: SerializedTaskReference, member: string) {
  const task = session.task(taskId);
  while ((await task.snapshot()).raw[member] === undefined);
}

async function killAndRestart(): Promise<void> {
  await server.kill();
  server = await startDurable(folder);
}

async function resume(host: HostOptions, reference: SerializedTaskReference) {
  const execution = await (await sessionOf(host)).resumeTask(reference);
  return (await execution.settle()).outcome;
}

beforeAll(async () => {
  folder = makeFolder();
  await Promise.all([folder.addClient('owner'), folder.addClient('stranger')]);
  owner = { token: await tokenOf(folder, 'owner') };
  stranger = { token: await tokenOf(folder, 'stranger') };
  server = await startDurable(folder);
});

describe('kill -9 of a server of the Model Context Protocol', () => {
  test('a task that runs is there after restart, runs again, and completes', async () => {
    const gate = join(folder.dir, 'gate');
    const { session, reference } = await start(owner, 'hold', { gate, stubborn: false });
    await shows(session, reference, 'statusMessage');
    await killAndRestart();
    writeFileSync(gate, '');
    expect(await resume(owner, reference)).toMatchObject({
      status: 'completed',
      result: { structuredContent: { gate } },
    });
    expect(folder.attempts().length).toBeGreaterThanOrEqual(2);
  });

  test('a task that waits for an answer still asks after restart, and takes the answer', async () => {
    const { session, reference } = await start({ ...owner, person: PERSON }, 'ask_name', {});
    await shows(session, reference, 'inputRequests');
    await killAndRestart();
    expect(await resume({ ...owner, person: PERSON }, reference)).toMatchObject({
      status: 'completed',
      result: { structuredContent: { name: 'Ada' } },
    });
  });
});

describe("another client's task", () => {
  test('is not found with -32602, exactly like one that never was', async () => {
    const gate = join(folder.dir, 'never');
    const { session, reference } = await start(owner, 'hold', { gate, stubborn: false });
    const other = await sessionOf(stranger);
    const unknown = reference.taskId.replace(/.{6}$/, 'AAAAAA');
    const told: unknown[] = [];
    for (const id of [reference.taskId, unknown]) {
      const task = other.task(id as typeof reference.taskId);
      const requests = [task.snapshot(), task.cancel(), task.update({})];
      const refusals = await Promise.allSettled(requests);
      told.push(refusals.map((refusal) => refusal.status === 'rejected' && shown(refusal.reason, id)));
    }
    expect(told[0]).toEqual(told[1]);
    expect(told[0]).toEqual(Array.from({ length: 3 }, () => expect.objectContaining({ code: -32_602 })));
    expect(await session.task(reference.taskId).snapshot()).toMatchObject({ status: 'working' });
    await session.cancelTask(reference.taskId);
  });
});

/** What a refusal says, but for the id that was asked for. */
function shown({ code, message, data }: { code?: number; message: string; data?: unknown }, id: string) {
  return { code, message: message.replaceAll(id, 'ID'), data };
}
