import { describe, expect, test } from 'vitest';
import { ProtocolError } from '../../src/errors/index.ts';
import { JOB_LIMITS, SERVER_LIMITS, TOOL_LIMITS } from '../../src/limits.ts';
import type { Questions } from '../../src/tools/index.ts';
import type { JsonObject, ResponseMessage } from '../../src/wire/index.ts';
import { codeOf, jobIdOf, jobTool, readTool, startServer, type TestServer } from '../support/server.ts';

const QUESTIONS: Questions = {
  confirm: {
    message: 'Delete it?',
    schema: { type: 'object', properties: { sure: { type: 'boolean' } }, required: ['sure'] },
  },
  mail: {
    message: 'Whom to tell?',
    schema: { type: 'object', properties: { to: { type: 'string', format: 'email' } } },
  },
};
const YES = { action: 'accept', content: { sure: true } } as const;

/** A job that asks both and gives the answers. */
const asker = jobTool('asker', async (_args, { ask, progress }) => {
  progress({ completed: 1, partial: { seen: 1 } });
  return { ...(await ask(QUESTIONS)) };
});

async function start(peer: TestServer, tool = 'asker'): Promise<string> {
  return jobIdOf((await peer.call(tool)).result);
}

/** The first reply to a poll that is as wanted. */
async function poll(
  peer: TestServer,
  job_id: string,
  isWanted: (reply: ResponseMessage) => boolean,
): Promise<ResponseMessage> {
  // A poll that is held waits for a change, and what is wanted may be there.
  for (let wait_ms = 0; ; wait_ms = 100) {
    const reply = await peer.call('poll_job', { job_id, wait_ms });
    if (isWanted(reply)) return reply;
  }
}

const waits = ({ result }: ResponseMessage): boolean => result !== null && 'questions' in result;
const ended = ({ status }: ResponseMessage): boolean => status === 'done' || status === 'error';
const answer = (peer: TestServer, job_id: string, answers: JsonObject): Promise<ResponseMessage> =>
  peer.call('answer_job', { job_id, answers });

describe('a job that waits for answers', () => {
  test('shows its questions beside its progress, as long as they are not answered', async () => {
    const peer = await startServer({ tools: [asker] });
    const job_id = await start(peer);
    expect((await poll(peer, job_id, waits)).result).toEqual({
      job_id,
      progress: { completed: 1, partial: { seen: 1 } },
      questions: QUESTIONS,
      poll_after_ms: SERVER_LIMITS.pollAfterMs,
    });
    const reply = await answer(peer, job_id, { confirm: YES });
    expect(reply).toMatchObject({ ok: true, status: 'ok', result: { job_id, status: 'running' } });
    const { result } = await peer.call('poll_job', { job_id });
    expect(result?.['questions']).toEqual({ mail: QUESTIONS['mail'] });
    await answer(peer, job_id, { mail: { action: 'decline' } });
    expect(await poll(peer, job_id, ended)).toMatchObject({
      status: 'done',
      result: { confirm: YES, mail: { action: 'decline' } },
    });
  });

  test('shows none when it asks nothing', async () => {
    const quiet = jobTool('quiet', () => new Promise(() => {}));
    const peer = await startServer({ tools: [quiet] });
    const job_id = await start(peer, 'quiet');
    const { result } = await poll(peer, job_id, ({ status }) => status === 'running');
    expect(result).not.toHaveProperty('questions');
  });

  test('can be polled however large its progress is: the questions come first', async () => {
    const partial = { text: 'x'.repeat(1_040_000) };
    const large = jobTool('large', async (_args, { ask, progress }) => {
      progress({ completed: 1, total: 2, message: 'half', partial });
      const text = 'q'.repeat(TOOL_LIMITS.maxQuestionsBytes - 1_000);
      const schema = { type: 'object', properties: {} };
      return { ...(await ask({ confirm: { message: text, schema } })) };
    });
    const peer = await startServer({ tools: [large] });
    const job_id = await start(peer, 'large');
    const { result } = await poll(peer, job_id, waits);
    expect(result?.['progress']).toEqual({ completed: 1, total: 2, message: 'half' });
    await answer(peer, job_id, { confirm: { action: 'cancel' } });
    expect((await poll(peer, job_id, ended)).result).toEqual({ confirm: { action: 'cancel' } });
  });
});

describe('§7 answer_job', () => {
  test('a foreign job and an unknown one get the same not_found, and nothing is answered', async () => {
    const peer = await startServer({ tools: [asker] });
    const other = peer.as(await peer.addClient('agent-b'));
    const job_id = await start(peer);
    await poll(peer, job_id, waits);
    const foreign = await answer(other, job_id, { confirm: YES });
    const unknown = await answer(other, 'job_unknown', { confirm: YES });
    expect(codeOf(foreign)).toBe('not_found');
    expect([foreign.error, foreign.result]).toEqual([unknown.error, unknown.result]);
    expect((await peer.call('poll_job', { job_id })).result?.['questions']).toEqual(QUESTIONS);
  });

  test.each([
    ['a member is missing', { confirm: { action: 'accept', content: {} } }, 'confirm.content.sure'],
    ['nothing was filled in', { confirm: { action: 'accept' } }, 'confirm.content.sure'],
    [
      'it is of another type',
      { confirm: { action: 'accept', content: { sure: 'yes' } } },
      'confirm.content.sure',
    ],
    ['it has not the format', { mail: { action: 'accept', content: { to: 'nobody' } } }, 'mail.content.to'],
  ])('content that breaks its schema is refused and nothing is kept: %s', async (_what, answers, path) => {
    const peer = await startServer({ tools: [asker] });
    const job_id = await start(peer);
    await poll(peer, job_id, waits);
    const both = { confirm: YES, ...answers };
    const refused = await answer(peer, job_id, both);
    expect(codeOf(refused)).toBe('invalid_args');
    expect(refused.result?.['issues']).toEqual([{ path, message: expect.any(String) }]);
    expect((await peer.call('poll_job', { job_id })).result?.['questions']).toEqual(QUESTIONS);
  });

  test.each([
    ['no answers', {}],
    ['answers that are no object', { answers: 1 }],
    ['an action that there is not', { answers: { confirm: { action: 'maybe' } } }],
    ['content that is no object', { answers: { confirm: { action: 'accept', content: [] } } }],
  ])('refuses %s', async (_what, args) => {
    const peer = await startServer({ tools: [asker] });
    const job_id = await start(peer);
    expect(codeOf(await peer.call('answer_job', { job_id, ...args }))).toBe('invalid_args');
  });

  test('keys that the job does not wait for are ignored, and so are jobs that have ended', async () => {
    const peer = await startServer({ tools: [asker] });
    const job_id = await start(peer);
    await poll(peer, job_id, waits);
    const stranger = { action: 'accept', content: { anything: 1 } };
    expect((await answer(peer, job_id, { stranger })).result).toEqual({ job_id, status: 'running' });
    await peer.call('cancel_job', { job_id });
    expect((await answer(peer, job_id, { confirm: YES })).result).toEqual({ job_id, status: 'cancelled' });
  });

  test('only what is accepted has content', async () => {
    const peer = await startServer({ tools: [asker] });
    const job_id = await start(peer);
    await poll(peer, job_id, waits);
    await answer(peer, job_id, {
      confirm: { action: 'decline', content: { sure: 'is not looked at' } },
      mail: { action: 'accept', content: {}, more: 1 },
    });
    expect((await poll(peer, job_id, ended)).result).toEqual({
      confirm: { action: 'decline' },
      mail: { action: 'accept', content: {} },
    });
  });

  test('more answers than one job may have are refused', async () => {
    const open = { message: 'Text?', schema: { type: 'object', properties: { text: { type: 'string' } } } };
    const long = jobTool('long', async (_args, { ask }) => ({ got: Object.keys(await ask({ one: open })) }));
    const peer = await startServer({ tools: [long] });
    const job_id = await start(peer, 'long');
    await poll(peer, job_id, waits);
    const text = 'x'.repeat(JOB_LIMITS.maxAnswersBytes);
    const refused = await answer(peer, job_id, { one: { action: 'accept', content: { text } } });
    expect(codeOf(refused)).toBe('invalid_args');
    expect(refused.error).toContain(String(JOB_LIMITS.maxAnswersBytes));
    await answer(peer, job_id, { one: { action: 'decline' } });
    expect((await poll(peer, job_id, ended)).result).toEqual({ got: ['one'] });
  });

  test('the policy can forbid it', async () => {
    const policy = ({ tool }: { readonly tool: string }) => {
      if (tool === 'answer_job') throw new ProtocolError('forbidden', 'not you');
    };
    const peer = await startServer({ tools: [asker], policy });
    const job_id = await start(peer);
    expect(codeOf(await answer(peer, job_id, { confirm: YES }))).toBe('forbidden');
  });
});

test('a direct tool cannot ask while it runs', async () => {
  const seen: unknown[] = [];
  const direct = readTool('direct', async (_args, { ask, answers }) => {
    seen.push(answers);
    try {
      await ask(QUESTIONS);
    } catch (error) {
      seen.push(error);
    }
    return {};
  });
  const peer = await startServer({ tools: [direct] });
  await peer.call('direct');
  expect(seen[0]).toEqual({});
  expect(seen[1]).toBeInstanceOf(TypeError);
  expect(String(seen[1])).toMatch(/only jobs can ask while they run; .*`asks`/);
});
