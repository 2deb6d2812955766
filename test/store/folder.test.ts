import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { SetupError } from '../../src/errors/index.ts';
import { openClientStore, openSqliteStore, type SqliteOptions } from '../../src/store/index.ts';
import { openDatabase } from '../../src/store/sqlite/driver.ts';
import { runChild } from '../support/child.ts';
import { clientRecord } from '../support/clients.ts';
import { START_MS } from '../support/clock.ts';
import { tempFolder } from '../support/temp.ts';
import { newJob, newRequest } from './new-records.ts';
import { openStore } from './open.ts';

/** Takes a file back to schema 2; each later one that adds something adds a line here. */
const UNDO_SINCE_2 = `
  ALTER TABLE clients DROP COLUMN token_hashes;
  ALTER TABLE clients DROP COLUMN algorithm;
  ALTER TABLE clients DROP COLUMN terms;
  ALTER TABLE clients DROP COLUMN revoked_ms;
  ALTER TABLE clients DROP COLUMN revision;
  DROP TABLE counters;
  DELETE FROM meta WHERE name = 'scrub';
  ALTER TABLE jobs DROP COLUMN questions;
  ALTER TABLE jobs DROP COLUMN answers;`;

function openClients(options: SqliteOptions) {
  const store = openClientStore(options);
  onTestFinished(() => store.close());
  return store;
}

/** The message of the SetupError that opening throws. */
function refusal(open: () => unknown): string {
  try {
    open();
  } catch (error) {
    expect(error).toBeInstanceOf(SetupError);
    return (error as SetupError).message;
  }
  throw new Error('it was not refused');
}

const mode = (path: string): string => (statSync(path).mode & 0o777).toString(8);

describe('a data folder', () => {
  test('keeps everything over a reopen', async () => {
    const store = openStore();
    const { dir } = store;
    const [job, request] = [newJob(), newRequest()];
    const outcome = { ok: true, status: 'ok', result: { n: 1 }, error: null } as const;
    await store.clients.add(clientRecord('a'));
    await store.requests.claim(request);
    await store.requests.finish(request.clientId, request.requestId, outcome);
    await store.jobs.create(job);
    const attempt = await store.jobs.begin(job.id, START_MS);
    if (attempt === null) throw new Error('did not begin');
    await store.jobs.progress(attempt.fence, { completed: 1 }, START_MS);
    await store.nonces.claim('a', 'nonce-01', Date.now());
    const before = await store.jobs.get(job.id);
    await store.close();

    const reopened = openStore({ dir });
    expect(await reopened.clients.list()).toEqual([clientRecord('a')]);
    expect((await reopened.requests.find(request.clientId, request.requestId))?.outcome).toEqual(outcome);
    expect(await reopened.jobs.get(job.id)).toEqual(before);
    expect(await reopened.jobs.finish(attempt.fence, { state: 'failed', result: null, error: 'x' }, 1)).toBe(
      true,
    );
    expect(await reopened.nonces.claim('a', 'nonce-01', Date.now())).toBe(false);
  });

  test('counts the open jobs of each client again after a reopen', async () => {
    const store = openStore();
    const { dir } = store;
    const all = [newJob(), newJob(), newJob()] as const;
    for (const job of all) await store.jobs.create(job);
    await store.jobs.begin(all[0].id, START_MS);
    await store.jobs.end(all[1].id, { state: 'cancelled', result: null, error: 'x' }, START_MS);
    await store.close();
    const { jobs } = openStore({ dir });
    const create = async (clientId: string) =>
      (await jobs.create(newJob({ request: newRequest({ clientId }), maxOpenJobs: 3 }))).outcome;
    expect([await create('agent-a'), await create('agent-a')]).toEqual(['created', 'full']);
    expect(await create('agent-b')).toBe('created');
  });

  test('of an older schema is brought up to date: what was queued has its place, and is counted', async () => {
    const store = openStore();
    const { dir } = store;
    const all = [newJob(), newJob(), newJob()] as const;
    for (const job of all) await store.jobs.create(job);
    const before = await Promise.all(all.map(({ id }) => store.jobs.get(id)));
    await store.close();
    const file = openDatabase(join(dir, 'waybill.db'));
    file.exec(`
      DROP INDEX jobs_by_turn;
      ALTER TABLE jobs DROP COLUMN priority;
      ${UNDO_SINCE_2}
      CREATE INDEX jobs_by_visible ON jobs (visible_ms) WHERE visible_ms IS NOT NULL;
      PRAGMA user_version = 1`);
    file.close();

    const { jobs, queue } = openStore({ dir });
    expect(await Promise.all(all.map(({ id }) => jobs.get(id)))).toEqual(before);
    expect(queue.ready(START_MS, 10, () => 10).map(({ id }) => id)).toEqual(all.map(({ id }) => id));
    expect((await jobs.create(newJob({ maxOpenJobs: 3 }))).outcome).toBe('full');
    expect((await jobs.create(newJob({ maxOpenJobs: 4 }))).outcome).toBe('created');
  });

  test('of a schema without tokens is brought up to date: each client has none, and can be given some', async () => {
    const store = openStore();
    const { dir } = store;
    await store.clients.add(clientRecord('a'));
    await store.close();
    const file = openDatabase(join(dir, 'waybill.db'));
    file.exec(`
      ${UNDO_SINCE_2}
      PRAGMA user_version = 2`);
    file.close();

    const { clients } = openStore({ dir });
    expect(await clients.list()).toEqual([clientRecord('a')]);
    const given = clientRecord('a', { tokenHashes: ['newest'] });
    expect(await clients.update(given)).toBe(true);
    expect(await clients.list()).toEqual([{ ...given, revision: 1 }]);
  });

  test('is made for its owner only, and so are the files that hold secrets', async () => {
    const dir = join(tempFolder(), 'deep/data');
    const store = openStore({ dir });
    await store.clients.add(clientRecord('a'));
    await store.nonces.claim('a', 'nonce-01', Date.now());
    expect(mode(dir)).toBe('700');
    const files = readdirSync(dir).filter((name) => !name.startsWith('server.lock'));
    expect(files).toEqual(expect.arrayContaining(['waybill.db', 'waybill.db-wal']));
    expect(files.some((name) => name.startsWith('nonces-'))).toBe(true);
    for (const name of files) expect([name, mode(join(dir, name))]).toEqual([name, '600']);
  });

  test('serves one server at a time; the other is told so', async () => {
    const store = openStore();
    const { dir } = store;
    expect(refusal(() => openSqliteStore({ dir, serverId: 'srv-1' }))).toContain(
      'belongs to another running server',
    );
    await store.ping();
    await store.close();
    openStore({ dir });
  });

  test('is held as long as its server lives, though nothing refers to the store, and free when it was killed', async () => {
    const dir = tempFolder();
    const script = `
      import { setFlagsFromString } from 'node:v8';
      import { runInNewContext } from 'node:vm';
      import { openSqliteStore } from 'DISTstore/index.js';
      (() => void openSqliteStore({ dir: process.argv[1], serverId: 'srv-1' }))();
      setFlagsFromString('--expose-gc');
      for (let i = 0; i < 5; i++) {
        runInNewContext('gc')();
        await new Promise(setImmediate);
      }
      console.log('open');
      process.stdin.resume();`;
    const child = runChild(script, [dir]);
    expect(await child.line()).toBe('open');
    expect(refusal(() => openSqliteStore({ dir }))).toContain('belongs to another running server');
    child.process.kill('SIGKILL');
    expect(await child.exited).toBe('SIGKILL');
    expect(openStore({ dir }).serverId).toBe('srv-1');
  });

  test('of a newer schema is refused and left as it is', async () => {
    const dir = tempFolder();
    const db = openDatabase(join(dir, 'waybill.db'));
    db.exec('PRAGMA user_version = 99');
    db.close();
    for (const open of [openSqliteStore, openClientStore]) {
      expect(refusal(() => open({ dir, serverId: 'srv-1' }))).toContain('use the newer waybill');
    }
    const again = openDatabase(join(dir, 'waybill.db'));
    expect(again.prepare('PRAGMA user_version').get()).toEqual({ user_version: 99 });
    expect(again.prepare('SELECT count(*) AS n FROM sqlite_schema').get()).toEqual({ n: 0 });
    again.close();
  });

  test('of another server is refused, by its name, and stays usable by its own', async () => {
    const store = openStore();
    const { dir } = store;
    await store.close();
    for (const open of [openSqliteStore, openClientStore]) {
      const message = refusal(() => open({ dir, serverId: 'srv-2' }));
      expect(message).toContain('belongs to server "srv-1"');
      expect(message).toContain('--server-id');
    }
    expect(openStore({ dir }).serverId).toBe('srv-1');
  });

  test('gives its own id to who names none; a new one must be named', async () => {
    const dir = tempFolder();
    expect(refusal(() => openClientStore({ dir }))).toContain('has no server id yet');
    const named = openStore({ dir, serverId: undefined, defaultServerId: 'fallback' });
    expect(named.serverId).toBe('fallback');
    await named.close();
    expect(openStore({ dir, serverId: undefined, defaultServerId: 'other' }).serverId).toBe('fallback');
    expect(openClients({ dir }).serverId).toBe('fallback');
  });

  test.each([
    ['its parent is a file', (dir: string) => writeFileSync(dir, ''), 'sub'],
    ['it is a file', (dir: string) => writeFileSync(dir, ''), ''],
    [
      'its database is something else',
      (dir: string) => {
        mkdirSync(dir);
        writeFileSync(join(dir, 'waybill.db'), 'no database, but long enough to be looked at'.repeat(100));
      },
      '',
    ],
    [
      'a folder stands where its database should',
      (dir: string) => mkdirSync(join(dir, 'waybill.db'), { recursive: true }),
      '',
    ],
    [
      'a nonce journal is something else',
      (dir: string) => {
        mkdirSync(dir);
        writeFileSync(join(dir, 'nonces-1.log'), 'this is no journal');
      },
      '',
    ],
  ])('that cannot be used is refused with its path: %s', (_what, spoil, sub) => {
    const path = join(tempFolder(), 'data');
    spoil(path);
    const dir = join(path, sub);
    expect(refusal(() => openSqliteStore({ dir, serverId: 'srv-1' }))).toContain(path);
  });

  test('that was refused is not kept locked', () => {
    const dir = tempFolder();
    const journal = join(dir, 'nonces-1.log');
    writeFileSync(journal, 'this is no journal');
    refusal(() => openSqliteStore({ dir, serverId: 'srv-1' }));
    expect(readFileSync(journal, 'utf8')).toBe('this is no journal');
    writeFileSync(journal, '');
    openStore({ dir });
  });
});

describe('a second process beside the server', () => {
  const ADD = `
    import { openClientStore } from 'DISTstore/index.js';
    const [dir, id] = process.argv.slice(1);
    const store = openClientStore({ dir, serverId: 'srv-1' });
    console.log(await store.clients.add({ ...${JSON.stringify(clientRecord(''))}, id }));
    await store.close();`;

  test('adds a client, and the server sees that clients have changed', async () => {
    const store = openStore();
    await store.clients.add(clientRecord('a'));
    const before = await store.clients.version();
    const child = runChild(ADD, [store.dir, 'b']);
    expect(await child.line()).toBe('true');
    expect(await child.exited).toBe(0);
    expect(await store.clients.version()).not.toBe(before);
    expect(await store.clients.list()).toEqual([clientRecord('a'), clientRecord('b')]);
    const after = await store.clients.version();
    await store.requests.claim(newRequest());
    expect(await store.clients.version()).toBe(after);
  });

  test('leaves the server’s own writes as durable as before', async () => {
    const store = openStore();
    const child = runChild(ADD, [store.dir, 'b']);
    const jobs = Array.from({ length: 50 }, () => newJob());
    for (const job of jobs) await store.jobs.create(job);
    expect(await child.exited).toBe(0);
    const late = newJob();
    await store.jobs.create(late);
    const other = openDatabase(join(store.dir, 'waybill.db'));
    expect(other.prepare('SELECT count(*) AS n FROM jobs').get()).toEqual({ n: jobs.length + 1 });
    other.close();
  });

  test('several that meet in a new folder all come through', async () => {
    const dir = tempFolder();
    const children = ['a', 'b', 'c', 'd'].map((id) => runChild(ADD, [dir, id]));
    const store = openStore({ dir });
    expect(await Promise.all(children.map(({ line }) => line()))).toEqual(['true', 'true', 'true', 'true']);
    expect((await store.clients.list()).map(({ id }) => id)).toEqual(['a', 'b', 'c', 'd']);
  });
});
