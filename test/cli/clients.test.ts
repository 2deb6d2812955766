import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { parseCredential } from '../../src/client/index.ts';
import { addClient, addToken } from '../../src/server/clients/clients.ts';
import { openKeyRing } from '../../src/server/clients/key-ring.ts';
import { createServer } from '../../src/server/index.ts';
import { openMaster } from '../../src/server/clients/master-key.ts';
import { openDatabase } from '../../src/store/sqlite/driver.ts';
import { fingerprintOf } from '../../src/wire/algorithms.ts';
import { mistakeIn } from '../../src/wire/secret.ts';
import { openStore } from '../store/open.ts';
import { createTestLog } from '../support/log.ts';
import { tempFolder } from '../support/temp.ts';
import { assertWrongUse, serve, snapshot, waybill } from './waybill.ts';

describe('waybill clients add', () => {
  test('prints a credential once, that a running server believes', async () => {
    const cwd = tempFolder();
    const { url } = await serve(cwd, '--server-id', 'one', '--data', 'd');
    const added = await waybill(
      ['clients', 'add', 'alice', '--server-id', 'one', '--data', 'd', '--url', url],
      { cwd },
    );
    expect(added.code).toBe(0);
    const credential = parseCredential(added.stdout);
    expect(credential).toMatchObject({ client_id: 'alice', server_id: 'one', url });
    expect(credential.request_key).toMatch(/^wb_/);
    expect(credential.response_key).not.toBe(credential.request_key);
    writeFileSync(join(cwd, 'alice.json'), added.stdout, { mode: 0o600 });
    const called = await waybill(
      ['call', 'batch_sum', '{"numbers":[1,2]}', '--credential', 'alice.json', '--json'],
      { cwd },
    );
    expect(called).toEqual({ code: 0, stdout: '{"count":2,"total":3}\n', stderr: '' });
  });

  test('--json prints it as one line; --out writes it for its owner only and prints no secret', async () => {
    const cwd = tempFolder();
    const [json, out] = await Promise.all([
      waybill(['clients', 'add', 'a', '--json'], { cwd }),
      waybill(['clients', 'add', 'b', '--json', '--out', 'b.json'], { cwd }),
    ]);
    expect(json).toMatchObject({ code: 0, stderr: '' });
    expect(json.stdout).toMatch(/^[^\n]+\n$/);
    expect(parseCredential(json.stdout)).toMatchObject({ client_id: 'a', url: 'http://127.0.0.1:8080/call' });
    const written = parseCredential(readFileSync(join(cwd, 'b.json'), 'utf8'));
    expect(statSync(join(cwd, 'b.json')).mode & 0o777).toBe(0o600);
    expect(out).toMatchObject({ code: 0, stderr: '' });
    expect(JSON.parse(out.stdout)).toEqual({
      client_id: 'b',
      server_id: 'waybill',
      url: written.url,
      file: 'b.json',
    });
  });

  test('an origin alone stands for its /call; any other address stays as it is said', async () => {
    const cwd = tempFolder();
    for (const [i, [said, meant]] of [
      ['http://127.0.0.1:7411', 'http://127.0.0.1:7411/call'],
      ['https://acme.example', 'https://acme.example/call'],
      ['https://acme.example/', 'https://acme.example/'],
      ['https://acme.example/tools/v1', 'https://acme.example/tools/v1'],
    ].entries()) {
      const { stdout } = await waybill(['clients', 'add', `c${i}`, '--url', String(said)], { cwd });
      expect(parseCredential(stdout).url).toBe(meant);
    }
  });

  test('--out says where the client will look for the server', async () => {
    const url = 'https://acme.example/call';
    const args = ['clients', 'add', 'a', '--server-id', 'acme', '--url', url, '--out', 'a.json'];
    expect((await waybill(args, { cwd: tempFolder() })).stdout).toBe(
      `a.json is the credential of client a for server acme at ${url}\n`,
    );
  });

  test('takes two secrets of the operator’s own, without the line feed at the end of their files', async () => {
    const cwd = tempFolder();
    const secrets = { request: 'Zq3-vV8_kL2.xN7+tB5/rM9=wJ4~hG6*', response: ' pass phrase\twith spaces ' };
    writeFileSync(join(cwd, 'request'), `${secrets.request}\n`, { mode: 0o600 });
    writeFileSync(join(cwd, 'response'), `${secrets.response}\r\n`, { mode: 0o600 });
    const env = { WAYBILL_REQUEST_KEY_FILE: 'request', WAYBILL_RESPONSE_KEY_FILE: 'response' };
    const added = await waybill(['clients', 'add', 'a', '--allow-weak-key', '--json'], { cwd, env });
    expect(JSON.parse(added.stdout)).toMatchObject({
      request_key: secrets.request,
      response_key: secrets.response,
    });
  });

  test('refuses an id that is taken, and takes back the file that it made', async () => {
    const cwd = tempFolder();
    await waybill(['clients', 'add', 'a', '--out', 'a.json'], { cwd });
    const before = readFileSync(join(cwd, 'a.json'), 'utf8');
    const again = await waybill(['clients', 'add', 'a', '--out', 'second.json'], { cwd });
    expect(again).toEqual({
      code: 2,
      stdout: '',
      stderr: 'waybill: client a exists already: choose another id\n',
    });
    expect(() => statSync(join(cwd, 'second.json'))).toThrow('ENOENT');
    expect(readFileSync(join(cwd, 'a.json'), 'utf8')).toBe(before);
  });
});

describe('waybill clients list', () => {
  test('and doctor name a client whose record is damaged, and list the others', async () => {
    const cwd = tempFolder();
    const server = await createServer({ tools: [], store: `sqlite:${join(cwd, 'd')}`, serverId: 'one' });
    for (const id of ['bob', 'eve']) await server.addClient({ id, url: 'http://x/' });
    await server.close();
    const db = openDatabase(join(cwd, 'd/waybill.db'));
    db.exec(`UPDATE clients SET terms = '{' WHERE id = 'eve'`);
    db.close();
    const [list, doctor] = await Promise.all([
      waybill(['clients', 'list', '--data', 'd'], { cwd }),
      waybill(['doctor', '--data', 'd'], { cwd }),
    ]);
    expect(list.stdout).toMatch(/^bob .*\n$/);
    expect(list.stderr).toContain('the record of client eve is damaged: no server believes it');
    expect(doctor.code).not.toBe(0);
    expect(doctor.stdout).toContain('the record of eve is damaged: no server believes it');
  });

  test('lists the clients of a folder beside its server, with fingerprints and without secrets', async () => {
    const cwd = tempFolder();
    const server = await createServer({ tools: [], store: `sqlite:${join(cwd, 'd')}`, serverId: 'one' });
    const { request_key, response_key } = await server.addClient({ id: 'bob', url: 'http://x/' });
    const [text, json] = await Promise.all([
      waybill(['clients', 'list', '--data', 'd'], { cwd }),
      waybill(['clients', 'list', '--data', 'd', '--json'], { cwd }),
    ]);
    await server.close();
    expect(text).toMatchObject({ code: 0, stderr: '' });
    expect(text.stdout).toMatch(/^bob {2}\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC {2}[0-9a-f]{32}\n$/);
    expect(JSON.parse(json.stdout)).toEqual({
      server_id: 'one',
      clients: [
        {
          client_id: 'bob',
          algorithm: 'hmac-sha256',
          created_ms: expect.any(Number),
          revoked_ms: null,
          expires_ms: null,
          scopes: ['*'],
          calls_per_minute: null,
          max_open_jobs: null,
          jobs_per_day: null,
          note: '',
          fingerprint: fingerprintOf(response_key),
          keys: [
            {
              key_id: fingerprintOf(request_key),
              fingerprint: fingerprintOf(response_key),
            },
          ],
          tokens: 0,
        },
      ],
    });
    for (const secret of [request_key, response_key]) expect(text.stdout + json.stdout).not.toContain(secret);
  });
});

describe('waybill clients token', () => {
  /** A folder with the data of clients a and b in `d`. */
  async function withClients(): Promise<string> {
    const cwd = tempFolder();
    for (const id of ['a', 'b']) await waybill(['clients', 'add', id, '--data', 'd'], { cwd });
    return cwd;
  }

  /** What a server that opens the folder takes each token for. */
  async function ownersOf(cwd: string, tokens: readonly string[]): Promise<(string | null)[]> {
    const store = openStore({ dir: join(cwd, 'd'), serverId: 'waybill' });
    const { sealer } = await openMaster(store.clients, undefined, store.dir);
    const ring = await openKeyRing(store, sealer, createTestLog());
    onTestFinished(() => ring.stop());
    await store.close();
    return tokens.map((token) => ring.findByToken(token)?.client.id ?? null);
  }

  test('prints a token of the client with a note; the one before it stays good, the one before that does not', async () => {
    const cwd = await withClients();
    const tokens: string[] = [];
    for (let i = 0; i < 3; i++) {
      const given = await waybill(['clients', 'token', 'a', '--data', 'd'], { cwd });
      expect(given).toMatchObject({
        code: 0,
        stderr: 'This token is not shown again; --out writes it to a file that only you can read.\n',
      });
      expect(given.stdout).toMatch(/^[^\n]+\n$/);
      tokens.push(given.stdout.trim());
    }
    expect(tokens.map((token) => mistakeIn(token, 'token'))).toEqual([null, null, null]);
    expect(await ownersOf(cwd, tokens)).toEqual([null, 'a', 'a']);
  });

  test('beside a running server', async () => {
    const cwd = tempFolder();
    const store = openStore({ dir: join(cwd, 'd'), serverId: 'waybill' });
    await waybill(['clients', 'add', 'a', '--data', 'd'], { cwd });
    const { sealer } = await openMaster(store.clients, undefined, store.dir);
    const ring = await openKeyRing(store, sealer, createTestLog());
    onTestFinished(() => ring.stop());
    const { stdout } = await waybill(['clients', 'token', 'a', '--data', 'd'], { cwd });
    await expect.poll(() => ring.findByToken(stdout.trim())?.client.id).toBe('a');
    await waybill(['clients', 'token', 'a', '--data', 'd', '--revoke'], { cwd });
    await expect.poll(() => ring.findByToken(stdout.trim())).toBeNull();
  });

  test('--json prints it as one line; --out writes it for its owner only and prints no secret', async () => {
    const cwd = await withClients();
    const json = await waybill(['clients', 'token', 'a', '--data', 'd', '--json'], { cwd });
    const text = await waybill(['clients', 'token', 'b', '--data', 'd', '--out', 'b.token'], { cwd });
    const both = await waybill(['clients', 'token', 'b', '--data', 'd', '--out', 'c.token', '--json'], {
      cwd,
    });
    expect(json).toMatchObject({ code: 0, stderr: '' });
    expect(json.stdout).toMatch(/^[^\n]+\n$/);
    const { token, ...rest } = JSON.parse(json.stdout);
    expect(rest).toEqual({ client_id: 'a' });
    expect(text).toEqual({ code: 0, stdout: 'b.token is a bearer token of client b\n', stderr: '' });
    expect(both).toEqual({ code: 0, stdout: '{"client_id":"b","file":"c.token"}\n', stderr: '' });
    const written = ['b.token', 'c.token'].map((name) => readFileSync(join(cwd, name), 'utf8'));
    for (const name of ['b.token', 'c.token']) expect(statSync(join(cwd, name)).mode & 0o777).toBe(0o600);
    for (const each of written) expect(each).toMatch(/^wbt_[^\n]+\n$/);
    expect(await ownersOf(cwd, [token, ...written.map((each) => each.trim())])).toEqual(['a', 'b', 'b']);
  });

  test('--revoke takes all tokens of the client, and no other’s', async () => {
    const cwd = await withClients();
    const tokens: string[] = [];
    for (const id of ['a', 'a', 'b'])
      tokens.push((await waybill(['clients', 'token', id, '--data', 'd'], { cwd })).stdout.trim());
    const revoked = await waybill(['clients', 'token', 'a', '--data', 'd', '--revoke'], { cwd });
    const again = await waybill(['clients', 'token', 'a', '--data', 'd', '--revoke', '--json'], { cwd });
    expect(revoked).toEqual({
      code: 0,
      stdout: 'client a has no token any more; its keys stay\n',
      stderr: '',
    });
    expect(again).toEqual({ code: 0, stdout: '{"client_id":"a","tokens":0}\n', stderr: '' });
    expect(await ownersOf(cwd, tokens)).toEqual([null, null, 'b']);
  });

  test('finds the store by --store and --store-file too', async () => {
    const cwd = await withClients();
    writeFileSync(join(cwd, 'url'), 'sqlite:d\n', { mode: 0o600 });
    const tokens: string[] = [];
    for (const place of [
      ['--store', 'sqlite:d'],
      ['--store-file', 'url'],
    ])
      tokens.push((await waybill(['clients', 'token', 'a', ...place], { cwd })).stdout.trim());
    expect(await ownersOf(cwd, tokens)).toEqual(['a', 'a']);
  });

  test('how many a client has stands in the list, without the tokens', async () => {
    const cwd = tempFolder();
    const store = openStore({ dir: join(cwd, 'd') });
    const { sealer } = await openMaster(store.clients, undefined, store.dir);
    for (const id of ['a', 'b', 'c']) await addClient({ store, sealer }, { id, url: 'http://x/' });
    const tokens = [await addToken(store, 'a'), await addToken(store, 'c'), await addToken(store, 'c')];
    const hashes = (await store.clients.list()).flatMap(({ tokenHashes }) => tokenHashes);
    const text = await waybill(['clients', 'list', '--data', 'd'], { cwd });
    const json = await waybill(['clients', 'list', '--data', 'd', '--json'], { cwd });
    expect(text.stdout).toMatch(
      /^a .* [0-9a-f]{32} {2}1 token\nb .* [0-9a-f]{32}\nc .* [0-9a-f]{32} {2}2 tokens\n$/,
    );
    expect(JSON.parse(json.stdout)).toMatchObject({ clients: [{ tokens: 1 }, { tokens: 0 }, { tokens: 2 }] });
    for (const secret of [...tokens, ...hashes]) expect(text.stdout + json.stdout).not.toContain(secret);
  });

  test('is refused in one line for an unknown client, a missing folder, a file that is there; nothing changes', async () => {
    const cwd = await withClients();
    const token = (await waybill(['clients', 'token', 'a', '--data', 'd'], { cwd })).stdout.trim();
    writeFileSync(join(cwd, 'there'), 'mine');
    const before = snapshot(cwd);
    const unknown = /^waybill: there is no client nobody: add it first\n$/;
    const cases: readonly (readonly [string, RegExp])[] = [
      ['nobody --data d', unknown],
      ['nobody --data d --out new.token', unknown],
      ['nobody --data d --revoke', unknown],
      ['a --data missing', /missing holds no data of a server: name its folder with --data/],
      ['a --data missing --revoke', /missing holds no data of a server/],
      ['a --data d --out there', /cannot write there: it exists already; name a new file/],
      ['a --data d --out no/folder', /cannot write no\/folder: make its folder first/],
      ['a --data d --revoke --out new.token', /'--revoke' cannot be used with option '--out <file>'/],
      ['not/an/id! --data d', /id 'not\/an\/id!' must be 1-128 of/],
      ['--data d', /missing required argument 'id'/],
    ];
    for (const [line, message] of cases)
      assertWrongUse(await waybill(['clients', 'token', ...line.split(' ')], { cwd }), message);
    expect(snapshot(cwd)).toEqual(before);
    expect(await ownersOf(cwd, [token])).toEqual(['a']);
  });
});
