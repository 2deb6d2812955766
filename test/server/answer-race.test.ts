import { expect, test } from 'vitest';
import { answerJob } from '../../src/server/built-in/answer-job.ts';
import type { Fence, RecordStore } from '../../src/store/index.ts';
import type { Questions } from '../../src/tools/index.ts';
import { START_MS } from '../support/clock.ts';
import { callerOf } from '../support/clients.ts';
import { newJob } from '../store/new-records.ts';
import { openStore } from '../store/open.ts';

const NOW_MS = START_MS + 1_000;
const QUESTIONS: Questions = {
  amount: {
    message: 'How much?',
    schema: { type: 'object', properties: { cents: { type: 'integer', maximum: 100 } }, required: ['cents'] },
  },
};

test('what is asked while an answer is looked at is not answered by it: nobody has held it against the question', async () => {
  const store = openStore();
  const { jobs } = store;
  const job = newJob();
  await jobs.create(job);
  const fence = (await jobs.begin(job.id, NOW_MS))?.fence as Fence;
  let hasAsked = false;
  const slow: RecordStore['jobs'] = {
    ...jobs,
    async get(id) {
      const seen = await jobs.get(id);
      if (!hasAsked) await jobs.ask(fence, QUESTIONS, NOW_MS);
      hasAsked = true;
      return seen;
    },
  };
  const { answer } = answerJob(slow, () => NOW_MS);
  const caller = await callerOf(store, 'agent-a');
  const answers = { amount: { action: 'accept', content: { cents: 1_000_000 } } };
  await answer({ job_id: job.id, answers }, caller);
  expect(await jobs.get(job.id)).toMatchObject({ questions: QUESTIONS, answers: {} });
  await expect(answer({ job_id: job.id, answers }, caller)).rejects.toMatchObject({ code: 'invalid_args' });
});
