import { Client } from 'pg';
import { describe, expect, onTestFinished, test } from 'vitest';
import { SetupError, StoreError } from '../../src/errors/index.ts';
import type { RecordStore } from '../../src/store/index.ts';
import { openPostgresStore, type PostgresOptions } from '../../src/store/postgres/open.ts';
import { clientRecord } from '../support/clients.ts';
import { createTestClock, START_MS } from '../support/clock.ts';
import { createTestLog } from '../support/log.ts';
import { startPostgres } from '../support/services/index.ts';
import { postgresUrl } from '../support/services/shared.ts';
import { describeAuditRecords } from './audit.suite.ts';
import { DAY_MS, describeCounters, MINUTE_MS, takeMany } from './counters.suite.ts';
import { newJob } from './new-records.ts';
import { describeRecordStore } from './record-store.suite.ts';

const SUCCEEDED = { state: 'succeeded', result: { text: 'a\u0000b' }, error: null } as const;

describe('PostgreSQL', { tags: ['postgres'] }, () => {
  describeRecordStore('PostgreSQL', async () => open({ url: await postgresUrl() }));
  describeCounters('PostgreSQL', async () => open({ url: await postgresUrl() }));
  describeAuditRecords('PostgreSQL', async () => open({ url: await postgresUrl() }));

  test('a row whose JSON is cut is left out and named, and the others are listed', async () => {
    const url = await postgresUrl();
    const { clients } = await open({ url });
    for (const id of ['a', 'b']) await clients.add(clientRecord(id));
    await run(url, `UPDATE waybill.clients SET response_keys = '["p' WHERE id = 'a'`);
    const told: string[] = [];
    expect(await clients.list((id) => told.push(id))).toEqual([clientRecord('b')]);
    expect(told).toEqual(['a']);
  });

  describe('several processes on one database', () => {
    test('of ten that start at once on an empty database, all start', async () => {
      const url = await postgresUrl();
      const stores = await Promise.all(Array.from({ length: 10 }, () => open({ url })));
      expect(stores.map(({ serverId }) => serverId)).toEqual(stores.map(() => 'srv-1'));
      await expect(Promise.all(stores.map((store) => store.ping()))).resolves.toHaveLength(10);
    });

    test('a nonce claimed in one is known in the other, and of many claims at once one wins (§5)', async () => {
      const [a, b] = await openTwo();
      expect(await a.nonces.claim('agent-a', 'nonce-01', Date.now())).toBe(true);
      expect(await b.nonces.claim('agent-a', 'nonce-01', Date.now())).toBe(false);
      const both = Array.from({ length: 200 }, (_, n) => (n % 2 === 0 ? a : b));
      const claims = both.map(({ nonces }) => nonces.claim('agent-a', 'nonce-02', Date.now()));
      expect((await Promise.all(claims)).filter(Boolean)).toHaveLength(1);
    });

    test('an answer given in one is heard in the other, and those given in both at once are all kept', async () => {
      const [a, b] = await openTwo();
      const keys = Array.from({ length: 10 }, (_, n) => `key-${n}`);
      const schema = { type: 'object', properties: {} };
      const job = newJob();
      await a.jobs.create(job);
      const attempt = await a.jobs.begin(job.id, START_MS);
      if (attempt === null) throw new Error('it did not begin');
      await a.jobs.ask(
        attempt.fence,
        Object.fromEntries(keys.map((key) => [key, { message: key, schema }])),
        START_MS,
      );
      const revision = (await a.jobs.get(job.id))?.revision ?? 0;
      const heard = a.jobs.changed(job.id, revision, new AbortController().signal);
      await b.jobs.answer(job.id, { 'key-0': { action: 'decline' } }, START_MS);
      await heard;
      await Promise.all(
        keys.map((key, n) =>
          (n % 2 === 0 ? a : b).jobs.answer(job.id, { [key]: { action: 'accept' } }, START_MS),
        ),
      );
      const { questions, answers } = (await b.jobs.get(job.id)) ?? {};
      expect(questions).toEqual({});
      expect(Object.keys(answers ?? {}).toSorted()).toEqual(keys);
      expect(answers?.['key-0']).toEqual({ action: 'decline' });
    });

    test('of 100 jobs that a client creates in both at once, exactly as many as it may have are created', async () => {
      const [a, b] = await openTwo();
      const creations = await Promise.all(
        Array.from({ length: 100 }, (_, n) => (n % 2 === 0 ? a : b).jobs.create(newJob({ maxOpenJobs: 7 }))),
      );
      expect(creations.filter(({ outcome }) => outcome === 'created')).toHaveLength(7);
    });

    test.each([MINUTE_MS, DAY_MS])(
      'of 600 that count in both at once, as many are let in as the limit (%d ms)',
      async (windowMs) => {
        const both = (await openTwo()).map(({ counters }) => counters);
        expect(await takeMany(both, { times: 600, limit: 100, windowMs })).toBe(100);
        const used = both.map((counters) => counters.used('name', windowMs, START_MS));
        expect(await Promise.all(used)).toEqual([100, 100]);
      },
    );

    test('two that count one after the other, each over and over, miss nothing that the other has counted', async () => {
      const both = await openTwo();
      const takeAll = async ({ counters }: RecordStore) => {
        let taken = 0;
        for (let n = 0; n < 150; n++) if (await counters.take('name', 250, DAY_MS, START_MS)) taken++;
        return taken;
      };
      const [a = 0, b = 0] = await Promise.all(both.map(takeAll));
      expect(a + b).toBe(250);
      expect(await both[0].counters.used('name', DAY_MS, START_MS)).toBe(250);
    });

    test('counting many names in both at once, in any order, each has its own limit', async () => {
      const [a, b] = await openTwo();
      const names = Array.from({ length: 40 }, (_, n) => `name-${n}`);
      const rounds = Array.from({ length: 10 }, (_, n) => ({
        store: n % 2 === 0 ? a : b,
        reversed: n % 2 === 0,
      }));
      const takes = rounds.flatMap(({ store, reversed }) =>
        (reversed ? names.toReversed() : names).map((name) =>
          store.counters.take(name, 3, MINUTE_MS, START_MS),
        ),
      );
      expect((await Promise.all(takes)).filter(Boolean)).toHaveLength(3 * names.length);
    });

    test('one request that becomes a job in one and a direct call in the other, at once, is one of both', async () => {
      const [a, b] = await openTwo();
      for (let round = 0; round < 20; round++) {
        const job = newJob();
        const [creation, known] = await Promise.all([a.jobs.create(job), b.requests.claim(job.request)]);
        expect(creation.outcome === 'created').toBe(known !== null);
      }
    });

    test('who waits in one is woken by what happens in the other, and a listener is told', async () => {
      const [a, b] = await openTwo();
      const job = newJob();
      await a.jobs.create(job);
      const told: string[] = [];
      b.jobs.onChange((id, state) => told.push(`${id} ${state}`));
      const woken = b.jobs.changed(job.id, 1, new AbortController().signal);
      const attempt = await a.jobs.begin(job.id, START_MS);
      await woken;
      const ended = b.jobs.changed(job.id, 2, new AbortController().signal);
      if (attempt !== null) await a.jobs.finish(attempt.fence, SUCCEEDED, START_MS);
      await ended;
      expect(await b.jobs.get(job.id)).toMatchObject({ state: 'succeeded', result: SUCCEEDED.result });
      expect(told).toContain(`${job.id} succeeded`);
    });

    test('a job that is due is given to one of those that ask', async () => {
      const [a, b] = await openTwo();
      const jobs = Array.from({ length: 50 }, () => newJob({ deadlineMs: START_MS + 1 }));
      await Promise.all(jobs.map((job) => a.jobs.create(job)));
      const due = await Promise.all([a, b, a, b].map((store) => store.jobs.due(START_MS + 2, 50)));
      const given = due.flat().map(({ id }) => id);
      expect(new Set(given).size).toBe(given.length);
    });

    test('notifications that are lost with their connection are made up for', async () => {
      const url = await postgresUrl();
      const [a, b] = [await open({ url }), await open({ url })];
      const job = newJob();
      await a.jobs.create(job);
      const woken = b.jobs.changed(job.id, 1, new AbortController().signal);
      await killListeners(url);
      await a.jobs.begin(job.id, START_MS);
      await expect(woken).resolves.toBeUndefined();
    });
  });

  describe('what cannot be used is refused, and nothing is changed', () => {
    test('a database of another server', async () => {
      const url = await postgresUrl();
      await open({ url });
      await expect(open({ url, serverId: 'srv-2' })).rejects.toThrow(
        /belongs to server "srv-1", not "srv-2"/,
      );
    });

    test('a schema that is newer than the program', async () => {
      const url = await postgresUrl();
      await open({ url });
      await run(url, `UPDATE waybill.meta SET value = '999' WHERE name = 'schema'`);
      const refusal = open({ url });
      await expect(refusal).rejects.toThrow(/has schema 999, this waybill knows \d+: use the newer waybill/);
      await expect(refusal).rejects.toBeInstanceOf(SetupError);
    });

    test('a URL of something else, an unknown host, a port where nothing listens, a database that is not there', async () => {
      const server = new URL(await postgresUrl());
      const elsewhere = new URL(server);
      elsewhere.port = '1';
      const missing = new URL('/no_such_database', server);
      const refusals = {
        'mysql://user:secret@host/db': 'must be postgres://user:password@host:port/database',
        'postgres://user:secret@no-such-host.invalid/db': 'the host is not known',
        [elsewhere.href]: 'nothing listens there',
        [missing.href]: 'there is no such database',
      };
      for (const [url, message] of Object.entries(refusals)) {
        const error: unknown = await open({ url }).catch((reason: unknown) => reason);
        expect(error).toBeInstanceOf(SetupError);
        expect(String(error)).toContain(message);
        expect(String(error)).not.toContain('secret');
        if (server.password !== '') expect(String(error)).not.toContain(server.password);
      }
    });
  });

  test('a nonce whose claim took so long that it may be forgotten is not let in', async () => {
    const clock = createTestClock(Date.now());
    const { nonces } = await open({ url: await postgresUrl(), now: clock.now });
    const claim = nonces.claim('agent-a', 'nonce-01', clock.nowMs);
    clock.nowMs += 300_001;
    await expect(claim).rejects.toMatchObject({ code: 'busy' });
  });

  test('strings that the database could not hold as they are come back as they were', async () => {
    const { jobs } = await open({ url: await postgresUrl() });
    const args = { 'kéy "\\': 'a\u0000b\u2028😀{}', list: [null, 1e21, -0.5] };
    const job = newJob({ args });
    await jobs.create(job);
    const attempt = await jobs.begin(job.id, START_MS);
    if (attempt === null) throw new Error('did not begin');
    expect(attempt.args).toEqual(args);
    await jobs.progress(attempt.fence, { completed: 1, message: '\u0000', partial: args }, START_MS);
    const error = 'job_failed: a\u0000b';
    await jobs.finish(attempt.fence, { state: 'failed', result: null, error }, START_MS);
    const progress = { completed: 1, message: '\u0000', partial: args };
    expect(await jobs.get(job.id)).toMatchObject({ progress, error });
    const [listed] = await jobs.list({ clientId: 'agent-a', limit: 1 });
    expect(listed?.progress).toEqual({ completed: 1, message: '\u0000' });
  });
});

describe('PostgreSQL that fails', { tags: ['own-postgres'] }, () => {
  test('without fsync it is refused', async () => {
    const service = await startPostgres({ fsync: 'off' });
    onTestFinished(() => service.stop());
    await expect(open({ url: service.url })).rejects.toThrow(/runs with fsync off and would lose jobs/);
  });

  test('killed and started again: calls fail meanwhile, what was promised is there, and all resumes', async () => {
    const service = await startPostgres();
    onTestFinished(() => service.stop());
    const store = await open({ url: service.url });
    const job = newJob();
    await store.jobs.create(job);
    expect(await store.nonces.claim('agent-a', 'nonce-01', Date.now())).toBe(true);
    await service.kill();
    await expect(store.ping()).rejects.toBeInstanceOf(StoreError);
    await expect(store.nonces.claim('agent-a', 'nonce-02', Date.now())).rejects.toBeInstanceOf(StoreError);
    const woken = store.jobs.changed(job.id, 1, new AbortController().signal);
    await service.restart();
    expect(await store.nonces.claim('agent-a', 'nonce-01', Date.now())).toBe(false);
    expect(await store.jobs.begin(job.id, START_MS)).not.toBeNull();
    await woken;
  });

  test('frozen: calls fail in time, and the store closes', async () => {
    const service = await startPostgres();
    onTestFinished(() => service.stop());
    const store = await open({ url: service.url });
    await service.kill('SIGSTOP');
    await expect(store.ping()).rejects.toBeInstanceOf(StoreError);
    await store.close();
    await service.kill('SIGCONT');
  });
});

/** A store that is closed when the test ends. */
async function open(options: Partial<PostgresOptions> & { readonly url: string }): Promise<RecordStore> {
  const store = await openPostgresStore({ serverId: 'srv-1', log: createTestLog(), ...options });
  const closeStore = store.close;
  let closing: Promise<void> | null = null;
  const close = () => (closing ??= closeStore());
  onTestFinished(close);
  return { ...store, close };
}

async function openTwo(): Promise<readonly [RecordStore, RecordStore]> {
  const url = await postgresUrl();
  return [await open({ url }), await open({ url })];
}

async function run(url: string, sql: string): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}

/** Ends the connections over which stores are told of changes. */
function killListeners(url: string): Promise<void> {
  return run(
    url,
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN %'`,
  );
}
