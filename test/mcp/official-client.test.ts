import { beforeAll, describe, expect, test } from 'vitest';
import { type Fixture, startFixture } from '../../conformance/mcp/fixture-server.ts';
import { FIXTURE_TOOLS } from '../../conformance/mcp/fixture-tools.ts';
import { atEnd } from '../system/clean-up.ts';
import { connect, type Era, openTasks, TASKS } from './official.ts';

const ERAS: readonly Era[] = ['modern', 'legacy'];
const PERSON = { name: 'Ada', confirm: true };

let fixture: Fixture;

beforeAll(async () => {
  fixture = await startFixture();
  atEnd(() => fixture.close());
});

describe.each(ERAS)('the official client, %s', (era) => {
  test('negotiates the revision, and learns who serves', async () => {
    const client = await connect(fixture.url, era);
    expect(client.getProtocolEra()).toBe(era);
    expect(client.getServerVersion()).toMatchObject({ name: 'mcp-fixture' });
  });

  test('lists every tool with its schema', async () => {
    const client = await connect(fixture.url, era);
    const { tools } = await client.listTools();
    const names = tools.map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining(FIXTURE_TOOLS.map(({ name }) => name)));
    const schema = tools.find(({ name }) => name === 'greet')?.inputSchema;
    expect(schema).toMatchObject({ type: 'object', properties: { name: { type: 'string' } } });
  });

  test('calls a tool', async () => {
    const client = await connect(fixture.url, era);
    const result = await client.callTool({ name: 'greet', arguments: { name: 'Ada' } });
    expect(result.content).toEqual([{ type: 'text', text: 'Hello, Ada!' }]);
  });

  test('repeats an argument in a header where the schema says so', async () => {
    const client = await connect(fixture.url, era);
    await client.listTools();
    const result = await client.callTool({ name: 'annotated_headers', arguments: { region: 'Zürich' } });
    expect(result.content).toEqual([{ type: 'text', text: 'Zürich' }]);
  });

  test('is told of progress before the result, with rising values', async () => {
    const client = await connect(fixture.url, era);
    const values: number[] = [];
    const onprogress = ({ progress }: { progress: number }) => void values.push(progress);
    await client.callTool({ name: 'test_tool_with_progress', arguments: {} }, { onprogress });
    expect(values).toEqual([0, 50, 100]);
  });

  test('reads the failure of a tool as a result', async () => {
    const client = await connect(fixture.url, era);
    const result = await client.callTool({ name: 'test_error_handling', arguments: {} });
    expect(result).toMatchObject({
      isError: true,
      content: [{ type: 'text', text: 'this tool always fails' }],
    });
  });

  test('is refused an unknown tool with -32602', async () => {
    const client = await connect(fixture.url, era);
    await expect(client.callTool({ name: 'nobody', arguments: {} })).rejects.toMatchObject({ code: -32_602 });
  });

  test('gets the result of a job that ends soon', async () => {
    const client = await connect(fixture.url, era);
    const args = { seconds: 0.1, label: 'soon' };
    const result = await client.callTool({ name: 'slow_compute', arguments: args });
    expect(result.content).toEqual([{ type: 'text', text: 'soon took 0.1 s' }]);
  });
});

describe('the official client and a tool that asks before it answers', () => {
  const call = { name: 'test_input_required_result_elicitation', arguments: {} };

  test('asks its person, and calls again with the answer', async () => {
    const client = await connect(fixture.url, 'modern', { person: PERSON });
    expect((await client.callTool(call)).content).toEqual([{ type: 'text', text: 'Hello, Ada!' }]);
  });

  test('is refused with -32021 if it cannot ask', async () => {
    const client = await connect(fixture.url, 'modern');
    await expect(client.callTool(call)).rejects.toMatchObject({
      code: -32_021,
      data: { requiredCapabilities: { elicitation: {} } },
    });
  });
});

describe('the official driver of Tasks', () => {
  async function start(person?: typeof PERSON) {
    const options = person === undefined ? {} : { person };
    const client = await connect(fixture.url, 'modern', options);
    expect(client.getServerCapabilities()?.extensions).toHaveProperty([TASKS]);
    return openTasks(client, fixture.url, options);
  }

  test('gets a direct result at once', async () => {
    const execution = await (await start()).callTool('greet', { name: 'Ada' });
    expect(execution.kind).toBe('immediate');
    expect(await execution.result()).toMatchObject({
      status: 'completed',
      result: { content: [{ text: 'Hello, Ada!' }] },
    });
  });

  test('drives a task to its result', async () => {
    const execution = await (await start()).callTool('slow_compute', { seconds: 0.1, label: 'task' });
    expect(execution.kind).toBe('task');
    const { outcome, lastTask } = await execution.settle();
    expect(outcome).toMatchObject({
      status: 'completed',
      result: { content: [{ text: 'task took 0.1 s' }] },
    });
    expect(lastTask).toMatchObject({ taskId: execution.handle?.taskId, status: 'completed' });
  });

  test('answers what a task asks, one question or several', async () => {
    const session = await start(PERSON);
    const one = await session.callTool('confirm_delete', { filename: 'old.txt' });
    expect((await one.settle()).outcome).toMatchObject({
      result: { content: [{ text: 'would delete old.txt' }] },
    });
    const two = await session.callTool('multi_input', {});
    expect((await two.settle()).outcome).toMatchObject({
      result: { content: [{ text: 'user_name: accept, sure: accept' }] },
    });
  });

  test('answers what is asked before the task is made', async () => {
    const execution = await (await start(PERSON)).callTool('test_tool_with_task', {});
    expect(execution.kind).toBe('task');
    expect((await execution.settle()).outcome).toMatchObject({
      result: { content: [{ text: 'Hello from a job, Ada!' }] },
    });
  });

  test('reads a stated failure as a result, and an unforeseen one as an error', async () => {
    const session = await start();
    const stated = await session.callTool('failing_job', {});
    expect((await stated.settle()).outcome).toMatchObject({
      status: 'completed',
      result: { isError: true, content: [{ text: 'this job always fails' }] },
    });
    const unforeseen = await session.callTool('protocol_error_job', {});
    const { outcome } = await unforeseen.settle();
    expect(outcome).toMatchObject({ status: 'failed', error: { code: -32_603 } });
    expect(JSON.stringify(outcome)).not.toContain('unforeseen');
  });

  test('cancels a task', async () => {
    const session = await start();
    const execution = await session.callTool('slow_compute', { seconds: 600 });
    await execution.cancel();
    expect((await execution.settle()).outcome).toMatchObject({ status: 'cancelled' });
  });
});
