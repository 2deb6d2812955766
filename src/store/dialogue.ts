import { ProtocolError } from '../errors/index.ts';
import { JOB_LIMITS } from '../limits.ts';
import type { Answers, Questions } from '../tools/index.ts';
import { NONE } from '../tools/none.ts';
import { parseJson } from '../wire/index.ts';

/** What a job asks, and what it was told. */
export interface Dialogue {
  readonly questions: Questions;
  readonly answers: Answers;
}

/** With those of the questions that have no answer in the place of those before; `null` if they are the same. */
export function asking({ questions: before, answers }: Dialogue, questions: Questions): Dialogue | null {
  const open = without(questions, answers);
  return JSON.stringify(open) === JSON.stringify(before) ? null : { questions: open, answers };
}

/** With these answers as far as the job waits for them; `null` if it waits for none of them. */
export function answering({ questions, answers }: Dialogue, given: Answers): Dialogue | null {
  const news = Object.entries(given).filter(([key]) => Object.hasOwn(questions, key));
  if (news.length === 0) return null;
  return {
    questions: without(questions, Object.fromEntries(news)),
    answers: { ...answers, ...Object.fromEntries(news) },
  };
}

function without(questions: Questions, answers: Answers): Questions {
  const left = Object.entries(questions).filter(([key]) => !Object.hasOwn(answers, key));
  return left.length === 0 ? NONE : Object.fromEntries(left);
}

/** Why these cannot be the answers of one job. */
export function tooLarge(answers: Answers): ProtocolError | null {
  const { maxAnswersBytes } = JOB_LIMITS;
  if (isEmpty(answers) || Buffer.byteLength(JSON.stringify(answers)) <= maxAnswersBytes) return null;
  return new ProtocolError(
    'invalid_args',
    `answers: those of one job may have ${maxAnswersBytes} bytes in all`,
  );
}

/** Text for a column; `null` for none, as most jobs have. */
export function toColumn(value: Questions | Answers): string | null {
  return isEmpty(value) ? null : JSON.stringify(value);
}

export function toQuestions(column: unknown): Questions {
  // Written by toColumn, from questions.
  return typeof column === 'string' ? (parseJson(column) as Questions) : NONE;
}

export function toAnswers(column: unknown): Answers {
  // Written by toColumn, from answers.
  return typeof column === 'string' ? (parseJson(column) as Answers) : NONE;
}

function isEmpty(value: object): boolean {
  return value === NONE || Object.keys(value).length === 0;
}
