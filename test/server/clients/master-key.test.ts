import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client } from 'pg';
import { describe, expect, onTestFinished, test } from 'vitest';
import { SetupError } from '../../../src/errors/index.ts';
import { openMaster } from '../../../src/server/clients/master-key.ts';
import { isSealed } from '../../../src/server/clients/sealer.ts';
import { openClientStore } from '../../../src/store/index.ts';
import { openPostgresClients } from '../../../src/store/postgres/open.ts';
import { openDatabase } from '../../../src/store/sqlite/driver.ts';
import { generateSecret } from '../../../src/wire/index.ts';
import { openStore } from '../../store/open.ts';
import { runChild } from '../../support/child.ts';
import { clientRecord } from '../../support/clients.ts';
import { createTestLog } from '../../support/log.ts';
import { postgresUrl } from '../../support/services/shared.ts';
import { startServer } from '../../support/server.ts';
import { tempFolder } from '../../support/temp.ts';

/** The clients of a folder, closed when the test ends. */
function clientsIn(dir: string) {
  const store = openClientStore({ dir, serverId: 'srv-1' });
  onTestFinished(() => store.close());
  return store.clients;
}

const master = (dir: string, given?: string) => openMaster(clientsIn(dir), given, dir);
const keyFile = (dir: string) => join(dir, 'master.key');

describe('the master key of a folder', () => {
  test('is made once, for its owner only, and found again', async () => {
    const dir = tempFolder();
    const first = await master(dir);
    expect(first.madeFile).toBe(keyFile(dir));
    expect(statSync(keyFile(dir)).mode & 0o777).toBe(0o600);
    expect(readFileSync(keyFile(dir), 'utf8')).toMatch(/^wb_[A-Za-z0-9_-]{43}[0-9a-f]{8}\n$/);
    const second = await master(dir);
    expect(second.madeFile).toBeNull();
    expect(second.sealer.mark).toBe(first.sealer.mark);
    expect(readdirSync(dir).filter((name) => name.startsWith('master'))).toEqual(['master.key']);
  });

  test('may be given: then no file is made', async () => {
    const dir = tempFolder();
    const given = generateSecret();
    const { sealer } = await master(dir, given);
    expect(readdirSync(dir)).not.toContain('master.key');
    expect((await master(dir, given)).sealer.mark).toBe(sealer.mark);
  });

  test('that is lost is missed, in words, and not made anew', async () => {
    const dir = tempFolder();
    await master(dir);
    rmSync(keyFile(dir));
    await expect(master(dir)).rejects.toThrow(
      /are sealed, and there is no master key in .*master\.key: bring/,
    );
    expect(readdirSync(dir)).not.toContain('master.key');
  });

  test('that is another one is refused, by marks alone, and changes nothing', async () => {
    const dir = tempFolder();
    const { sealer } = await master(dir);
    const wrong = generateSecret();
    const refused = master(dir, wrong);
    await expect(refused).rejects.toThrow(/are sealed under another master key \(mark /);
    await expect(refused).rejects.toBeInstanceOf(SetupError);
    await expect(refused).rejects.not.toThrow(wrong);
    expect(await clientsIn(dir).sealMark()).toBe(sealer.mark);
  });

  test.each([
    ['is empty', '', /is shorter than 32 bytes/],
    ['is short', 'open sesame\n', /is shorter than 32 bytes/],
    ['repeats itself', `${'ab'.repeat(40)}\n`, /repeats itself/],
    ['was mistyped', `${generateSecret().slice(0, -1)}x\n`, /wrong (length|checksum)/],
    ['is a token', 'wbt_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA00000000\n', /is a bearer token/],
  ])('in a file that %s is refused without being shown, and nothing is sealed', async (_how, text, words) => {
    const dir = tempFolder();
    writeFileSync(keyFile(dir), text, { mode: 0o600 });
    const refused = master(dir);
    await expect(refused).rejects.toThrow(words);
    await expect(refused).rejects.toThrow(keyFile(dir));
    if (text !== '') await expect(refused).rejects.not.toThrow(text.trim());
    expect(await clientsIn(dir).sealMark()).toBeNull();
  });

  test.skipIf(process.platform === 'win32')('in a file that others may read is refused', async () => {
    const dir = tempFolder();
    await master(dir);
    for (const mode of [0o640, 0o604]) {
      chmodSync(keyFile(dir), mode);
      await expect(master(dir)).rejects.toThrow(`is open to other users (mode ${mode.toString(8)})`);
    }
  });

  test('where a folder stands in its place is refused', async () => {
    const dir = tempFolder();
    mkdirSync(keyFile(dir), { mode: 0o700 });
    await expect(master(dir)).rejects.toThrow(/cannot read the master key/);
  });

  test('is the same for all processes that meet in a new folder', async () => {
    const dir = tempFolder();
    const script = `
      import { openMaster } from 'DISTserver/clients/master-key.js';
      import { openClientStore } from 'DISTstore/index.js';
      const store = openClientStore({ dir: process.argv[1], serverId: 'srv-1' });
      console.log('ready');
      process.stdin.once('data', async () => {
        const { sealer, madeFile } = await openMaster(store.clients, undefined, process.argv[1]);
        console.log(JSON.stringify([sealer.mark, madeFile !== null]));
        process.exit();
      });`;
    const children = [1, 2, 3].map(() => runChild(script, [dir]));
    for (const child of children) expect(await child.line()).toBe('ready');
    for (const child of children) child.process.stdin?.write('go\n');
    const said = await Promise.all(
      children.map(async ({ line }) => JSON.parse(await line()) as [mark: string, made: boolean]),
    );
    expect(new Set(said.map(([mark]) => mark)).size).toBe(1);
    expect(said.filter(([, made]) => made)).toHaveLength(1);
  });

  test('of two folders on one store, that of the first holds; the other file goes again', async () => {
    const dir = tempFolder();
    const [one, two] = [tempFolder(), tempFolder()];
    const clients = clientsIn(dir);
    const late = { ...clients, sealMark: async () => null };
    await openMaster(clients, undefined, one);
    // It asked before there was a mark.
    await expect(openMaster(late, undefined, two)).rejects.toThrow(/another master key/);
    expect([readdirSync(one), readdirSync(two)]).toEqual([['master.key'], []]);
  });
});

describe('secrets that lie open, from before there was a master key', () => {
  const SECRETS = ['an-open-request-key-of-old', 'an-open-response-key-of-old', 'a-request-key-before-that'];
  const [request = '', response = '', older = ''] = SECRETS;

  /** A folder as an older waybill left it, with copies in pages that nothing points at any more. */
  async function oldFolder(): Promise<string> {
    const dir = tempFolder();
    const store = openClientStore({ dir, serverId: 'srv-1' });
    const filler = 'x'.repeat(500);
    for (let n = 0; n < 50; n++)
      await store.clients.add(
        clientRecord(`c-${n}`, { keys: [{ request: `${request}${n}`, response: `${response}${filler}` }] }),
      );
    await store.clients.add(
      clientRecord('rotating', {
        keys: [
          { request, response },
          { request: older, response },
        ],
      }),
    );
    await store.close();
    const db = openDatabase(join(dir, 'waybill.db'));
    db.exec(`
      DELETE FROM clients WHERE id LIKE 'c-4%';
      INSERT INTO meta (name, value) VALUES ('scrub', 'clients')`);
    db.close();
    return dir;
  }

  /** Which of them are in the bytes of any file of the folder. */
  function found(dir: string): string[] {
    const files = readdirSync(dir, { recursive: true, encoding: 'utf8' })
      .map((name) => join(dir, name))
      .filter((path) => statSync(path).isFile())
      .map((path) => readFileSync(path));
    return SECRETS.filter((secret) => files.some((bytes) => bytes.includes(secret)));
  }

  test('are sealed when the key is first opened, and leave no copy in any file, also while it is open', async () => {
    const dir = await oldFolder();
    expect(found(dir)).toEqual(SECRETS);
    const clients = clientsIn(dir);
    const { sealer } = await openMaster(clients, undefined, dir);
    expect(found(dir)).toEqual([]);
    for (const { id, keys } of await clients.list()) {
      for (const pair of keys) expect([pair.request, pair.response].every(isSealed)).toBe(true);
      if (id !== 'rotating') continue;
      const opened = keys.map((pair) => [
        sealer.open(id, 'request', pair.request),
        sealer.open(id, 'response', pair.response),
      ]);
      expect(opened).toEqual([
        [request, response],
        [older, response],
      ]);
    }
  });

  test('stay good: who has them is served as before', async () => {
    const dir = await oldFolder();
    const credential = {
      client_id: 'rotating',
      server_id: 'srv-1',
      url: '',
      request_key: request,
      response_key: response,
    };
    const peer = await startServer({ dir, credential });
    expect((await peer.call('server_identity')).ok).toBe(true);
    expect((await peer.as({ ...credential, request_key: older }).call('server_identity')).ok).toBe(true);
    expect(found(dir)).toEqual([]);
  });

  test('are sealed by the next start, if the first one ended between the mark and the sealing', async () => {
    const dir = await oldFolder();
    const clients = clientsIn(dir);
    let updates = 0;
    const dying = {
      ...clients,
      update: async (client: Parameters<typeof clients.update>[0]) => {
        if (++updates > 3) throw new Error('killed');
        return clients.update(client);
      },
    };
    await expect(openMaster(dying, undefined, dir)).rejects.toThrow('killed');
    expect(found(dir)).not.toEqual([]);
    await openMaster(clients, undefined, dir);
    expect(found(dir)).toEqual([]);
  });

  test('are wiped by the next start, if a program was reading while they were sealed', async () => {
    const dir = await oldFolder();
    const db = openDatabase(join(dir, 'waybill.db'));
    db.exec('BEGIN');
    db.prepare('SELECT count(*) FROM clients').get();
    const store = openStore({ dir });
    const log = createTestLog();
    await openMaster(store.clients, undefined, dir, log);
    expect(log.complaints.map(({ message }) => message)).toEqual([
      expect.stringContaining('the next start tries again'),
    ]);
    expect(found(dir)).not.toEqual([]);
    await store.close();
    db.exec('COMMIT');
    db.close();
    await master(dir);
    expect(found(dir)).toEqual([]);
  });

  test('that are changed at the same moment are sealed all the same', async () => {
    const dir = await oldFolder();
    const clients = clientsIn(dir);
    let meddled = false;
    const busy = {
      ...clients,
      update: async (client: Parameters<typeof clients.update>[0]) => {
        if (!meddled) {
          meddled = true;
          const now = await clients.get(client.id);
          if (now !== null) await clients.update({ ...now, tokenHashes: ['given-meanwhile'] });
        }
        return clients.update(client);
      },
    };
    await openMaster(busy, undefined, dir);
    const all = await clients.list();
    expect(all.filter(({ keys }) => !keys.every(({ request: each }) => isSealed(each)))).toEqual([]);
    expect(all.filter(({ tokenHashes }) => tokenHashes.length === 1)).toHaveLength(1);
  });
});

test('on PostgreSQL, secrets that lie open are sealed by servers that start at once, and the table is written anew', {
  tags: ['postgres'],
}, async () => {
  const url = await postgresUrl();
  const log = createTestLog();
  const stores = await Promise.all([1, 2, 3].map(() => openPostgresClients({ url, serverId: 'srv-1', log })));
  onTestFinished(async () => void (await Promise.all(stores.map((store) => store.close()))));
  const [{ clients }] = stores as [(typeof stores)[number]];
  for (const id of ['a', 'b'])
    await clients.add(clientRecord(id, { keys: [{ request: 'q', response: 'p' }] }));
  const database = new Client({ connectionString: url });
  await database.connect();
  onTestFinished(() => database.end());
  await database.query(`INSERT INTO waybill.meta VALUES ('scrub', 'clients')`);
  const fileOf = async () =>
    (await database.query(`SELECT pg_relation_filenode('waybill.clients') AS file`)).rows[0].file;
  const before = await fileOf();
  const key = generateSecret();
  await Promise.all(stores.map((store) => openMaster(store.clients, key, '', log)));
  expect(await fileOf()).not.toBe(before);
  expect((await database.query(`SELECT FROM waybill.meta WHERE name = 'scrub'`)).rowCount).toBe(0);
  const { sealer } = await openMaster(clients, key, '');
  for (const { id, keys, revision } of await clients.list()) {
    expect(isSealed(keys[0].request) && isSealed(keys[0].response)).toBe(true);
    expect(sealer.open(id, 'request', keys[0].request)).toBe('q');
    expect(revision).toBeGreaterThanOrEqual(1);
  }
  expect(log.complaints).toEqual([]);
  await expect(openMaster(clients, generateSecret(), '')).rejects.toThrow(/under another master key/);
});

test('a client whose record was changed is refused, and the others are served', async () => {
  const peer = await startServer();
  const bob = await peer.addClient('bob');
  const clients = clientsIn(peer.dir);
  const record = await clients.get('bob');
  if (record === null) throw new Error('bob is not there');
  const [{ request, response }] = record.keys;
  // The keys in each other's places: whoever holds the one must not become the other.
  await clients.update({ ...record, keys: [{ request: response, response: request }] });
  const complained = () => peer.log.complaints.some(({ fields }) => fields['client_id'] === 'bob');
  await expect.poll(complained).toBe(true);
  const { body } = await peer.send(peer.as(bob).request('server_identity'));
  expect(JSON.parse(body)).toMatchObject({ ok: false, signature: '' });
  expect((await peer.call('server_identity')).ok).toBe(true);
  expect(JSON.stringify(peer.log.lines)).not.toContain(bob.request_key);
});
