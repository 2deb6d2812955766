import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { defineTool } from '../../src/index.ts';
import { createServer, listen } from '../../src/transports/index.ts';
import { start, waybill } from './waybill.ts';

const tidy = defineTool({
  name: 'tidy',
  description: 'Deletes what is old, once somebody has said so.',
  input: z.strictObject({}),
  output: z.strictObject({ deleted: z.boolean() }),
  job: true,
  async run(_args, { ask }) {
    const schema = z.toJSONSchema(z.object({ sure: z.boolean() }));
    const { confirm } = await ask({ confirm: { message: 'Delete 12\u001b[2J files?', schema } });
    return { deleted: confirm?.content?.['sure'] === true };
  },
});

let cwd = '';
let stop = async (): Promise<void> => {};

beforeAll(async () => {
  cwd = mkdtempSync(join(tmpdir(), 'waybill-asks-'));
  const server = await createServer({ tools: [tidy], store: `sqlite:${join(cwd, 'd')}`, drainMs: 0 });
  const listener = await listen(server);
  const credential = await server.addClient({ id: 'alice', url: listener.url });
  writeFileSync(join(cwd, 'alice.json'), JSON.stringify(credential), { mode: 0o600 });
  stop = async () => {
    await Promise.all([listener.close(), server.close()]);
    rmSync(cwd, { recursive: true, force: true });
  };
});

afterAll(() => stop());

const env = { WAYBILL_CREDENTIAL: 'alice.json' };
const run = (...args: readonly string[]) => waybill(args, { cwd, env });

describe('a job that asks', () => {
  test('is seen to wait while it is waited for, and ends when it is answered from another shell', async () => {
    const id = (await run('call', 'tidy', '--no-wait')).stdout.trim();
    const waiting = start(['jobs', 'wait', id, '--json'], { cwd, env });
    const [line] = await waiting.until('stderr', /^the job waits for an answer: .*\n/m);
    expect(line).toBe(
      `the job waits for an answer: confirm "Delete 12?[2J files?"; give it with waybill jobs answer ${id} ` +
        `--credential alice.json --answers '{"confirm":{"action":"accept","content":{"sure":"…"}}}'\n`,
    );
    const [get, json] = await Promise.all([run('jobs', 'get', id), run('jobs', 'get', id, '--json')]);
    expect(get.stdout).toBe(`${id}  running, waits for an answer: confirm "Delete 12?[2J files?"\n`);
    expect(JSON.parse(json.stdout)).toMatchObject({
      status: 'running',
      questions: { confirm: { schema: { properties: { sure: { type: 'boolean' } } } } },
    });

    const wrong = await run('jobs', 'answer', id, '--answers', '{"confirm":{"action":"accept"}}');
    expect(wrong).toMatchObject({ code: 1, stdout: '' });
    expect(wrong.stderr).toMatch(/^waybill: invalid_args: confirm\.content\.sure: /);

    const yes = '{"confirm":{"action":"accept","content":{"sure":true}}}';
    expect(await run('jobs', 'answer', id, '--answers', yes, '--json')).toEqual({
      code: 0,
      stdout: `{"job_id":"${id}","status":"running"}\n`,
      stderr: '',
    });
    expect(await waiting.ended).toMatchObject({ code: 0, stdout: '{"deleted":true}\n' });
    expect(waiting.output.stderr.match(/waits for an answer/g)).toHaveLength(1);

    const late = await run('jobs', 'answer', id, '--answers', yes);
    expect(late).toEqual({ code: 0, stdout: `job ${id} had ended before: succeeded\n`, stderr: '' });
  });

  test('is told that it was declined', async () => {
    const waiting = start(['call', 'tidy'], { cwd, env });
    const found = await waiting.until('stderr', /waybill jobs answer (\S+) /);
    const id = found[1] ?? '';
    const no = '{"confirm":{"action":"decline"}}';
    expect((await run('jobs', 'answer', id, '--answers', no)).stdout).toBe(`job ${id} is answered\n`);
    expect((await waiting.ended).stdout).toBe('{\n  "deleted": false\n}\n');
  });

  test.each([
    [['job_1'], /required option '--answers <json>' not specified; see "waybill jobs answer --help"/],
    [['job_1', '--answers', '{'], /the answers are not JSON \(.*\): give one object, like '\{"confirm"/],
    [['job_1', '--answers', '[]'], /the answers are not a JSON object/],
    [['job_1', '--answers', '{"a":1,"a":2}'], /the answers name a member twice/],
  ])('answer %j is wrong use', async (args, said) => {
    const ended = await run('jobs', 'answer', ...args);
    expect(ended).toMatchObject({ code: 2, stdout: '' });
    expect(ended.stderr).toMatch(said);
  });

  test('of a job that is not there says not_found', async () => {
    const ended = await run('jobs', 'answer', 'job_unknown', '--answers', '{}');
    expect(ended).toMatchObject({ code: 1, stdout: '' });
    expect(ended.stderr).toMatch(/^waybill: not_found: /);
  });
});
