import { type Command, Option } from 'commander';
import type { JobAnswer, JobInfo, JobState, JobUpdate } from '../../client/index.ts';
import { parseObject } from './json-object.ts';
import { type ClientFlags, addClientFlags, filled, integer } from '../options.ts';
import { dateText, note, print, printable, reasonText, table } from '../output.ts';
import { describe, questionsText } from '../progress-view.ts';
import { interruptible } from '../signals.ts';
import { addRequiredOption, addVerb } from '../verb.ts';

const STATES: readonly JobState[] = ['queued', 'running', 'succeeded', 'failed', 'cancelled', 'expired'];
const DEFAULT_LIMIT = 20;

export function addJobs(program: Command): void {
  const group = addVerb(program, 'jobs', {
    summary: 'Look at jobs, wait for them, end them.',
    examples: ['jobs list --credential alice.json', 'jobs wait <id> --credential alice.json'],
  });
  addJobVerb(group, 'get', 'Print how a job stands, whatever its state.').action(get);
  addJobVerb(
    group,
    'wait',
    'Wait for a job and print its result.',
    'Ctrl-C ends the waiting, not the job.',
  ).action(wait);
  addAnswer(group);
  addJobVerb(group, 'cancel', 'End a job that has not ended yet.').action(cancel);
  const command = addVerb(group, 'list', {
    summary: 'List your jobs, newest first.',
    examples: [
      'jobs list --credential alice.json',
      'jobs list --status running --limit 5 --credential alice.json',
    ],
  })
    .addOption(new Option('--status <status>', 'only jobs of this status').choices(STATES))
    .addOption(
      new Option('--limit <number>', 'at most so many')
        .default(DEFAULT_LIMIT)
        .argParser((text) => integer(text, 1, 100_000)),
    );
  addClientFlags(command).action(list);
}

function addJobVerb(group: Command, name: string, summary: string, detail?: string): Command {
  const command = addVerb(group, name, {
    summary,
    ...(detail !== undefined && { detail }),
    examples: [`jobs ${name} <id> --credential alice.json`],
  });
  return addClientFlags(command.argument('<id>', 'id of the job, as "call --no-wait" prints it', filled));
}

async function get(id: string, flags: ClientFlags): Promise<void> {
  const { connect } = await import('../client.ts');
  const update = await connect(flags).job(id).poll();
  print(documentOf(id, update), flags.json, standing(id, update));
}

/** The members have the names that `list_jobs` gives them. */
function documentOf(id: string, { state, progress, questions, result, error }: JobUpdate) {
  const asked = Object.keys(questions).length > 0 && { questions };
  return { job_id: id, status: state, progress, ...asked, result, error: error?.text ?? null };
}

function standing(id: string, { state, progress, questions, result, error }: JobUpdate): string {
  const asked = questionsText(questions);
  const line = `${printable(id)}  ${state}${describe(progress)}${asked && `, waits for an answer: ${asked}`}`;
  if (error !== null) return `${line}  ${reasonText(error.text)}`;
  return result === null ? line : `${line}\n${JSON.stringify(result, null, 2)}`;
}

async function wait(id: string, flags: ClientFlags): Promise<void> {
  const { connect } = await import('../client.ts');
  const { follow, goesOn } = await import('./follow.ts');
  const job = connect(flags).job(id);
  await interruptible(
    () => goesOn(job, flags),
    async (signal) => print(await follow(job, flags, signal), flags.json),
  );
}

const EXAMPLE = '{"confirm":{"action":"accept","content":{"sure":true}}}';

function addAnswer(group: Command): void {
  const command = addVerb(group, 'answer', {
    summary: 'Answer what a job waits for.',
    detail:
      'Answers are one JSON object: for each key an "action" (accept, decline or cancel) and, to accept, the ' +
      '"content". "jobs get --json" shows the questions with the schema of their content.',
    examples: [`jobs answer <id> --answers '${EXAMPLE}' --credential alice.json`],
  }).argument('<id>', 'id of the job, as "call --no-wait" prints it', filled);
  const answers = new Option('--answers <json>', 'answers by the keys of the questions');
  addClientFlags(addRequiredOption(command, answers)).action(answer);
}

async function answer(id: string, flags: ClientFlags & { readonly answers: string }): Promise<void> {
  const answers = parseObject(flags.answers, 'answers', EXAMPLE);
  const { connect } = await import('../client.ts');
  // The server checks what they hold, and says what is wrong with them.
  const status = await connect(flags)
    .job(id)
    .answer(answers as unknown as Readonly<Record<string, JobAnswer>>);
  const text = status === 'running' || status === 'queued' ? 'is answered' : `had ended before: ${status}`;
  print({ job_id: id, status }, flags.json, printable(`job ${id} ${text}`));
}

async function cancel(id: string, flags: ClientFlags): Promise<void> {
  const { connect } = await import('../client.ts');
  const status = await connect(flags).job(id).cancel();
  const text = status === 'cancelled' ? `job ${id} is cancelled` : `job ${id} had ended before: ${status}`;
  print({ job_id: id, status }, flags.json, printable(text));
}

interface ListFlags extends ClientFlags {
  readonly status?: JobState;
  readonly limit: number;
}

async function list(options: ListFlags): Promise<void> {
  const { connect } = await import('../client.ts');
  const { status, limit } = options;
  const jobs: JobInfo[] = [];
  let more = false;
  for await (const job of connect(options).jobs(status === undefined ? {} : { status })) {
    more = jobs.length === limit;
    if (more) break;
    jobs.push(job);
  }
  print({ jobs }, options.json, jobs.length === 0 ? 'no jobs' : table(jobs.map(row)));
  if (more && options.json !== true) note(`these are the newest ${limit}; --limit shows more`);
}

function row({ job_id, tool, status, progress, error, created_ms }: JobInfo): string[] {
  const end = error === null ? describe(status === 'running' ? progress : null).trim() : reasonText(error);
  return [printable(job_id), dateText(created_ms), printable(tool), status, end];
}
