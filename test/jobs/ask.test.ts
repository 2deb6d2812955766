import { describe, expect, test } from 'vitest';
import { createSqliteDispatcher } from '../../src/jobs/index.ts';
import { StoreError } from '../../src/errors/index.ts';
import { MESSAGE_LIMITS, TOOL_LIMITS } from '../../src/limits.ts';
import type { RecordStore } from '../../src/store/index.ts';
import type { Answer, Questions } from '../../src/tools/index.ts';
import { openStore } from '../store/open.ts';
import { runChild } from '../support/child.ts';
import { gate } from '../support/gate.ts';
import { postgresUrl } from '../support/services/shared.ts';
import { tempFolder } from '../support/temp.ts';
import { openEngineAt, openWorkshop, startWorkshop, tool, type Workshop } from './workshop.ts';

const YES: Answer = { action: 'accept', content: { sure: true } };
const NO: Answer = { action: 'decline' };
const CANCELLED = { state: 'cancelled', result: null, error: 'cancelled: by the client' } as const;

/** Questions by these keys. */
function about(...keys: readonly string[]): Questions {
  const schema = { type: 'object', properties: { sure: { type: 'boolean' } } };
  return Object.fromEntries(keys.map((key) => [key, { message: `${key}?`, schema }]));
}

/** When the job waits for exactly these. */
const asking = (workshop: Workshop, id: string, ...keys: readonly string[]) =>
  workshop.until(id, ({ questions }) => Object.keys(questions).join() === keys.join());

const DEPLOYMENTS = [
  { name: 'sqlite:', tags: [], url: async () => `sqlite:${tempFolder()}` },
  { name: 'postgres://', tags: ['postgres'], url: () => postgresUrl() },
] as const;

describe.each(DEPLOYMENTS)('a job that asks, on $name', ({ tags, url }) => {
  const options = { tags: [...tags] };

  test('waits for the answers and goes on with them', options, async () => {
    const work = tool('work', async (_args, { ask }) => ({ ...(await ask(about('sure', 'why'))) }));
    const workshop = startWorkshop(await openEngineAt({ store: await url() }), [work]);
    const id = await workshop.submit('work');
    const { questions } = await asking(workshop, id, 'sure', 'why');
    expect(questions).toEqual(about('sure', 'why'));
    await workshop.store.jobs.answer(id, { why: NO }, Date.now());
    await asking(workshop, id, 'sure');
    await workshop.store.jobs.answer(id, { sure: YES, other: YES }, Date.now());
    expect(await workshop.ended(id)).toMatchObject({ result: { sure: YES, why: NO }, questions: {} });
  });

  test('asks one thing after another, and what has an answer not again', options, async () => {
    const work = tool('work', async (_args, { ask, answers }) => {
      const first = await ask(about('one'));
      const second = await ask(about('one', 'two'));
      return { given: answers, first, second };
    });
    const workshop = startWorkshop(await openEngineAt({ store: await url() }), [work]);
    const id = await workshop.submit('work', { answers: { before: NO } });
    await asking(workshop, id, 'one');
    await workshop.store.jobs.answer(id, { one: YES }, Date.now());
    await asking(workshop, id, 'two');
    await workshop.store.jobs.answer(id, { two: NO }, Date.now());
    expect((await workshop.ended(id)).result).toEqual({
      given: { before: NO },
      first: { one: YES },
      second: { one: YES, two: NO },
    });
  });

  test('may ask several things at once', options, async () => {
    const work = tool('work', async (_args, { ask }) => {
      const order: string[] = [];
      const wait = async (key: string) => {
        await ask(about(key));
        order.push(key);
      };
      await Promise.all([wait('one'), wait('two'), wait('three')]);
      return { order };
    });
    const workshop = startWorkshop(await openEngineAt({ store: await url() }), [work]);
    const id = await workshop.submit('work');
    await workshop.until(id, ({ questions }) => Object.keys(questions).length === 3);
    for (const key of ['two', 'three', 'one']) {
      await workshop.store.jobs.answer(id, { [key]: YES }, Date.now());
      if (key !== 'one') await workshop.until(id, ({ questions }) => !(key in questions));
    }
    expect((await workshop.ended(id)).result).toEqual({
      order: expect.arrayContaining(['one', 'two', 'three']),
    });
  });

  test('is stopped by a cancel while it waits', options, async () => {
    const reason = gate<unknown>();
    const work = tool('work', async (_args, { ask }) => {
      await ask(about('sure')).catch((error: unknown) => {
        reason.open(error);
        throw error;
      });
      return {};
    });
    const workshop = startWorkshop(await openEngineAt({ store: await url() }), [work]);
    const id = await workshop.submit('work');
    await asking(workshop, id, 'sure');
    expect(await workshop.store.jobs.end(id, CANCELLED, Date.now())).toBe('cancelled');
    expect(await reason.opened).toMatchObject({ code: 'cancelled' });
    expect(await workshop.job(id)).toMatchObject({ state: 'cancelled', questions: {} });
  });

  test('expires at its deadline while it waits', options, async () => {
    const work = tool('work', async (_args, { ask }) => ({ ...(await ask(about('sure'))) }));
    const workshop = startWorkshop(await openEngineAt({ store: await url() }), [work]);
    // On a busy machine it may end before it has asked: then there is more time.
    let [leftMs, id, hasAsked] = [500, '', false];
    while (!hasAsked) {
      leftMs *= 2;
      id = await workshop.submit('work', { deadlineMs: Date.now() + leftMs });
      hasAsked = await asking(workshop, id, 'sure').then(
        () => true,
        () => false,
      );
    }
    expect(await workshop.ended(id)).toMatchObject({ state: 'expired', questions: {} });
  });

  test('goes back at shutdown, and its rerun asks only for what nobody has answered', options, async () => {
    const where = await url();
    const asked: number[] = [];
    const work = tool('work', async (_args, { ask }) => {
      asked.push(1);
      return { ...(await ask(about('one', 'two'))) };
    });
    const first = startWorkshop(await openEngineAt({ store: where }), [work]);
    const id = await first.submit('work', { attempts: 1 });
    await asking(first, id, 'one', 'two');
    await first.store.jobs.answer(id, { one: YES }, Date.now());
    await first.stop();
    const second = startWorkshop(await openEngineAt({ store: where }), [work]);
    const { answers } = await asking(second, id, 'two');
    expect(answers).toEqual({ one: YES });
    await second.store.jobs.answer(id, { two: NO }, Date.now());
    expect(await second.ended(id)).toMatchObject({ result: { one: YES, two: NO } });
    expect(asked).toHaveLength(2);
  });

  test('cannot ask any more once another worker has taken it over', options, async () => {
    const reason = gate<unknown>();
    const work = tool('work', async (_args, { ask }) => {
      await ask(about('one'));
      await ask(about('two')).catch((error: unknown) => {
        reason.open(error);
        throw error;
      });
      return {};
    });
    const workshop = startWorkshop(await openEngineAt({ store: await url() }), [work]);
    const { jobs } = workshop.store;
    const id = await workshop.submit('work');
    await asking(workshop, id, 'one');
    const other = await jobs.begin(id, Date.now());
    if (other === null) throw new Error('it did not begin');
    await jobs.ask(other.fence, about('one', 'three'), Date.now());
    await jobs.answer(id, { one: YES }, Date.now());
    expect(await reason.opened).toMatchObject({ message: 'another worker took the job over' });
    expect(await workshop.job(id)).toMatchObject({ state: 'running', questions: about('three') });
  });
});

test('a store that is away while a job waits does not end it', async () => {
  const store = openStore();
  const dispatcher = createSqliteDispatcher(store);
  const failures = gate();
  let away = false;
  let failed = 0;
  const fail = <Args extends readonly unknown[], Value>(verb: (...args: Args) => Promise<Value>) => {
    return (...args: Args): Promise<Value> => {
      if (!away) return verb(...args);
      if (++failed === 2) failures.open();
      return Promise.reject(new StoreError('the store is away'));
    };
  };
  // What the worker sees of the store; the test looks at the store itself.
  const shaky: RecordStore = {
    ...store,
    jobs: { ...store.jobs, get: fail(store.jobs.get), ask: fail(store.jobs.ask) },
  };
  const work = tool('work', async (_args, { ask }) => {
    away = true;
    return { ...(await ask(about('sure'))) };
  });
  const workshop = startWorkshop({ store: shaky, dispatcher }, [work]);
  const id = await workshop.submit('work');
  await failures.opened;
  away = false;
  await workshop.until(id, ({ questions }) => 'sure' in questions);
  away = true;
  await store.jobs.answer(id, { sure: YES }, Date.now());
  away = false;
  expect(await workshop.ended(id)).toMatchObject({ state: 'succeeded', result: { sure: YES } });
});

describe('what cannot be asked', () => {
  /** How asking this ends. */
  async function refusal(questions: unknown, messageLimits = MESSAGE_LIMITS): Promise<string> {
    const work = tool('work', async (_args, { ask }) => {
      // The test hands over what plain JavaScript could.
      const error = await ask(questions as Questions).catch((reason: unknown) => reason);
      return { error: String(error) };
    });
    const workshop = openWorkshop([work], { messageLimits });
    const { result } = await workshop.ended(await workshop.submit('work'));
    return JSON.stringify(result);
  }

  test.each([
    ['a key with a space', { 'a b': about('x')['x'] }, /TypeError: ask: key ..a b.. must be 1-128 of/],
    [
      'no message',
      { x: { schema: { type: 'object', properties: {} } } },
      /TypeError: ask: x: message is missing/,
    ],
    ['no schema', { x: { message: 'x?' } }, /TypeError: ask: x: schema must be a JSON Schema of type object/],
    [
      'a nested object',
      { x: { message: 'x?', schema: { type: 'object', properties: { y: { type: 'object' } } } } },
      /TypeError: ask: x: y must be a string, number, integer, boolean or list of enums/,
    ],
    [
      'too much',
      {
        x: { message: 'x'.repeat(TOOL_LIMITS.maxQuestionsBytes), schema: { type: 'object', properties: {} } },
      },
      /RangeError: ask: the questions have more than 65536 bytes/,
    ],
    ['half a character', { x: { ...about('x')['x'], message: '\ud800' } }, /surrogate|well-formed|UTF/i],
  ])('%s', async (_what, questions, said) => {
    expect(await refusal(questions)).toMatch(said);
  });
});

test('after kill -9 the job still waits, can be answered before anybody runs it, and asks nothing twice', async () => {
  const dir = tempFolder();
  const schema = `{ type: 'object', properties: { sure: { type: 'boolean' } } }`;
  const script = `
    import { createSqliteDispatcher, startWorker } from 'DISTjobs/index.js';
    import { MESSAGE_LIMITS } from 'DISTlimits.js';
    import { newJobId, openSqliteStore } from 'DISTstore/index.js';
    import { defineTool } from 'DISTtools/index.js';
    import { z } from '${import.meta.resolve('zod')}';
    const any = z.record(z.string(), z.unknown());
    const question = (message) => ({ message, schema: ${schema} });
    const run = async (_args, { ask }) => {
      await ask({ one: question('one?') });
      return ask({ two: question('two?') });
    };
    const work = defineTool({ name: 'work', description: '-', input: any, output: any, job: true, run });
    const store = openSqliteStore({ dir: process.argv[1], serverId: 'srv-1' });
    const dispatcher = createSqliteDispatcher(store);
    const log = { debug() {}, info() {}, warn() {}, error() {} };
    const tools = new Map([['work', work]]);
    startWorker({ store, dispatcher, tools, log, now: Date.now, concurrency: 4, leaseMs: 10_000, messageLimits: MESSAGE_LIMITS });
    const nowMs = Date.now();
    const id = newJobId('agent-a', nowMs);
    const deadlineMs = nowMs + 3_600_000;
    const request = { clientId: 'agent-a', requestId: 'request-1', digest: 'd', deadlineMs, expiresMs: deadlineMs };
    await store.jobs.create({ id, request, tool: 'work', args: {}, answers: {}, attempts: 3, backoffMs: 1, deadlineMs, retentionMs: 600_000, createdMs: nowMs, maxOpenJobs: 10 });
    const asks = async (key) => {
      for (;;) {
        const job = await store.jobs.get(id);
        if (key in job.questions) return;
        await store.jobs.changed(id, job.revision, new AbortController().signal);
      }
    };
    await asks('one');
    await store.jobs.answer(id, { one: { action: 'decline' } }, Date.now());
    await asks('two');
    console.log(id);`;
  const child = runChild(script, [dir]);
  const id = await child.line();
  child.process.kill('SIGKILL');
  expect(await child.exited).toBe('SIGKILL');

  const between = openStore({ dir });
  expect(await between.jobs.get(id)).toMatchObject({ state: 'running', answers: { one: NO } });
  expect(Object.keys((await between.jobs.get(id))?.questions ?? {})).toEqual(['two']);
  await between.jobs.answer(id, { two: YES }, Date.now());
  await between.close();

  const work = tool('work', async (_args, { ask }) => ({ ...(await ask(about('one', 'two'))) }));
  const survivor = openWorkshop([work], { dir });
  expect(await survivor.ended(id)).toMatchObject({ state: 'succeeded', result: { one: NO, two: YES } });
});

test('who asks nothing is answered at once', async () => {
  const work = tool('work', async (_args, { ask }) => ({ answers: await ask({}) }));
  const workshop = openWorkshop([work]);
  expect((await workshop.ended(await workshop.submit('work'))).result).toEqual({ answers: {} });
});

test('an ask that nobody waits for any more brings nothing down', async () => {
  const work = tool('work', (_args, { ask }) => {
    void ask(about('sure'));
    return { done: true };
  });
  const workshop = openWorkshop([work]);
  expect(await workshop.ended(await workshop.submit('work'))).toMatchObject({
    result: { done: true },
    questions: {},
  });
  await workshop.stop();
  expect(workshop.log.complaints).toEqual([]);
});
