import { setMaxListeners } from 'node:events';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { StoreError } from '../../src/errors/index.ts';
import { JOB_LIMITS } from '../../src/limits.ts';
import { priorityOf } from '../../src/store/priority.ts';
import type {
  Attempt,
  Creation,
  EndState,
  JobEnd,
  JobRecord,
  JobSummary,
  JobState,
  Outcome,
  RecordStore,
} from '../../src/store/record-store.ts';
import type { Answer, Questions } from '../../src/tools/index.ts';
import { clientRecord } from '../support/clients.ts';
import { START_MS } from '../support/clock.ts';
import { newJob, newRequest } from './new-records.ts';
import { anyVerbs, runVerbs } from './record-store.model.ts';

const OUTCOME: Outcome = { ok: true, status: 'ok', result: { n: 1, text: 'ü€😀\u0000' }, error: null };
const SUCCEEDED: JobEnd = { state: 'succeeded', result: { text: 'ü€😀' }, error: null };
const FAILED: JobEnd = { state: 'failed', result: null, error: 'job_failed: no' };
const CANCELLED: JobEnd = { state: 'cancelled', result: null, error: 'cancelled: by the client' };
const EXPIRED: JobEnd = { state: 'expired', result: null, error: 'deadline_exceeded: too late' };
const ENDS = [SUCCEEDED, FAILED, CANCELLED, EXPIRED];

const YES: Answer = { action: 'accept', content: { text: 'ü€😀\u0000', n: 1.5, list: ['a'], sure: true } };
const NO: Answer = { action: 'decline' };

/** Questions by these keys. */
function ask(...keys: readonly string[]): Questions {
  const schema = {
    type: 'object',
    properties: { text: { type: 'string', title: 'ü€😀' } },
    required: ['text'],
  };
  return Object.fromEntries(keys.map((key) => [key, { message: `${key}?`, schema }]));
}

const LATER_MS = START_MS + 1_000;
const ids = (found: readonly { readonly id: string }[]): string[] => found.map(({ id }) => id);

/** What every RecordStore does. `open` gives an empty store that is closed when the test ends. */
export function describeRecordStore(name: string, open: () => Promise<RecordStore>): void {
  describe(`${name}: clients`, () => {
    describeClients(open);
  });
  describe(`${name}: nonces`, () => {
    describeNonces(open);
  });
  describe(`${name}: requests`, () => {
    describeRequests(open);
  });
  describe(`${name}: jobs`, () => {
    describeCreation(open);
    describeOpenJobs(open);
    describeIds(open);
    describePriority(open);
    describeAttempts(open);
    describeQuestions(open);
    describeEnds(open);
    describeChanges(open);
    describeLists(open);
    describeDue(open);
    describeRetention(open);
    describeSequences(open);
  });
}

type Open = () => Promise<RecordStore>;

function describeClients(open: Open): void {
  const client = (id: string) =>
    clientRecord(id, {
      algorithm: 'ed25519',
      keys: [
        { request: 'request-current', response: 'response-current' },
        { request: 'request-previous', response: 'response-previous' },
      ],
      tokenHashes: ['token'],
      terms: {
        scopes: ['billing.*', 'echo'],
        callsPerMinute: 60,
        maxOpenJobs: 2,
        jobsPerDay: 100,
        expiresMs: START_MS + 86_400_000,
        note: 'ü€😀 "note"',
      },
      revokedMs: START_MS + 1,
    });

  test('are listed in the order of their ids, as they were added', async () => {
    const { clients } = await open();
    for (const id of ['b', 'a:1', 'c', 'B']) expect(await clients.add(client(id))).toBe(true);
    expect(await clients.list()).toEqual(['B', 'a:1', 'b', 'c'].map(client));
  });

  test('one is found by its id, and only by that', async () => {
    const { clients } = await open();
    for (const id of ['a', 'ab']) await clients.add(client(id));
    expect(await clients.get('a')).toEqual(client('a'));
    for (const id of ['', 'A', 'b', 'a%', 'a_']) expect(await clients.get(id)).toBeNull();
  });

  const damages: Readonly<Record<string, readonly [what: object, column: string]>> = {
    'another algorithm': [{ algorithm: 'none' }, 'algorithm'],
    'no keys': [{ keys: [] }, 'request_keys'],
    'a request key that is no text': [{ keys: [{ request: 1, response: 'p' }] }, 'request_keys'],
    'no response key': [{ keys: [{ request: 'q' }] }, 'response_keys'],
    'tokens that are no list': [{ tokenHashes: 'token' }, 'token_hashes'],
    'a token that is no text': [{ tokenHashes: [1] }, 'token_hashes'],
    'no terms': [{ terms: null }, 'terms'],
    'scopes that are no list': [{ terms: { scopes: '*' } }, 'terms'],
    'a limit that is no number': [{ terms: { callsPerMinute: '60' } }, 'terms'],
  };
  test.each(Object.entries(damages))(
    'a record with %s is left out and named, and the others are listed',
    async (_what, [damage, column]) => {
      const { clients } = await open();
      for (const id of ['a', 'c']) await clients.add(client(id));
      // What the types forbid, a faulty disk or program can leave.
      await clients.add({ ...client('b'), ...damage });
      const told: [id: string, error: unknown][] = [];
      expect(await clients.list((id, error) => told.push([id, error]))).toEqual(['a', 'c'].map(client));
      const error = new StoreError(`the record of client b is damaged: ${column}`);
      expect(told).toEqual([['b', error]]);
      expect(await clients.list()).toEqual(['a', 'c'].map(client));
      await expect(clients.get('b')).rejects.toThrow(error);
      expect(await clients.get('c')).toEqual(client('c'));
    },
  );

  test('a client of a known id is left as it is', async () => {
    const { clients } = await open();
    await clients.add(client('a'));
    const stolen = { ...client('a'), keys: [{ request: 'stolen', response: 'stolen' }] } as const;
    expect(await clients.add(stolen)).toBe(false);
    expect(await clients.list()).toEqual([client('a')]);
  });

  test('of 50 that add one id at once, one does', async () => {
    const { clients } = await open();
    const added = await Promise.all(Array.from({ length: 50 }, () => clients.add(client('a'))));
    expect(added.filter(Boolean)).toHaveLength(1);
  });

  test('the version changes when a client is added, and stays while none is', async () => {
    const { clients, requests } = await open();
    const before = await clients.version();
    await requests.claim(newRequest());
    expect(await clients.version()).toBe(before);
    await clients.add(client('a'));
    expect(await clients.version()).not.toBe(before);
  });

  test('an update takes the place of all but the id and the date, under the next revision, and of one client', async () => {
    const { clients } = await open();
    for (const id of ['a', 'b']) await clients.add(client(id));
    const wanted = clientRecord('a', {
      keys: [{ request: 'new', response: 'newer' }],
      tokenHashes: ['newest', 'token'],
      createdMs: START_MS + 5,
    });
    expect(await clients.update(wanted)).toBe(true);
    const written = { ...wanted, createdMs: START_MS, revision: 1 };
    expect(await clients.list()).toEqual([written, client('b')]);
    expect(await clients.update({ ...written, tokenHashes: [] })).toBe(true);
    expect(await clients.get('a')).toEqual({ ...written, tokenHashes: [], revision: 2 });
  });

  test('a client that is not there cannot be updated, and is not made', async () => {
    const { clients } = await open();
    expect(await clients.update(client('a'))).toBe(false);
    expect(await clients.list()).toEqual([]);
  });

  test('a client that has changed since it was read is left as it is', async () => {
    const { clients } = await open();
    await clients.add(client('a'));
    expect(await clients.update({ ...client('a'), revokedMs: 7 })).toBe(true);
    for (const revision of [-1, 0, 2])
      expect(await clients.update({ ...client('a'), revokedMs: null, revision })).toBe(false);
    expect(await clients.list()).toEqual([{ ...client('a'), revokedMs: 7, revision: 1 }]);
  });

  test('of 50 that update one client at once, one does', async () => {
    const { clients } = await open();
    await clients.add(client('a'));
    const updated = await Promise.all(
      Array.from({ length: 50 }, (_, n) => clients.update({ ...client('a'), tokenHashes: [`token-${n}`] })),
    );
    expect(updated.filter(Boolean)).toHaveLength(1);
    expect((await clients.get('a'))?.tokenHashes).toEqual([`token-${updated.indexOf(true)}`]);
  });

  test('the version changes when a client does, and stays when it was left as it is', async () => {
    const { clients } = await open();
    await clients.add(client('a'));
    const before = await clients.version();
    await clients.update(client('nobody'));
    await clients.update({ ...client('a'), revision: 3 });
    expect(await clients.version()).toBe(before);
    await clients.update(client('a'));
    expect(await clients.version()).not.toBe(before);
  });

  test('the first seal mark holds, whoever sets another', async () => {
    const { clients } = await open();
    expect(await clients.sealMark()).toBeNull();
    const held = await Promise.all(['one', 'two', 'three'].map((mark) => clients.setSealMark(mark)));
    expect(new Set(held).size).toBe(1);
    expect(await clients.setSealMark('four')).toBe(held[0]);
    expect(await clients.sealMark()).toBe(held[0]);
  });
}

function describeNonces(open: Open): void {
  test('one nonce of one client is claimed once (§5)', async () => {
    const { nonces } = await open();
    expect(await nonces.claim('a', 'nonce-01', Date.now())).toBe(true);
    expect(await nonces.claim('a', 'nonce-01', Date.now())).toBe(false);
    expect(await nonces.claim('a', 'nonce-02', Date.now())).toBe(true);
  });

  test('two clients may use the same nonce', async () => {
    const { nonces } = await open();
    expect(await nonces.claim('a', 'nonce-01', Date.now())).toBe(true);
    expect(await nonces.claim('b', 'nonce-01', Date.now())).toBe(true);
  });

  test('where an id ends and a nonce begins makes a difference', async () => {
    const { nonces } = await open();
    expect(await nonces.claim('a', 'b-nonce-1', Date.now())).toBe(true);
    expect(await nonces.claim('ab', '-nonce-1', Date.now())).toBe(true);
  });

  test('of 1 000 that claim one nonce at once, one does', async () => {
    const { nonces } = await open();
    const claims = Array.from({ length: 1_000 }, () => nonces.claim('a', 'nonce-01', Date.now()));
    expect((await Promise.all(claims)).filter(Boolean)).toHaveLength(1);
  });
}

function describeRequests(open: Open): void {
  test('an unknown request is not found', async () => {
    const { requests } = await open();
    expect(await requests.find('agent-a', 'nobody-asked')).toBeNull();
  });

  test('a request is claimed once; who comes later gets the record that was there first', async () => {
    const { requests } = await open();
    const request = newRequest();
    expect(await requests.claim(request)).toBeNull();
    const record = { digest: 'digest-1', jobId: null, outcome: null, deadlineMs: request.deadlineMs };
    expect(await requests.claim({ ...request, digest: 'digest-2', deadlineMs: 1 })).toEqual(record);
    expect(await requests.find(request.clientId, request.requestId)).toEqual(record);
  });

  test('the request of another client is another request', async () => {
    const { requests } = await open();
    await requests.claim(newRequest({ requestId: 'same' }));
    expect(await requests.find('agent-b', 'same')).toBeNull();
    expect(await requests.claim(newRequest({ clientId: 'agent-b', requestId: 'same' }))).toBeNull();
  });

  test('of 1 000 that claim one request at once, one gets it', async () => {
    const { requests } = await open();
    const request = newRequest();
    const claims = await Promise.all(Array.from({ length: 1_000 }, () => requests.claim(request)));
    expect(claims.filter((claim) => claim === null)).toHaveLength(1);
  });

  test('the outcome of a finished request is kept exactly', async () => {
    const { requests } = await open();
    const request = newRequest();
    const { clientId, requestId } = request;
    await requests.claim(request);
    await requests.finish(clientId, requestId, OUTCOME);
    expect((await requests.find(clientId, requestId))?.outcome).toEqual(OUTCOME);
    expect((await requests.claim(request))?.outcome).toEqual(OUTCOME);
  });

  test('a released request can be claimed again', async () => {
    const { requests } = await open();
    const request = newRequest();
    await requests.claim(request);
    await requests.release(request.clientId, request.requestId);
    expect(await requests.find(request.clientId, request.requestId)).toBeNull();
    expect(await requests.claim({ ...request, digest: 'digest-2' })).toBeNull();
    expect((await requests.find(request.clientId, request.requestId))?.digest).toBe('digest-2');
  });

  test('a finished request cannot be released', async () => {
    const { requests } = await open();
    const request = newRequest();
    const { clientId, requestId } = request;
    await requests.claim(request);
    await requests.finish(clientId, requestId, OUTCOME);
    await requests.release(clientId, requestId);
    expect((await requests.find(clientId, requestId))?.outcome).toEqual(OUTCOME);
  });

  test('to finish or release a request that nobody claimed does nothing', async () => {
    const { requests } = await open();
    await requests.finish('agent-a', 'nobody', OUTCOME);
    await requests.release('agent-a', 'nobody');
    expect(await requests.find('agent-a', 'nobody')).toBeNull();
  });

  test('a sweep forgets what has expired, at most as much as it may, and says how much', async () => {
    const { requests } = await open();
    for (let i = 0; i < 5; i++)
      await requests.claim(newRequest({ requestId: `old-${i}`, expiresMs: LATER_MS }));
    await requests.claim(newRequest({ requestId: 'young', expiresMs: LATER_MS + 1 }));
    expect(await requests.sweep(LATER_MS - 1, 10)).toBe(0);
    expect(await requests.sweep(LATER_MS, 3)).toBe(3);
    expect(await requests.sweep(LATER_MS, 3)).toBe(2);
    expect(await requests.sweep(LATER_MS, 3)).toBe(0);
    expect(await requests.find('agent-a', 'old-0')).toBeNull();
    expect(await requests.find('agent-a', 'young')).not.toBeNull();
  });
}

function describeCreation(open: Open): void {
  test('a new job is queued and shows nothing but what it was created with', async () => {
    const { jobs } = await open();
    const job = newJob();
    expect(await jobs.create(job)).toEqual({ outcome: 'created', priority: 0 });
    expect(await jobs.get(job.id)).toEqual({
      id: job.id,
      clientId: 'agent-a',
      requestId: job.request.requestId,
      tool: 'work',
      state: 'queued',
      revision: expect.any(Number),
      progress: null,
      questions: {},
      answers: {},
      result: null,
      error: null,
      createdMs: START_MS,
      updatedMs: START_MS,
    });
  });

  test('an unknown job is null', async () => {
    const { jobs } = await open();
    expect(await jobs.get('job_unknown')).toBeNull();
  });

  test('the same request again makes no second job and gets the record of the first (§5)', async () => {
    const { jobs, requests } = await open();
    const first = newJob();
    await jobs.create(first);
    const second = newJob({ request: { ...first.request, digest: 'digest-2' }, createdMs: LATER_MS });
    const record = { digest: 'digest-1', jobId: first.id, outcome: null, deadlineMs: first.deadlineMs };
    expect(await jobs.create(second)).toEqual({ outcome: 'known', request: record });
    expect(await jobs.get(second.id)).toBeNull();
    expect(await requests.find('agent-a', first.request.requestId)).toEqual(record);
    expect(await requests.claim(first.request)).toEqual(record);
  });

  test('the same request after the job has ended still gets that job', async () => {
    const { jobs } = await open();
    const first = newJob();
    await jobs.create(first);
    await jobs.end(first.id, CANCELLED, LATER_MS);
    expect(await jobs.create(newJob({ request: first.request }))).toMatchObject({
      outcome: 'known',
      request: { jobId: first.id },
    });
  });

  test('a request that was a direct call makes no job', async () => {
    const { jobs, requests } = await open();
    const job = newJob();
    await requests.claim(job.request);
    expect(await jobs.create(job)).toMatchObject({
      outcome: 'known',
      request: { digest: 'digest-1', jobId: null, outcome: null },
    });
    expect(await jobs.get(job.id)).toBeNull();
  });

  test('the same request_id of another client makes its own job', async () => {
    const { jobs } = await open();
    const first = newJob();
    const second = newJob({
      request: newRequest({ clientId: 'agent-b', requestId: first.request.requestId }),
    });
    for (const job of [first, second]) expect((await jobs.create(job)).outcome).toBe('created');
    expect((await jobs.get(second.id))?.clientId).toBe('agent-b');
  });

  test('of 1 000 that create a job for one request at once, one does and all get its id', async () => {
    const { jobs } = await open();
    const request = newRequest();
    const all = Array.from({ length: 1_000 }, () => newJob({ request }));
    const creations = await Promise.all(all.map((job) => jobs.create(job)));
    const makers = all.filter((_, i) => creations[i]?.outcome === 'created');
    expect(makers).toHaveLength(1);
    const known = creations.flatMap((each) => (each.outcome === 'known' ? each.request.jobId : []));
    expect(known).toHaveLength(999);
    expect(new Set(known)).toEqual(new Set(ids(makers)));
  });
}

function describeOpenJobs(open: Open): void {
  const MOST = 3;

  const limited = (clientId = 'agent-a') => newJob({ request: newRequest({ clientId }), maxOpenJobs: MOST });

  async function createLimited(jobs: Jobs, clientId?: string): Promise<Creation['outcome']> {
    return (await jobs.create(limited(clientId))).outcome;
  }

  /** As many as may be open. */
  async function fill({ jobs }: RecordStore, clientId?: string): Promise<[string, string, string]> {
    const all = [limited(clientId), limited(clientId), limited(clientId)] as const;
    for (const job of all) expect((await jobs.create(job)).outcome).toBe('created');
    const [first, second, third] = all;
    return [first.id, second.id, third.id];
  }

  test('a client that has as many open jobs as it may have gets no further one, and nothing is written', async () => {
    const store = await open();
    const { jobs, requests } = store;
    const [running] = await fill(store);
    // Running is open too.
    await begun(jobs, running);
    const refused = limited();
    expect(await jobs.create(refused)).toEqual({ outcome: 'full' });
    expect(await jobs.get(refused.id)).toBeNull();
    expect(await jobs.list({ clientId: 'agent-a', limit: 10 })).toHaveLength(MOST);
    const { clientId, requestId } = refused.request;
    expect(await requests.find(clientId, requestId)).toBeNull();
  });

  test('of 100 jobs that a client creates at once, exactly as many as it may have are created', async () => {
    const { jobs } = await open();
    const all = Array.from({ length: 100 }, () => newJob({ maxOpenJobs: 17 }));
    const creations = await Promise.all(all.map((job) => jobs.create(job)));
    expect(creations.filter(({ outcome }) => outcome === 'created')).toHaveLength(17);
    expect(creations.filter(({ outcome }) => outcome === 'full')).toHaveLength(83);
    expect(await jobs.list({ clientId: 'agent-a', limit: 100 })).toHaveLength(17);
  });

  test('says how many of them are open, no further than it is asked to count', async () => {
    const store = await open();
    expect(await store.jobs.countOpen('agent-a', 10)).toBe(0);
    const [id] = await fill(store);
    await fill(store, 'agent-b');
    await begun(store.jobs, id);
    expect(await store.jobs.countOpen('agent-a', 10)).toBe(MOST);
    expect(await store.jobs.countOpen('agent-a', 2)).toBe(2);
    await store.jobs.end(id, CANCELLED, LATER_MS);
    expect(await store.jobs.countOpen('agent-a', 10)).toBe(MOST - 1);
  });

  test('another client is not affected', async () => {
    const store = await open();
    await fill(store);
    await fill(store, 'agent-b');
    for (const clientId of ['agent-a', 'agent-b']) {
      expect(await createLimited(store.jobs, clientId)).toBe('full');
    }
  });

  const ENDINGS: readonly [string, (jobs: Jobs, id: string) => Promise<unknown>][] = [
    ['succeeded', async (jobs, id) => jobs.finish((await begun(jobs, id)).fence, SUCCEEDED, LATER_MS)],
    ['failed', async (jobs, id) => jobs.finish((await begun(jobs, id)).fence, FAILED, LATER_MS)],
    ['was cancelled', (jobs, id) => jobs.end(id, CANCELLED, LATER_MS)],
    ['expired', (jobs, id) => jobs.end(id, EXPIRED, LATER_MS)],
  ];

  test.each(ENDINGS)('a job that %s makes room for one, however often it ends', async (_how, end) => {
    const store = await open();
    const [id, other] = await fill(store);
    await end(store.jobs, id);
    expect(await store.jobs.end(id, CANCELLED, LATER_MS)).not.toBeNull();
    expect([await createLimited(store.jobs), await createLimited(store.jobs)]).toEqual(['created', 'full']);
    // A job that is forgotten later made its room when it ended.
    await store.jobs.remove(id);
    expect(await createLimited(store.jobs)).toBe('full');
    await end(store.jobs, other);
    expect([await createLimited(store.jobs), await createLimited(store.jobs)]).toEqual(['created', 'full']);
  });

  test('a job that goes back to the queue makes no room', async () => {
    const store = await open();
    const [id] = await fill(store);
    await store.jobs.release((await begun(store.jobs, id)).fence, true, LATER_MS);
    expect(await createLimited(store.jobs)).toBe('full');
  });

  test('a request that is known is told as known, even when its client may have no further job', async () => {
    const { jobs, requests } = await open();
    const first = limited();
    await jobs.create(first);
    const direct = newRequest();
    await requests.claim(direct);
    expect(await createLimited(jobs)).toBe('created');
    expect(await createLimited(jobs)).toBe('created');
    expect(await createLimited(jobs)).toBe('full');
    const again = await jobs.create(newJob({ request: first.request, maxOpenJobs: MOST }));
    expect(again).toMatchObject({ outcome: 'known', request: { jobId: first.id } });
    const asJob = await jobs.create(newJob({ request: direct, maxOpenJobs: MOST }));
    expect(asJob).toMatchObject({ outcome: 'known', request: { jobId: null } });
  });

  test('the same request that found no room is created when there is some', async () => {
    const store = await open();
    const [id] = await fill(store);
    const job = limited();
    expect((await store.jobs.create(job)).outcome).toBe('full');
    await store.jobs.end(id, CANCELLED, LATER_MS);
    expect((await store.jobs.create(job)).outcome).toBe('created');
    expect((await store.jobs.get(job.id))?.state).toBe('queued');
  });
}

function describePriority(open: Open): void {
  async function createMany(
    jobs: Jobs,
    clientId: string,
    count: number,
  ): Promise<readonly [string, number][]> {
    const found: [string, number][] = [];
    for (let n = 0; n < count; n++) {
      const job = newJob({ request: newRequest({ clientId }) });
      const creation = await jobs.create(job);
      if (creation.outcome !== 'created') throw new Error(`it is ${creation.outcome}`);
      found.push([job.id, creation.priority]);
    }
    return found;
  }

  const count = 2 * JOB_LIMITS.priorityStep + 1;

  test('is 0 for the jobs of a client that has few, and grows with those it has open', async () => {
    const { jobs } = await open();
    const priorities = (await createMany(jobs, 'agent-a', count)).map(([, priority]) => priority);
    expect(priorities).toEqual(Array.from({ length: count }, (_, n) => priorityOf(n)));
    expect([priorities[0], priorities[JOB_LIMITS.priorityStep - 1], priorities.at(-1)]).toEqual([0, 0, 2]);
  });

  test('is 0 for another client’s first job, however many one has', async () => {
    const { jobs } = await open();
    await createMany(jobs, 'agent-a', count);
    expect((await createMany(jobs, 'agent-b', 1))[0]?.[1]).toBe(0);
  });

  test('is 0 again when the jobs before have ended', async () => {
    const { jobs } = await open();
    for (const [id] of await createMany(jobs, 'agent-a', count)) await jobs.end(id, CANCELLED, LATER_MS);
    expect((await createMany(jobs, 'agent-a', 1))[0]?.[1]).toBe(0);
  });

  test('is told again of a job that is due', async () => {
    const { jobs } = await open();
    const made = await createMany(jobs, 'agent-a', count);
    const due = await jobs.due(START_MS + 3_600_000, count);
    expect(new Map(due.map(({ id, priority }) => [id, priority]))).toEqual(new Map(made));
  });
}

function describeAttempts(open: Open): void {
  test('an attempt gets all that a worker needs', async () => {
    const { jobs } = await open();
    const answers = { sure: { action: 'accept', content: { text: 'ü€😀\u0000' } } } as const;
    const job = newJob({ args: { text: 'ü€😀', deep: [{ n: 1e21 }] }, answers });
    await jobs.create(job);
    expect(await jobs.begin(job.id, LATER_MS)).toEqual({
      fence: { jobId: job.id, number: expect.any(Number) },
      clientId: 'agent-a',
      requestId: job.request.requestId,
      tool: 'work',
      args: job.args,
      answers,
      attempt: 1,
      attempts: 3,
      backoffMs: 1_000,
      deadlineMs: job.deadlineMs,
    });
    expect(await jobs.get(job.id)).toMatchObject({ state: 'running', updatedMs: LATER_MS });
  });

  test('an unknown job cannot begin', async () => {
    const { jobs } = await open();
    expect(await jobs.begin('job_unknown', LATER_MS)).toBeNull();
  });

  test('each attempt has a higher fence and counts one up', async () => {
    const { jobs } = await open();
    const { id } = await created(jobs);
    const first = await begun(jobs, id);
    const second = await begun(jobs, id);
    expect(second.fence.number).toBeGreaterThan(first.fence.number);
    expect([first.attempt, second.attempt]).toEqual([1, 2]);
  });

  test('a fence that is lost writes nothing', async () => {
    const { jobs } = await open();
    const { id } = await created(jobs);
    const stale = await begun(jobs, id);
    const newest = await begun(jobs, id);
    await assertRefused(jobs, stale);
    expect(await jobs.progress(newest.fence, { completed: 2 }, LATER_MS)).toBe(true);
    expect(await jobs.finish(newest.fence, SUCCEEDED, LATER_MS)).toBe(true);
    await assertRefused(jobs, stale);
  });

  test('progress is kept as it was said last', async () => {
    const { jobs } = await open();
    const { id } = await created(jobs);
    const { fence } = await begun(jobs, id);
    await jobs.progress(fence, { completed: 1, total: 2 }, START_MS + 1);
    await jobs.progress(fence, { completed: 2, message: 'ü' }, START_MS + 2);
    expect(await jobs.get(id)).toMatchObject({
      state: 'running',
      progress: { completed: 2, message: 'ü' },
      updatedMs: START_MS + 2,
    });
  });

  test('an attempt that is given back is queued again, and its fence is lost', async () => {
    const { jobs } = await open();
    const { id } = await created(jobs);
    const attempt = await begun(jobs, id);
    expect(await jobs.release(attempt.fence, true, LATER_MS)).toBe(true);
    expect((await jobs.get(id))?.state).toBe('queued');
    await assertRefused(jobs, attempt);
  });

  test('a release for a retry counts the attempt; one at shutdown does not', async () => {
    const { jobs } = await open();
    const { id } = await created(jobs);
    await jobs.release((await begun(jobs, id)).fence, true, LATER_MS);
    const second = await begun(jobs, id);
    expect(second.attempt).toBe(2);
    await jobs.release(second.fence, false, LATER_MS);
    expect((await begun(jobs, id)).attempt).toBe(2);
  });

  test('fences go on rising over releases', async () => {
    const { jobs } = await open();
    const { id } = await created(jobs);
    const numbers: number[] = [];
    for (const counted of [false, true, false]) {
      const { fence } = await begun(jobs, id);
      numbers.push(fence.number);
      await jobs.release(fence, counted, LATER_MS);
    }
    numbers.push((await begun(jobs, id)).fence.number);
    expect(new Set(numbers).size).toBe(4);
    expect(numbers.toSorted((a, b) => a - b)).toEqual(numbers);
  });

  test('a fence that no attempt got writes nothing', async () => {
    const { jobs } = await open();
    const { id } = await created(jobs);
    const { fence } = await begun(jobs, id);
    for (const number of [fence.number + 1, fence.number - 1, 0, -1]) {
      expect(await jobs.finish({ jobId: id, number }, SUCCEEDED, LATER_MS)).toBe(false);
    }
    expect(await jobs.finish({ jobId: 'job_unknown', number: fence.number }, SUCCEEDED, LATER_MS)).toBe(
      false,
    );
    expect((await jobs.get(id))?.state).toBe('running');
  });
}

/** Ids come from clients, as any text that JSON can hold. */
function describeIds(open: Open): void {
  test('an id with a character that no id has is unknown, and does no harm to others asked for beside it', async () => {
    const { jobs } = await open();
    const { id } = await created(jobs);
    const [known, nul, end] = await Promise.all([
      jobs.get(id),
      jobs.get('job_\u0000'),
      jobs.end('job_\u0000', CANCELLED, LATER_MS),
    ]);
    expect(known?.id).toBe(id);
    expect([nul, end]).toEqual([null, null]);
    expect(await jobs.answer('job_\u0000', { sure: NO }, LATER_MS)).toBeNull();
    const rest = (after: string) => jobs.list({ clientId: 'agent-a', after, limit: 10 });
    expect(ids(await rest(`${id}\u0000`))).toEqual([id]);
    expect(await rest('\u0000')).toEqual([]);
  });
}

function describeQuestions(open: Open): void {
  test('a job waits for what it asks, exactly as it was asked, until it is answered', async () => {
    const { jobs } = await open();
    const { id } = await created(jobs);
    const { fence } = await begun(jobs, id);
    expect(await jobs.ask(fence, ask('sure', 'why'), LATER_MS)).toBe(true);
    expect(await jobs.get(id)).toMatchObject({
      state: 'running',
      questions: ask('sure', 'why'),
      answers: {},
    });
    expect(await jobs.answer(id, { why: YES }, LATER_MS + 1)).toBe('running');
    expect(await jobs.get(id)).toMatchObject({ answers: { why: YES }, updatedMs: LATER_MS + 1 });
    expect((await read(jobs, id)).questions).toEqual(ask('sure'));
    await jobs.answer(id, { sure: NO }, LATER_MS);
    const { questions, answers } = await read(jobs, id);
    expect([questions, answers]).toEqual([{}, { why: YES, sure: NO }]);
  });

  test('an answer wakes who waits for a change', async () => {
    const { jobs } = await open();
    const { id } = await created(jobs);
    const { fence } = await begun(jobs, id);
    await jobs.ask(fence, ask('sure'), LATER_MS);
    const { revision } = await read(jobs, id);
    const told: string[] = [];
    const stop = jobs.onChange((changed) => told.push(changed));
    const changed = jobs.changed(id, revision, new AbortController().signal);
    await jobs.answer(id, { sure: YES }, LATER_MS);
    await changed;
    stop();
    expect(told).toContain(id);
    expect((await read(jobs, id)).revision).toBeGreaterThan(revision);
  });

  test('answers to what it does not ask, or has been told, are ignored and change nothing', async () => {
    const { jobs } = await open();
    const { id } = await created(jobs);
    const { fence } = await begun(jobs, id);
    await jobs.ask(fence, ask('sure', 'why'), LATER_MS);
    await jobs.answer(id, { sure: YES }, LATER_MS);
    const before = await read(jobs, id);
    for (const key of ['sure', 'other', 'constructor', '__proto__', 'a\u0000b']) {
      expect(await jobs.answer(id, Object.fromEntries([[key, NO]]), LATER_MS + 1)).toBe('running');
    }
    expect(await jobs.answer(id, {}, LATER_MS + 1)).toBe('running');
    expect(await jobs.get(id)).toEqual(before);
    expect(await jobs.answer('job_unknown', { sure: YES }, LATER_MS)).toBeNull();
  });

  test('what has an answer is not asked again, and the same questions again are no change', async () => {
    const { jobs } = await open();
    const job = await created(jobs, { answers: { early: YES } });
    const { fence } = await begun(jobs, job.id);
    expect(await jobs.ask(fence, ask('early'), LATER_MS)).toBe(true);
    expect((await read(jobs, job.id)).questions).toEqual({});
    await jobs.ask(fence, ask('early', 'sure'), LATER_MS);
    const before = await read(jobs, job.id);
    expect(before.questions).toEqual(ask('sure'));
    expect(await jobs.ask(fence, ask('early', 'sure'), LATER_MS + 1)).toBe(true);
    expect(await jobs.get(job.id)).toEqual(before);
    await jobs.ask(fence, ask('why'), LATER_MS);
    expect((await read(jobs, job.id)).questions).toEqual(ask('why'));
  });

  test('the next attempt gets the answers and asks anew', async () => {
    const { jobs } = await open();
    const { id } = await created(jobs);
    const first = await begun(jobs, id);
    await jobs.ask(first.fence, ask('sure', 'why'), LATER_MS);
    await jobs.answer(id, { sure: YES }, LATER_MS);
    const second = await begun(jobs, id);
    expect(second.answers).toEqual({ sure: YES });
    expect((await read(jobs, id)).questions).toEqual({});
    expect(await jobs.ask(first.fence, ask('why'), LATER_MS)).toBe(false);
    expect(await jobs.ask(second.fence, ask('sure', 'why'), LATER_MS)).toBe(true);
    expect((await read(jobs, id)).questions).toEqual(ask('why'));
  });

  test.each([
    ['finish', (jobs: Jobs, { fence }: Attempt) => jobs.finish(fence, SUCCEEDED, LATER_MS)],
    ['end', (jobs: Jobs, { fence }: Attempt) => jobs.end(fence.jobId, CANCELLED, LATER_MS)],
    ['release', (jobs: Jobs, { fence }: Attempt) => jobs.release(fence, true, LATER_MS)],
  ] as const)('a job that waits does so no more after a %s, and keeps its answers', async (_verb, change) => {
    const { jobs } = await open();
    const { id } = await created(jobs);
    const attempt = await begun(jobs, id);
    await jobs.ask(attempt.fence, ask('sure', 'why'), LATER_MS);
    await jobs.answer(id, { why: NO }, LATER_MS);
    await change(jobs, attempt);
    const after = await read(jobs, id);
    expect([after.questions, after.answers]).toEqual([{}, { why: NO }]);
    expect(await jobs.answer(id, { sure: YES }, LATER_MS)).toBe(after.state);
    expect(await jobs.get(id)).toEqual(after);
  });

  test('progress leaves the questions as they are', async () => {
    const { jobs } = await open();
    const { id } = await created(jobs);
    const { fence } = await begun(jobs, id);
    await jobs.ask(fence, ask('sure'), LATER_MS);
    await jobs.progress(fence, { completed: 1 }, LATER_MS);
    expect(await jobs.get(id)).toMatchObject({ progress: { completed: 1 }, questions: ask('sure') });
  });

  test('of many answers and questions at once none is lost', async () => {
    const { jobs } = await open();
    const { id } = await created(jobs);
    const { fence } = await begun(jobs, id);
    const keys = Array.from({ length: 20 }, (_, n) => `key-${n}`);
    await jobs.ask(fence, ask(...keys), LATER_MS);
    await Promise.all([
      ...keys.map((key, n) => jobs.answer(id, { [key]: { action: 'accept', content: { n } } }, LATER_MS)),
      ...keys.map((_key, n) => jobs.progress(fence, { completed: n }, LATER_MS)),
      jobs.ask(fence, ask(...keys), LATER_MS),
    ]);
    const { questions, answers } = await read(jobs, id);
    expect(questions).toEqual({});
    expect(answers).toEqual(
      Object.fromEntries(keys.map((key, n) => [key, { action: 'accept', content: { n } }])),
    );
  });

  test('answers larger than those of one job may be are refused, and nothing is written', async () => {
    const { jobs } = await open();
    // Four bytes in UTF-8, two units in UTF-16: bytes are counted.
    const half = '😀'.repeat(JOB_LIMITS.maxAnswersBytes / 8);
    const large: Answer = { action: 'accept', content: { text: half } };
    const { id } = await created(jobs);
    const { fence } = await begun(jobs, id);
    await jobs.ask(fence, ask('one', 'two'), LATER_MS);
    await jobs.answer(id, { one: large }, LATER_MS);
    const before = await read(jobs, id);
    const refusal = {
      code: 'invalid_args',
      message: expect.stringContaining(String(JOB_LIMITS.maxAnswersBytes)),
    };
    const other = jobs.progress(fence, { completed: 1 }, LATER_MS);
    await expect(jobs.answer(id, { two: large }, LATER_MS)).rejects.toMatchObject(refusal);
    // Nobody else's write goes with it.
    expect(await other).toBe(true);
    expect(await jobs.get(id)).toEqual({
      ...before,
      progress: { completed: 1 },
      revision: expect.any(Number),
    });
    expect(await jobs.answer(id, { two: NO }, LATER_MS)).toBe('running');
    await expect(jobs.create(newJob({ answers: { one: large, two: large } }))).rejects.toMatchObject(refusal);
  });
}

function describeEnds(open: Open): void {
  test.each(ENDS)('a running job can end as $state', async (end) => {
    const { jobs } = await open();
    const { id } = await created(jobs);
    const attempt = await begun(jobs, id);
    expect(await jobs.finish(attempt.fence, end, LATER_MS)).toBe(true);
    expect(await jobs.get(id)).toMatchObject({ ...end, updatedMs: LATER_MS });
  });

  test.each(ENDS)('a job that is $state never changes again', async (end) => {
    const { jobs } = await open();
    const { id } = await created(jobs);
    const attempt = await begun(jobs, id);
    await jobs.finish(attempt.fence, end, LATER_MS);
    await assertFinal(jobs, id, attempt);
  });

  test.each([
    ['queued', CANCELLED],
    ['queued', EXPIRED],
    ['running', CANCELLED],
    ['running', EXPIRED],
  ] as const)('a %s job can be ended from outside as $state', async (state, end) => {
    const { jobs } = await open();
    const { id } = await created(jobs);
    const attempt = state === 'running' ? await begun(jobs, id) : null;
    expect(await jobs.end(id, end, LATER_MS)).toBe(end.state);
    expect(await jobs.get(id)).toMatchObject({ ...end, updatedMs: LATER_MS });
    await assertFinal(jobs, id, attempt);
  });

  test('an unknown job cannot be ended', async () => {
    const { jobs } = await open();
    expect(await jobs.end('job_unknown', CANCELLED, LATER_MS)).toBeNull();
  });

  test('a finish and an end at once: one of them counts, and both are told which', async () => {
    const { jobs } = await open();
    for (let i = 0; i < 20; i++) {
      const { id } = await created(jobs);
      const { fence } = await begun(jobs, id);
      const verbs = [
        () => jobs.finish(fence, SUCCEEDED, LATER_MS),
        () => jobs.end(id, CANCELLED, LATER_MS),
      ] as const;
      const [finished, ended] =
        i % 2 === 0
          ? await Promise.all([verbs[0](), verbs[1]()])
          : (await Promise.all([verbs[1](), verbs[0]()])).toReversed();
      const state: EndState = finished === true ? 'succeeded' : 'cancelled';
      expect(ended).toBe(state);
      expect((await jobs.get(id))?.state).toBe(state);
    }
  });

  test('what became of a progress and the result goes together', async () => {
    const { jobs } = await open();
    const { id } = await created(jobs);
    const { fence } = await begun(jobs, id);
    const written = [
      jobs.progress(fence, { completed: 1 }, LATER_MS),
      jobs.finish(fence, SUCCEEDED, LATER_MS),
    ];
    expect(await Promise.all(written)).toEqual([true, true]);
    expect(await jobs.get(id)).toMatchObject({ ...SUCCEEDED, progress: { completed: 1 } });
  });
}

function describeChanges(open: Open): void {
  const never = new AbortController().signal;
  setMaxListeners(0, never);

  /** Is the promise still pending when another job has changed and the event loop has turned? */
  async function isPending(promise: Promise<void>, { jobs }: RecordStore): Promise<boolean> {
    let pending = true;
    void promise.then(() => (pending = false));
    const { id } = await created(jobs);
    await begun(jobs, id);
    return pending;
  }

  const CHANGES: readonly [string, (store: RecordStore, attempt: Attempt) => Promise<unknown>][] = [
    ['progress', ({ jobs }, { fence }) => jobs.progress(fence, { completed: 1 }, LATER_MS)],
    ['its end', ({ jobs }, { fence }) => jobs.finish(fence, SUCCEEDED, LATER_MS)],
    ['a cancel', ({ jobs }, { fence }) => jobs.end(fence.jobId, CANCELLED, LATER_MS)],
    ['a question', ({ jobs }, { fence }) => jobs.ask(fence, ask('sure'), LATER_MS)],
    ['a release', ({ jobs }, { fence }) => jobs.release(fence, true, LATER_MS)],
    ['the next attempt', ({ jobs }, { fence }) => jobs.begin(fence.jobId, LATER_MS)],
  ];

  test.each(CHANGES)('who waits for a change is woken by %s', async (_what, change) => {
    const store = await open();
    const { id } = await created(store.jobs);
    const attempt = await begun(store.jobs, id);
    const { revision } = await read(store.jobs, id);
    const changed = store.jobs.changed(id, revision, never);
    expect(await isPending(changed, store)).toBe(true);
    await change(store, attempt);
    await changed;
    expect((await read(store.jobs, id)).revision).toBeGreaterThan(revision);
  });

  test.each(CHANGES)('a change between the look and the wait is not missed: %s', async (_what, change) => {
    const store = await open();
    const { id } = await created(store.jobs);
    const attempt = await begun(store.jobs, id);
    const { revision } = await read(store.jobs, id);
    const changing = change(store, attempt);
    await store.jobs.changed(id, revision, never);
    await changing;
    await store.jobs.changed(id, revision, never);
    expect((await read(store.jobs, id)).revision).toBeGreaterThan(revision);
  });

  test('a refused write wakes nobody', async () => {
    const store = await open();
    const { id } = await created(store.jobs);
    const stale = await begun(store.jobs, id);
    await begun(store.jobs, id);
    const { revision } = await read(store.jobs, id);
    const stop = new AbortController();
    const changed = store.jobs.changed(id, revision, stop.signal);
    await assertRefused(store.jobs, stale);
    expect(await isPending(changed, store)).toBe(true);
    stop.abort();
    await changed;
  });

  test('the wait ends when its signal aborts, before it or during it', async () => {
    const store = await open();
    const { id } = await created(store.jobs);
    const { revision } = await read(store.jobs, id);
    await store.jobs.changed(id, revision, AbortSignal.abort());
    const stop = new AbortController();
    const changed = store.jobs.changed(id, revision, stop.signal);
    expect(await isPending(changed, store)).toBe(true);
    stop.abort();
    await changed;
  });

  test('nobody waits for an unknown job', async () => {
    const { jobs } = await open();
    expect(await jobs.changed('job_unknown', 0, never)).toBeUndefined();
  });

  test('1 000 who wait for one job are woken by one change', async () => {
    const { jobs } = await open();
    const { id } = await created(jobs);
    const { revision } = await read(jobs, id);
    const all = Array.from({ length: 1_000 }, () => jobs.changed(id, revision, never));
    await begun(jobs, id);
    expect(await Promise.all(all)).toHaveLength(1_000);
  });

  test('a listener is told of every state, perhaps more than once, until it stops listening', async () => {
    const { jobs } = await open();
    const heard: string[] = [];
    const stop = jobs.onChange((id, state: JobState) => {
      if (heard.at(-1) !== `${id} ${state}`) heard.push(`${id} ${state}`);
    });
    const first = await created(jobs);
    const { fence } = await begun(jobs, first.id);
    await jobs.progress(fence, { completed: 1 }, LATER_MS);
    await jobs.finish(fence, SUCCEEDED, LATER_MS);
    expect(heard).toEqual([`${first.id} running`, `${first.id} succeeded`]);
    stop();
    const second = await created(jobs);
    await jobs.end(second.id, CANCELLED, LATER_MS);
    expect(heard).toHaveLength(2);
  });
}

function describeLists(open: Open): void {
  async function createSome(jobs: RecordStore['jobs'], clientId: string, count: number): Promise<string[]> {
    const all = Array.from({ length: count }, (_, i) =>
      newJob({ request: newRequest({ clientId }), createdMs: START_MS + i }),
    );
    for (const job of all) await jobs.create(job);
    return ids(all).toReversed();
  }

  test('jobs are listed newest first', async () => {
    const { jobs } = await open();
    const newestFirst = await createSome(jobs, 'agent-a', 5);
    expect(ids(await jobs.list({ clientId: 'agent-a', limit: 10 }))).toEqual(newestFirst);
  });

  test('pages follow each other without gap or repetition, whatever ends meanwhile', async () => {
    const { jobs } = await open();
    const newestFirst = await createSome(jobs, 'agent-a', 10);
    const found: JobSummary[] = [];
    for (;;) {
      const last = found.at(-1);
      const page = await jobs.list({ clientId: 'agent-a', limit: 3, ...(last && { after: last.id }) });
      found.push(...page);
      if (page.length < 3) break;
      await jobs.create(newJob({ createdMs: LATER_MS }));
      await jobs.end(newestFirst[9] ?? '', CANCELLED, LATER_MS);
    }
    expect(ids(found)).toEqual(newestFirst);
    expect(found.at(-1)?.state).toBe('cancelled');
  });

  test('a list can be of one state', async () => {
    const { jobs } = await open();
    const [done, running, queued] = await createSome(jobs, 'agent-a', 3);
    await jobs.finish((await begun(jobs, done ?? '')).fence, SUCCEEDED, LATER_MS);
    await begun(jobs, running ?? '');
    const listed = async (state: JobState) => ids(await jobs.list({ clientId: 'agent-a', state, limit: 10 }));
    expect(await listed('succeeded')).toEqual([done]);
    expect(await listed('running')).toEqual([running]);
    expect(await listed('queued')).toEqual([queued]);
    expect(await listed('failed')).toEqual([]);
  });

  test('another client’s jobs are never listed, whatever cursor is given', async () => {
    const { jobs } = await open();
    const own = await createSome(jobs, 'agent-a', 3);
    const foreign = await createSome(jobs, 'agent-b', 3);
    expect(ids(await jobs.list({ clientId: 'agent-a', limit: 10 }))).toEqual(own);
    for (const after of [...foreign, 'zzz', '', 'job_', '~']) {
      const listed = ids(await jobs.list({ clientId: 'agent-a', after, limit: 10 }));
      expect(listed.filter((id) => !own.includes(id))).toEqual([]);
    }
    expect(await jobs.list({ clientId: 'nobody', limit: 10 })).toEqual([]);
  });
}

/**
 * A store that several processes share claims what it tells: for a while it tells nobody again. So no test here
 * expects a job twice at one time, nor that it is not told twice.
 */
function describeDue(open: Open): void {
  test.each(['queued', 'running'])('a %s job is late when its deadline has come', async (state) => {
    const { jobs } = await open();
    const { id } = await created(jobs, { tool: 'slow', deadlineMs: START_MS + 10 });
    await created(jobs, { deadlineMs: START_MS + 11 });
    if (state === 'running') await begun(jobs, id);
    expect(await jobs.due(START_MS + 9, 10)).toEqual([]);
    expect(await jobs.due(START_MS + 10, 10)).toEqual([{ id, tool: 'slow', priority: 0, why: 'late' }]);
  });

  test('an ended job is old when its retention has passed, and not late at its deadline', async () => {
    const { jobs } = await open();
    const finished = await created(jobs, { deadlineMs: START_MS + 10, retentionMs: 600_000 });
    const ended = await created(jobs, { deadlineMs: START_MS + 10, retentionMs: 700_000 });
    await jobs.finish((await begun(jobs, finished.id)).fence, SUCCEEDED, START_MS + 5);
    await jobs.end(ended.id, CANCELLED, START_MS + 5);
    expect(await jobs.due(START_MS + 5 + 599_999, 10)).toEqual([]);
    const old = { tool: 'work', priority: 0, why: 'old' };
    expect(await jobs.due(START_MS + 5 + 600_000, 10)).toEqual([{ id: finished.id, ...old }]);
    await jobs.remove(finished.id);
    expect(await jobs.due(START_MS + 5 + 700_000, 10)).toEqual([{ id: ended.id, ...old }]);
  });

  test('no more are told at once than are asked for, those that are due longest first, and all in the end', async () => {
    const { jobs } = await open();
    const all: string[] = [];
    for (let n = 0; n < 5; n++) all.push((await created(jobs, { deadlineMs: START_MS + n })).id);
    const told: string[] = [];
    for (const count of [2, 2, 1, 0]) {
      const due = await jobs.due(START_MS + 10, 2);
      expect(due).toHaveLength(count);
      told.push(...ids(due));
      for (const { id } of due) await jobs.end(id, EXPIRED, START_MS + 10);
    }
    expect(told.slice(0, 4).toSorted()).toEqual(all.slice(0, 4).toSorted());
    expect(told.at(-1)).toBe(all.at(-1));
  });

  test('a job that nobody ended after it was told is told again', async () => {
    const { jobs } = await open();
    const { id } = await created(jobs, { deadlineMs: START_MS + 10 });
    const told = { id, tool: 'work', priority: 0, why: 'late' };
    expect(await jobs.due(START_MS + 10, 10)).toEqual([told]);
    expect(await jobs.due(START_MS + 10 + JOB_LIMITS.lookMs, 10)).toEqual([told]);
  });

  test('a job that ended when it was due is not late any more, whoever looks', async () => {
    const { jobs } = await open();
    const { id } = await created(jobs, { deadlineMs: START_MS + 10 });
    const { fence } = await begun(jobs, id);
    expect(ids(await jobs.due(START_MS + 10, 10))).toEqual([id]);
    await jobs.finish(fence, SUCCEEDED, START_MS + 10);
    expect(await jobs.due(START_MS + 10 + JOB_LIMITS.lookMs, 10)).toEqual([]);
  });

  test('an open job that nothing was heard of may be told as unsure, and is late at its deadline all the same', async () => {
    const { jobs } = await open();
    const queued = await created(jobs, { tool: 'slow', deadlineMs: START_MS + 3_600_000 });
    const running = await created(jobs, { tool: 'slow', deadlineMs: START_MS + 3_600_000 });
    await begun(jobs, running.id);
    expect(await jobs.due(START_MS + JOB_LIMITS.firstLookMs - 1, 10)).toEqual([]);
    for (let nowMs = START_MS; nowMs < START_MS + 3_600_000; nowMs += JOB_LIMITS.firstLookMs) {
      for (const job of await jobs.due(nowMs, 10)) {
        expect(job).toEqual({ id: expect.any(String), tool: 'slow', priority: 0, why: 'unsure' });
        expect([queued.id, running.id]).toContain(job.id);
      }
    }
    const late = await jobs.due(START_MS + 3_600_000, 10);
    expect(new Set(late.map(({ id, why }) => `${id} ${why}`))).toEqual(
      new Set([queued, running].map(({ id }) => `${id} late`)),
    );
  });

  test('of several that ask at once each job is told', async () => {
    const { jobs } = await open();
    const all = await Promise.all(
      Array.from({ length: 50 }, () => created(jobs, { deadlineMs: START_MS + 10 })),
    );
    const asked = Array.from({ length: 5 }, () => jobs.due(START_MS + 10, 50));
    expect(new Set(ids((await Promise.all(asked)).flat()))).toEqual(new Set(ids(all)));
  });
}

function describeRetention(open: Open): void {
  test('a removed job is forgotten with its request', async () => {
    const { jobs, requests } = await open();
    const job = newJob();
    await jobs.create(job);
    await jobs.end(job.id, CANCELLED, LATER_MS);
    await jobs.remove(job.id);
    expect(await jobs.get(job.id)).toBeNull();
    expect(await jobs.list({ clientId: 'agent-a', limit: 10 })).toEqual([]);
    expect(await jobs.due(START_MS * 2, 10)).toEqual([]);
    expect(await requests.find('agent-a', job.request.requestId)).toBeNull();
    expect((await jobs.create(newJob({ request: job.request }))).outcome).toBe('created');
  });

  test('to remove an unknown job does nothing', async () => {
    const { jobs } = await open();
    const { id } = await created(jobs);
    await jobs.remove('job_unknown');
    expect(await jobs.get(id)).not.toBeNull();
  });
}

function describeSequences(open: Open): void {
  test('any sequence of verbs does what the verbs mean', async () => {
    const store = await open();
    let run = 0;
    await fc.assert(
      fc.asyncProperty(anyVerbs, async (verbs) => {
        const { compare } = await runVerbs(store, verbs, true, `run-${run++}`);
        await compare(store);
      }),
      { numRuns: 30 },
    );
  });
}

type Jobs = RecordStore['jobs'];

async function created(jobs: Jobs, members: Parameters<typeof newJob>[0] = {}) {
  const job = newJob(members);
  await jobs.create(job);
  return job;
}

async function begun(jobs: Jobs, id: string): Promise<Attempt> {
  const attempt = await jobs.begin(id, START_MS);
  if (attempt === null) throw new Error(`${id} did not begin`);
  return attempt;
}

async function read(jobs: Jobs, id: string): Promise<JobRecord> {
  const job = await jobs.get(id);
  if (job === null) throw new Error(`there is no job ${id}`);
  return job;
}

/** No verb under this attempt's fence is heard, and nothing of the record changes. */
async function assertRefused(jobs: Jobs, { fence }: Attempt): Promise<void> {
  const before = await jobs.get(fence.jobId);
  expect(await jobs.progress(fence, { completed: 99 }, LATER_MS + 1)).toBe(false);
  expect(await jobs.ask(fence, ask('sure'), LATER_MS + 1)).toBe(false);
  expect(await jobs.finish(fence, FAILED, LATER_MS + 1)).toBe(false);
  expect(await jobs.release(fence, true, LATER_MS + 1)).toBe(false);
  expect(await jobs.release(fence, false, LATER_MS + 1)).toBe(false);
  expect(await jobs.get(fence.jobId)).toEqual(before);
}

async function assertFinal(jobs: Jobs, id: string, attempt: Attempt | null): Promise<void> {
  const before = await read(jobs, id);
  if (attempt !== null) await assertRefused(jobs, attempt);
  expect(await jobs.begin(id, LATER_MS + 1)).toBeNull();
  for (const end of ENDS) expect(await jobs.end(id, end, LATER_MS + 1)).toBe(before.state);
  expect(await jobs.answer(id, { sure: YES }, LATER_MS + 1)).toBe(before.state);
  expect(await jobs.get(id)).toEqual(before);
}
