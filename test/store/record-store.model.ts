import fc from 'fast-check';
import { expect } from 'vitest';
import {
  type EndState,
  type Fence,
  isTerminal,
  type JobEnd,
  type JobState,
  type NewJob,
  type Outcome,
  type RecordStore,
} from '../../src/store/record-store.ts';
import type { Answer, Answers, Questions } from '../../src/tools/index.ts';
import { START_MS } from '../support/clock.ts';
import { newJob, newRequest } from './new-records.ts';

/**
 * Random sequences of verbs against a store and, beside it, against the few lines below that say what
 * the verbs mean. `pause` waits for all that is under way: without it verbs fall into one turn.
 */
type Verb =
  | {
      readonly verb: 'create' | 'claim' | 'forget' | 'settle';
      readonly client: number;
      readonly request: number;
    }
  | { readonly verb: 'begin' | 'remove'; readonly job: number }
  | { readonly verb: 'progress'; readonly fence: number; readonly n: number }
  | { readonly verb: 'ask'; readonly fence: number; readonly keys: readonly string[] }
  | { readonly verb: 'answer'; readonly job: number; readonly keys: readonly string[] }
  | { readonly verb: 'finish'; readonly fence: number; readonly state: EndState }
  | { readonly verb: 'release'; readonly fence: number; readonly counted: boolean }
  | { readonly verb: 'end'; readonly job: number; readonly state: EndState }
  | { readonly verb: 'pause' };

const small = fc.nat(7);
const state = fc.constantFrom<EndState>('succeeded', 'failed', 'cancelled', 'expired');
const onRequest = { client: fc.nat(1), request: fc.nat(3) };
const onJob = { job: small };
const keys = fc.uniqueArray(fc.constantFrom('a', 'b', 'c'), { maxLength: 3 });
const is = <const Name extends Verb['verb']>(...names: Name[]) => ({ verb: fc.constantFrom(...names) });

export const anyVerbs: fc.Arbitrary<Verb[]> = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: fc.record({ ...is('create'), ...onRequest }) },
    { weight: 3, arbitrary: fc.record({ ...is('claim', 'forget', 'settle'), ...onRequest }) },
    { weight: 5, arbitrary: fc.record({ ...is('begin'), ...onJob }) },
    { weight: 1, arbitrary: fc.record({ ...is('remove'), ...onJob }) },
    { weight: 3, arbitrary: fc.record({ ...is('progress'), fence: small, n: fc.nat(1_000) }) },
    { weight: 3, arbitrary: fc.record({ ...is('ask'), fence: small, keys }) },
    { weight: 3, arbitrary: fc.record({ ...is('answer'), ...onJob, keys }) },
    { weight: 3, arbitrary: fc.record({ ...is('finish'), fence: small, state }) },
    { weight: 3, arbitrary: fc.record({ ...is('release'), fence: small, counted: fc.boolean() }) },
    { weight: 2, arbitrary: fc.record({ ...is('end'), ...onJob, state }) },
    { weight: 6, arbitrary: fc.constant({ verb: 'pause' } as const) },
  ),
  { maxLength: 80, size: 'max' },
);

interface ModelJob {
  readonly created: NewJob;
  state: JobState;
  /** The attempt that may write. */
  holder: ModelAttempt | null;
  attempt: number;
  changes: number;
  progress: { readonly completed: number } | null;
  /** Keys that it waits for. */
  asked: readonly string[];
  answers: Answers;
  end: JobEnd | null;
  removed: boolean;
}

interface ModelAttempt {
  readonly job: ModelJob;
  readonly attempt: number;
  fence: Fence | null;
}

type ModelRequest = { readonly job: ModelJob } | { outcome: Outcome | null };

const OUTCOME: Outcome = { ok: true, status: 'ok', result: {}, error: null };

/** Of one client: fewer than it has requests, so that some jobs find no room. */
const MAX_OPEN_JOBS = 3;

/** What the verbs mean; each returns what the store's promise must resolve to. */
function createModel() {
  const requests = new Map<string, ModelRequest>();

  const known = (key: string) => {
    const found = requests.get(key);
    if (found === undefined) return null;
    return 'job' in found
      ? { jobId: found.job.created.id, outcome: null }
      : { jobId: null, outcome: found.outcome };
  };

  const finishJob = (job: ModelJob, end: JobEnd) => {
    job.state = end.state;
    job.end = end;
    job.holder = null;
    job.asked = [];
    job.changes++;
  };

  return {
    known,
    create(key: string, created: NewJob): ModelJob {
      const job: ModelJob = {
        created,
        state: 'queued',
        holder: null,
        attempt: 0,
        changes: 0,
        progress: null,
        asked: [],
        answers: {},
        end: null,
        removed: false,
      };
      requests.set(key, { job });
      return job;
    },
    claim: (key: string) => requests.set(key, { outcome: null }),
    settle(key: string): void {
      const found = requests.get(key);
      if (found !== undefined && 'outcome' in found) found.outcome = OUTCOME;
    },
    forget(key: string): void {
      const found = requests.get(key);
      if (found !== undefined && 'outcome' in found && found.outcome === null) requests.delete(key);
    },
    begin(job: ModelJob): ModelAttempt | null {
      if (job.removed || isTerminal(job.state)) return null;
      job.state = 'running';
      job.asked = [];
      job.changes++;
      job.holder = { job, attempt: ++job.attempt, fence: null };
      return job.holder;
    },
    /** Changes the job if the attempt may. */
    under(attempt: ModelAttempt, change: (job: ModelJob) => void): boolean {
      const { job } = attempt;
      if (job.removed || job.holder !== attempt) return false;
      job.changes++;
      change(job);
      return true;
    },
    release(job: ModelJob, counted: boolean): void {
      job.state = 'queued';
      job.holder = null;
      job.asked = [];
      if (!counted) job.attempt--;
    },
    ask(job: ModelJob, wanted: readonly string[]): void {
      const open = wanted.filter((key) => !(key in job.answers));
      // The verb has counted a change.
      if (open.join() === job.asked.join()) job.changes--;
      job.asked = open;
    },
    answer(job: ModelJob, given: Answers): JobState | null {
      if (job.removed) return null;
      const news = job.asked.filter((key) => key in given);
      if (news.length > 0) job.changes++;
      job.asked = job.asked.filter((key) => !news.includes(key));
      for (const key of news) job.answers = { ...job.answers, [key]: given[key] ?? { action: 'cancel' } };
      return job.state;
    },
    finishJob,
    end(job: ModelJob, end: JobEnd): JobState | null {
      if (job.removed) return null;
      if (!isTerminal(job.state)) finishJob(job, end);
      return job.state;
    },
    remove(key: string, job: ModelJob): void {
      job.removed = true;
      const found = requests.get(key);
      if (found !== undefined && 'job' in found && found.job === job) requests.delete(key);
    },
  };
}

function questionsOf(asked: readonly string[]): Questions {
  const schema = { type: 'object', properties: { n: { type: 'integer' } } };
  return Object.fromEntries(asked.map((key) => [key, { message: `${key}?`, schema }]));
}

function answerAt(clock: number): Answer {
  return { action: 'accept', content: { n: clock } };
}

/** One run of verbs. The clients are its own, so many runs can share a store. */
export interface Run {
  /** Compares everything that can be read with what it should be. */
  compare(store: RecordStore): Promise<void>;
}

/** @param waiting after each verb: for stores that do not promise to keep the order of calls */
export async function runVerbs(
  store: RecordStore,
  verbs: readonly Verb[],
  waiting: boolean,
  prefix: string,
): Promise<Run> {
  const model = createModel();
  const jobs: ModelJob[] = [];
  const attempts: ModelAttempt[] = [];
  const clients = [`${prefix}-a`, `${prefix}-b`];
  let underWay: Promise<unknown>[] = [];
  let clock = START_MS;

  const keyOf = ({ created: { request: of } }: ModelJob) => `${of.clientId} ${of.requestId}`;
  const endOf = (endState: EndState): JobEnd =>
    endState === 'succeeded'
      ? { state: endState, result: { n: clock }, error: null }
      : { state: endState, result: null, error: `job_failed: ${clock}` };
  /** The promise must resolve to what the model has said just now. */
  const expectLater = (promise: Promise<unknown>, expected: unknown, what: string) => {
    underWay.push(promise.then((actual) => expect({ [what]: actual }).toEqual({ [what]: expected })));
  };
  const recordLike = (found: ReturnType<typeof model.known>) =>
    found === null ? null : expect.objectContaining(found);
  const creationLike = (found: ReturnType<typeof model.known>, isFull: boolean) => {
    if (found !== null) return { outcome: 'known', request: recordLike(found) };
    return isFull ? { outcome: 'full' } : { outcome: 'created', priority: 0 };
  };
  const openJobsOf = (clientId: string) =>
    jobs.filter(
      ({ created, state: now, removed }) =>
        created.request.clientId === clientId && !removed && !isTerminal(now),
    ).length;

  async function pause(): Promise<void> {
    await Promise.all(underWay);
    underWay = [];
    for (const job of jobs) expect(await store.jobs.get(job.created.id)).toEqual(recordOf(job));
  }

  function callRequest({ verb, client, request: number }: Extract<Verb, { client: number }>): void {
    const clientId = clients[client] ?? '';
    const requestId = `request-${number}`;
    const key = keyOfRequest({ client, request: number });
    const wanted = newRequest({ clientId, requestId });
    if (verb === 'create') {
      const job = newJob({ request: wanted, createdMs: clock, maxOpenJobs: MAX_OPEN_JOBS });
      const before = model.known(key);
      const isFull = openJobsOf(clientId) >= MAX_OPEN_JOBS;
      expectLater(store.jobs.create(job), creationLike(before, isFull), 'create');
      if (before === null && !isFull) jobs.push(model.create(key, job));
    } else if (verb === 'claim') {
      const before = model.known(key);
      expectLater(store.requests.claim(wanted), recordLike(before), 'claim');
      if (before === null) model.claim(key);
    } else if (verb === 'settle') {
      expectLater(store.requests.finish(clientId, requestId, OUTCOME), undefined, 'settle');
      model.settle(key);
    } else {
      expectLater(store.requests.release(clientId, requestId), undefined, 'forget');
      model.forget(key);
    }
  }

  function keyOfRequest({ client, request: number }: { client: number; request: number }): string {
    return `${clients[client] ?? ''} request-${number}`;
  }

  function find({ client, request: number }: Extract<Verb, { client: number }>): void {
    const known = recordLike(model.known(keyOfRequest({ client, request: number })));
    expectLater(store.requests.find(clients[client] ?? '', `request-${number}`), known, 'find');
  }

  function callAttempt(verb: Extract<Verb, { fence: number }>): void {
    const known = attempts.filter(({ fence: got }) => got !== null);
    // The newest ones, so that most verbs are legal.
    const attempt = known.at(-1 - (verb.fence % Math.max(1, Math.min(4, known.length))));
    if (attempt === undefined || attempt.fence === null) return;
    const { fence } = attempt;
    if (verb.verb === 'progress') {
      const progress = { completed: verb.n };
      const heard = model.under(attempt, (job) => {
        job.progress = progress;
      });
      expectLater(store.jobs.progress(fence, progress, clock), heard, 'progress');
    } else if (verb.verb === 'ask') {
      const heard = model.under(attempt, (job) => model.ask(job, verb.keys));
      expectLater(store.jobs.ask(fence, questionsOf(verb.keys), clock), heard, 'ask');
    } else if (verb.verb === 'finish') {
      const end = endOf(verb.state);
      const heard = model.under(attempt, (job) => {
        job.changes--;
        model.finishJob(job, end);
      });
      expectLater(store.jobs.finish(fence, end, clock), heard, 'finish');
    } else {
      const heard = model.under(attempt, (job) => model.release(job, verb.counted));
      expectLater(store.jobs.release(fence, verb.counted, clock), heard, 'release');
    }
  }

  function callJob(verb: Extract<Verb, { job: number }>): void {
    const job = jobs[verb.job % Math.max(1, jobs.length)];
    if (job === undefined) return;
    const { id } = job.created;
    if (verb.verb === 'begin') {
      const attempt = model.begin(job);
      const begun = store.jobs.begin(id, clock);
      const { answers } = job;
      expectLater(
        begun,
        attempt === null ? null : expect.objectContaining({ attempt: attempt.attempt, answers }),
        'begin',
      );
      if (attempt === null) return;
      underWay.push(
        begun.then((got) => {
          attempt.fence = got?.fence ?? null;
        }),
      );
      attempts.push(attempt);
    } else if (verb.verb === 'end') {
      const end = endOf(verb.state);
      expectLater(store.jobs.end(id, end, clock), model.end(job, end), 'end');
    } else if (verb.verb === 'answer') {
      const given = Object.fromEntries(verb.keys.map((key) => [key, answerAt(clock)]));
      expectLater(store.jobs.answer(id, given, clock), model.answer(job, given), 'answer');
    } else {
      expectLater(store.jobs.remove(id), undefined, 'remove');
      model.remove(keyOf(job), job);
    }
  }

  const revisions = new Map<string, readonly [changes: number, revision: number]>();

  function recordOf(job: ModelJob) {
    if (job.removed) return null;
    const { id, request: of, tool, createdMs } = job.created;
    const { result, error } = job.end ?? { result: null, error: null };
    return expect.objectContaining({
      id,
      clientId: of.clientId,
      requestId: of.requestId,
      tool,
      createdMs,
      state: job.state,
      progress: job.progress,
      questions: questionsOf(job.asked),
      answers: job.answers,
      result,
      error,
    });
  }

  /** Revisions rise with every change and with nothing else. */
  async function compareRevision(of: RecordStore, job: ModelJob): Promise<void> {
    const revision = (await of.jobs.get(job.created.id))?.revision;
    if (revision === undefined) return;
    const before = revisions.get(job.created.id);
    if (before !== undefined) expect(revision > before[1]).toBe(job.changes > before[0]);
    revisions.set(job.created.id, [job.changes, revision]);
  }

  for (const verb of verbs) {
    clock++;
    if ('client' in verb) {
      callRequest(verb);
      // Only a store whose calls take effect in their order can be asked before the answer.
      if (waiting) await Promise.all(underWay);
      find(verb);
    }
    if ('fence' in verb) callAttempt(verb);
    else if ('job' in verb) callJob(verb);
    if (waiting || verb.verb === 'pause') {
      await pause();
      for (const job of jobs) await compareRevision(store, job);
    }
  }
  await pause();

  return {
    async compare(of) {
      for (const job of jobs) {
        expect(await of.jobs.get(job.created.id)).toEqual(recordOf(job));
        const known = model.known(keyOf(job));
        expect(await of.requests.find(job.created.request.clientId, job.created.request.requestId)).toEqual(
          recordLike(known),
        );
      }
      for (const clientId of clients) {
        const left = jobs.filter((job) => !job.removed && job.created.request.clientId === clientId);
        const listed = await of.jobs.list({ clientId, limit: 100 });
        expect(listed.map(({ id }) => id)).toEqual(left.map(({ created }) => created.id).toReversed());
      }
    },
  };
}
