import { z } from 'zod';
import { invalidArgs, ProtocolError } from '../../errors/index.ts';
import type { RecordStore } from '../../store/index.ts';
import { type Answer, answerIssues } from '../../tools/index.ts';
import { completed } from '../outcome.ts';
import { ownJob } from '../own-job.ts';
import type { BuiltIn } from '../registry.ts';
import { defineBuiltIn } from './define.ts';
import { JOB_ID, STATE } from './job-schemas.ts';

const ANSWER = z.object({
  action: z.enum(['accept', 'decline', 'cancel']),
  content: z.looseObject({}).optional().describe('What was filled in, by the schema of the question'),
});

/** `answer_job`: answers what a job asks (docs/protocol.md §7). */
export function answerJob(jobs: RecordStore['jobs'], now: () => number): BuiltIn {
  return defineBuiltIn({
    name: 'answer_job',
    description:
      'Answers questions that a job waits for, as poll_job shows them; says how it stands afterwards.',
    annotations: { title: 'Answer a job', idempotentHint: true },
    input: z.strictObject({
      job_id: JOB_ID,
      answers: z
        .record(z.string(), ANSWER)
        .describe('By the keys of the questions; keys that the job does not wait for are ignored'),
    }),
    output: z.strictObject({ job_id: z.string(), status: STATE }),
    async answer({ job_id, answers }, { client }) {
      const { questions } = await ownJob(jobs, job_id, client.id);
      // No others: what the job asks from now on, these answers were not held against.
      const wanted = Object.entries(answers).filter(([key]) => Object.hasOwn(questions, key));
      const given = Object.fromEntries(wanted.map(([key, each]) => [key, toAnswer(each)]));
      const issues = answerIssues(questions, given);
      if (issues.length > 0) throw invalidArgs(issues);
      const state = await jobs.answer(job_id, given, now());
      if (state === null) throw new ProtocolError('not_found', 'you have no such job');
      return completed({ job_id, status: state });
    },
  });
}

/** Only what was accepted has content. */
function toAnswer({ action, content }: z.infer<typeof ANSWER>): Answer {
  return action === 'accept' && content !== undefined ? { action, content } : { action };
}
