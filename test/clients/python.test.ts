import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { hasPython, runPython } from './python.ts';
import { useWorld } from './world.ts';

describe.skipIf(!hasPython)('the client in Python calls a real server', () => {
  const world = useWorld();

  test.each([
    ['[1, 2, 3.5]', 3, 6.5],
    ['[1.0, 2.0, 1e-05]', 3, 3.00001],
    ['[1e21, 1e16, 9007199254740994]', 3, 1e21 + 1e16 + 9_007_199_254_740_994],
    ['[5e-324, -0.0, 1.5e-7]', 3, 1.5e-7],
  ])('batch_sum of %s', async (numbers, count, total) => {
    const client = await world.connect();
    const args_text = `{"numbers": ${numbers}}`;
    expect(await world.valueOf('call', { client, tool: 'batch_sum', args_text })).toEqual({ count, total });
  });

  test('text, names and numbers of every kind come back as they were sent', async () => {
    const value = {
      Zoë: '€\u{1f600}\ufb33',
      '\u{1f600}': 1e-5,
      '\ufb33': [1e21, 0.1, -1.5e-7],
      '\u001f"\\': '\u007f\u2028',
    };
    const client = await world.connect();
    expect(await world.valueOf('call', { client, tool: 'echo', args_text: JSON.stringify(value) })).toEqual(
      value,
    );
  });

  test('a job is started, watched, and gives its payload', async () => {
    const client = await world.connect();
    const payload = { name: 'Zoë', '€': [1, 1e-5, 1e21], '\u{1f600}': null };
    const args_text = JSON.stringify({ seconds: 4, payload });
    const job_id = await world.valueOf('start', { client, tool: 'start_long_task', args_text });
    const waited = await world.valueOf('wait', { job_id, watch: true });
    const { result, updates } = z
      .object({
        result: z.unknown(),
        updates: z.array(
          z.object({ state: z.string(), progress: z.nullable(z.object({ completed: z.number() })) }),
        ),
      })
      .parse(waited);
    expect(result).toEqual(payload);
    expect(updates.at(-1)?.state).toBe('succeeded');
    const completed = updates.flatMap(({ progress }) => progress?.completed ?? []);
    expect(completed.length).toBeGreaterThan(1);
    expect(completed).toEqual([...new Set(completed)].sort((a, b) => a - b));
  });

  test('call waits for a job', async () => {
    const client = await world.connect();
    const args_text = '{"seconds": 1, "payload": {"a": 1}}';
    expect(await world.valueOf('call', { client, tool: 'start_long_task', args_text })).toEqual({ a: 1 });
  });

  test('start of a tool that is no job gives its result with the error', async () => {
    const { error } = await world.python.run('start', {
      client: await world.connect(),
      tool: 'echo',
      args_text: '{"a": 1}',
    });
    expect(error).toMatchObject({ type: 'NotAJob', result: { a: 1 } });
  });

  test('a job is cancelled; then it is polled and waited for as cancelled', async () => {
    const client = await world.connect();
    const job_id = await world.valueOf('start', {
      client,
      tool: 'start_long_task',
      args_text: '{"seconds": 20}',
    });
    const late = await world.python.run('wait', { job_id, watch: false, timeout: 0.3 });
    expect(late.error).toMatchObject({ type: 'ClientError', code: 'timeout', retryable: true });
    expect(await world.valueOf('cancel', { client, job_id })).toBe('cancelled');
    expect(await world.valueOf('poll', { client, job_id, wait_ms: 10_000 })).toMatchObject({
      state: 'cancelled',
      error: { type: 'ProtocolError', code: 'cancelled', retryable: false },
    });
    expect((await world.python.run('wait', { job_id, watch: true })).error?.code).toBe('cancelled');
  });

  test('a job that fails says why, and one that asks is answered', async () => {
    const client = await world.connect();
    const failed = await world.python.run('call', { client, tool: 'fails' });
    expect(failed.error).toMatchObject({
      type: 'ProtocolError',
      code: 'job_failed',
      message: 'the paper has run out: Zoë',
      text: 'job_failed: the paper has run out: Zoë',
    });

    const job_id = await world.valueOf('start', { client, tool: 'asks' });
    let shown: unknown;
    do shown = await world.valueOf('poll', { client, job_id, wait_ms: 100 });
    while (Object(shown).questions?.who === undefined && Object(shown).error === null);
    expect(shown).toMatchObject({ state: 'running', questions: { who: { message: 'Who is it?' } } });
    const answers = { who: { action: 'accept', content: { name: 'Zoë' } } };
    await world.valueOf('answer', { client, job_id, answers });
    expect(await world.valueOf('wait', { job_id, watch: false })).toMatchObject({ result: { name: 'Zoë' } });
  });

  test('refusals carry code, message, result and whether a retry can help', async () => {
    const client = await world.connect();
    const invalid = await world.python.run('call', {
      client,
      tool: 'batch_sum',
      args_text: '{"numbers": []}',
    });
    expect(invalid.error).toMatchObject({
      type: 'ProtocolError',
      code: 'invalid_args',
      retryable: false,
      result: { issues: [{ path: expect.stringContaining('numbers'), message: expect.any(String) }] },
    });
    expect((await world.python.run('call', { client, tool: 'no_such_tool' })).error?.code).toBe(
      'unknown_tool',
    );
    expect((await world.python.run('poll', { client, job_id: 'nobody' })).error?.code).toBe('not_found');
    const request_id = 'the-same-id';
    await world.valueOf('call', { client, tool: 'run_once', request_id });
    const other = await world.python.run('call', {
      client,
      tool: 'run_once',
      args_text: '{"a":1}',
      request_id,
    });
    expect(other.error?.code).toBe('request_id_conflict');
  });

  test('the snippets of its README print what it shows', async () => {
    const readme = readFileSync(new URL('../../clients/python/README.md', import.meta.url), 'utf8');
    const snippets = [...readme.matchAll(/```python\n([\s\S]*?)```\n\n```\n([\s\S]*?)```/g)];
    expect(snippets.length).toBe(2);
    // Which of the updates are seen depends on the moment.
    const lasting = (text: string) => text.replace(/^(queued|running) .*\n/gm, '');
    const cwd = dirname(world.fileOf());
    for (const [, code = '', shown = ''] of snippets) {
      const { stdout, stderr } = await runPython(code, cwd);
      expect({ stdout: lasting(stdout), stderr }).toEqual({ stdout: lasting(shown), stderr: '' });
    }
  });
});
