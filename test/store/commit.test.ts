import { describe, expect, test } from 'vitest';
import { StoreError } from '../../src/errors/index.ts';
import { createSqliteDispatcher } from '../../src/jobs/index.ts';
import { isTerminal, type JobRecord, type RecordStore } from '../../src/store/index.ts';
import type { Database } from '../../src/store/sqlite/driver.ts';
import { clientRecord } from '../support/clients.ts';
import { START_MS } from '../support/clock.ts';
import { newJob, newRequest } from './new-records.ts';
import { openStore } from './open.ts';
import { betweenTurns, lookAt } from '../support/second-connection.ts';

function count(db: Database, table: 'clients' | 'jobs' | 'requests'): number {
  return Number(db.prepare(`SELECT count(*) AS n FROM ${table}`).get()?.['n']);
}

/** How the promises ended. */
async function ends(promises: readonly Promise<unknown>[]): Promise<('fulfilled' | 'rejected')[]> {
  return (await Promise.allSettled(promises)).map(({ status }) => status);
}

describe('a write resolves only when it is committed', () => {
  test('all writes of one event-loop turn are one transaction', async () => {
    const store = openStore();
    const file = lookAt(store.dir);
    const writes = [
      store.requests.claim(newRequest()),
      store.jobs.create(newJob()),
      store.clients.add(clientRecord('a')),
    ];
    expect([count(file, 'requests'), count(file, 'jobs'), count(file, 'clients')]).toEqual([0, 0, 0]);
    await Promise.any(writes);
    expect([count(file, 'requests'), count(file, 'jobs'), count(file, 'clients')]).toEqual([1, 1, 1]);
    await Promise.all(writes);
  });

  test('a read does not resolve before what it saw is committed', async () => {
    const store = openStore();
    const file = lookAt(store.dir);
    const job = newJob();
    const order: string[] = [];
    const write = store.jobs.create(job).then(() => order.push('write'));
    const read = store.jobs.get(job.id).then((record) => {
      order.push('read');
      return [record?.id, count(file, 'jobs')];
    });
    expect(await read).toEqual([job.id, 1]);
    await write;
    expect(order).toEqual(['write', 'read']);
  });

  test('what is pending is written at close', async () => {
    const store = openStore();
    const { dir } = store;
    const job = newJob();
    const written = store.jobs.create(job);
    await store.close();
    await written;
    expect((await openStore({ dir }).jobs.get(job.id))?.id).toBe(job.id);
  });

  test('a store that is closed refuses writes and reads', async () => {
    const store = openStore();
    const { id } = newJob();
    await store.close();
    await expect(store.clients.add(clientRecord('a'))).rejects.toThrow('closed');
    await expect(store.jobs.get(id)).rejects.toThrow(StoreError);
    await expect(store.ping()).rejects.toThrow('closed');
    await expect(store.nonces.claim('a', 'nonce-01', START_MS)).rejects.toMatchObject({ code: 'busy' });
  });
});

/** Makes every insert into a table fail: the statement alone, or with it the whole transaction. */
async function refuseInserts(
  file: Database,
  table: string,
  how: 'ABORT' | 'ROLLBACK',
): Promise<() => Promise<void>> {
  await betweenTurns(() =>
    file.exec(`CREATE TRIGGER refuse BEFORE INSERT ON ${table} BEGIN SELECT RAISE(${how}, 'refused'); END`),
  );
  return () => betweenTurns(() => file.exec('DROP TRIGGER refuse'));
}

async function untilEnded(store: RecordStore, id: string): Promise<JobRecord> {
  for (;;) {
    const job = await store.jobs.get(id);
    if (job === null) throw new Error(`there is no job ${id}`);
    if (isTerminal(job.state)) return job;
    await store.jobs.changed(id, job.revision, new AbortController().signal);
  }
}

describe.each(['ABORT', 'ROLLBACK'] as const)('a turn that cannot be committed (%s)', (how) => {
  test.each(['requests', 'jobs', 'clients'] as const)(
    'rejects all its writes and leaves none of them, whichever failed: %s',
    async (table) => {
      const store = openStore();
      const file = lookAt(store.dir);
      const known = newJob();
      await store.jobs.create(known);
      const allow = await refuseInserts(file, table, how);
      const requests = [newRequest(), newRequest()] as const;
      const jobs = [newJob(), newJob()] as const;
      const writes = [
        ...[
          store.requests.claim(requests[0]),
          store.jobs.create(jobs[0]),
          store.clients.add(clientRecord('a')),
        ],
        store.jobs.begin(known.id, START_MS),
        ...[
          store.requests.claim(requests[1]),
          store.jobs.create(jobs[1]),
          store.clients.add(clientRecord('b')),
        ],
      ];
      const reads = [store.jobs.get(jobs[0].id), store.jobs.get(jobs[1].id)];
      const ended = await ends(writes);
      await Promise.allSettled(reads);
      await allow();

      // Each write is there if and only if its promise said so.
      expect(ended).toContain('rejected');
      const there = [
        await store.requests.find('agent-a', requests[0].requestId),
        await store.jobs.get(jobs[0].id),
        (await store.clients.list()).find(({ id }) => id === 'a'),
        (await store.jobs.get(known.id))?.state === 'running' || null,
        await store.requests.find('agent-a', requests[1].requestId),
        await store.jobs.get(jobs[1].id),
        (await store.clients.list()).find(({ id }) => id === 'b'),
      ].map((found) => (found === null || found === undefined ? 'rejected' : 'fulfilled'));
      expect(there).toEqual(ended);
      const inFile = count(file, 'requests') + count(file, 'jobs') + count(file, 'clients');
      const kept = ended.filter((end, i) => end === 'fulfilled' && i !== 3).length;
      expect(inFile).toBe(1 + kept);
    },
  );

  test('rejects reads of what it would have written', async () => {
    const store = openStore();
    const allow = await refuseInserts(lookAt(store.dir), 'jobs', how);
    const job = newJob();
    const created = store.jobs.create(job);
    const read = store.jobs.get(job.id);
    expect(await ends([created, read])).toEqual(['rejected', 'rejected']);
    await allow();
    expect(await store.jobs.get(job.id)).toBeNull();
  });

  test('neither takes nor makes room among the open jobs of a client', async () => {
    const store = openStore();
    const create = async () => (await store.jobs.create(newJob({ maxOpenJobs: 2 }))).outcome;
    const known = newJob();
    await store.jobs.create(known);
    const attempt = await store.jobs.begin(known.id, START_MS);
    if (attempt === null) throw new Error('did not begin');
    const allow = await refuseInserts(lookAt(store.dir), 'jobs', how);
    const end = { state: 'succeeded', result: {}, error: null } as const;
    const turn = [store.jobs.finish(attempt.fence, end, START_MS), create(), create()];
    expect(new Set(await ends(turn))).toEqual(new Set(['rejected']));
    await allow();
    expect([await create(), await create()]).toEqual(['created', 'full']);
    await store.jobs.finish(attempt.fence, end, START_MS);
    expect([await create(), await create()]).toEqual(['created', 'full']);
  });

  test('does not spoil the next one: writes, changes and the queue go on', async () => {
    const store = openStore();
    const dispatcher = createSqliteDispatcher(store, { now: () => START_MS });
    const taken: string[] = [];
    const errors: unknown[] = [];
    const consumer = dispatcher.consume(
      async (id) => {
        taken.push(id);
        const attempt = await store.jobs.begin(id, START_MS);
        if (attempt !== null)
          await store.jobs.finish(attempt.fence, { state: 'succeeded', result: {}, error: null }, START_MS);
        return 'done';
      },
      { concurrency: 4, leaseMs: 10_000, onError: (error) => errors.push(error) },
    );
    await store.ping();
    const known = newJob({ id: 'job_known' });
    const file = lookAt(store.dir);
    for (const table of ['jobs', 'requests'] as const) {
      const allow = await refuseInserts(file, table, how);
      const bad = [
        store.requests.claim(newRequest()),
        store.jobs.create(newJob()),
        store.requests.claim(newRequest()),
      ];
      expect(await ends(bad)).toContain('rejected');
      await allow();
    }

    const heard: string[] = [];
    store.jobs.onChange((id, state) => heard.push(`${id} ${state}`));
    taken.length = 0;
    await store.jobs.create(known);
    expect((await untilEnded(store, known.id)).state).toBe('succeeded');
    await consumer.stop();
    expect(taken).toEqual([known.id]);
    expect(heard.at(-1)).toBe('job_known succeeded');
  });
});

describe('a file that cannot be read for a while', () => {
  test('rejects what is asked meanwhile, and the store goes on when it is back', async () => {
    const store = openStore();
    const known = newJob({ maxOpenJobs: 2 });
    await store.jobs.create(known);
    const file = lookAt(store.dir);
    await betweenTurns(() => file.exec('ALTER TABLE jobs RENAME TO lost'));
    const cancelled = { state: 'cancelled', result: null, error: 'x' } as const;
    for (let turn = 0; turn < 3; turn++) {
      const turns = [store.jobs.create(newJob()), store.jobs.end(known.id, cancelled, START_MS)];
      expect(new Set(await ends(turns))).toEqual(new Set(['rejected']));
    }
    await betweenTurns(() => file.exec('ALTER TABLE lost RENAME TO jobs'));
    const create = async () => (await store.jobs.create(newJob({ maxOpenJobs: 2 }))).outcome;
    expect([await create(), await create()]).toEqual(['created', 'full']);
    expect((await store.jobs.get(known.id))?.state).toBe('queued');
  });
});
