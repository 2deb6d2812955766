import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { expiry } from '../../src/cli/clients/terms-options.ts';
import { tempFolder } from '../support/temp.ts';
import { assertWrongUse, serve, snapshot, waybill } from './waybill.ts';

const DAY_MS = 86_400_000;

/** A folder with client a, whose credential is in `a.json`. */
async function withClient(...options: string[]): Promise<string> {
  const cwd = tempFolder();
  expect(await waybill(['clients', 'add', 'a', '--out', 'a.json', ...options], { cwd })).toMatchObject({
    code: 0,
    stderr: '',
  });
  return cwd;
}

const show = async (cwd: string, id = 'a') =>
  JSON.parse((await waybill(['clients', 'show', id, '--json'], { cwd })).stdout);

const jsonIn = (cwd: string, name: string) => JSON.parse(readFileSync(join(cwd, name), 'utf8'));

describe('waybill clients set and show', () => {
  test('terms are given with the client and changed one by one; what is not named stays', async () => {
    const beforeMs = Date.now();
    const cwd = await withClient(
      ...['--scope', 'report.*', '--scope', 'echo', '--calls-per-minute', '60', '--max-open-jobs', '2'],
      ...['--jobs-per-day', '9', '--expires', '90d', '--note', 'trial ☃'],
    );
    const given = await show(cwd);
    expect(given).toMatchObject({
      client_id: 'a',
      scopes: ['report.*', 'echo'],
      calls_per_minute: 60,
      max_open_jobs: 2,
      jobs_per_day: 9,
      note: 'trial ☃',
    });
    expect(given.expires_ms).toBeGreaterThanOrEqual(beforeMs + 90 * DAY_MS);
    expect(given.expires_ms).toBeLessThanOrEqual(Date.now() + 90 * DAY_MS);
    const set = (...args: string[]) => waybill(['clients', 'set', 'a', ...args], { cwd });
    expect(await set('--calls-per-minute', 'none', '--expires', 'never')).toEqual({
      code: 0,
      stdout: 'client a has its new terms; "waybill clients show a" shows them\n',
      stderr: '',
    });
    expect(await show(cwd)).toEqual({ ...given, calls_per_minute: null, expires_ms: null });
    const json = await set('--scope', '*', '--note', '', '--json');
    expect(JSON.parse(json.stdout)).toMatchObject({
      client_id: 'a',
      scopes: ['*'],
      note: '',
      jobs_per_day: 9,
    });
  });

  test('shows everything but secrets, for people', async () => {
    const cwd = await withClient('--expires', '2099-12-31', '--note', 'two\nlines \u001b[31m');
    const { request_key, response_key } = jsonIn(cwd, 'a.json');
    const { stdout, stderr, code } = await waybill(['clients', 'show', 'a'], { cwd });
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout.replace(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC(?=\nexpires)/, 'NOW')).toMatch(
      /^client +a\nadded +NOW\nexpires +2099-12-31 00:00:00 UTC\nalgorithm +hmac-sha256\nkeys +fingerprint [0-9a-f]{32}, key id [0-9a-f]{32}\ntokens +0\nscopes +\*\ncalls per minute +none\nmax open jobs +none\njobs per day +none\nnote +two lines \?\[31m\n$/,
    );
    for (const secret of [request_key, response_key]) expect(stdout).not.toContain(secret);
  });

  test('what cannot be meant is refused in one line, and nothing is changed', async () => {
    const cwd = await withClient();
    const before = snapshot(cwd);
    const cases: readonly (readonly [string[], RegExp])[] = [
      [['set', 'a'], /name what to change; see "waybill clients set --help"/],
      [['set', 'nobody', '--note', 'x'], /there is no client nobody: add it first/],
      [['set', 'a', '--scope', 'two words'], /scope "two words" matches nothing/],
      [['set', 'a', '--scope', ''], /It must not be empty/],
      [['set', 'a', '--calls-per-minute', '0'], /must be a whole number from 1 to \d+, or none/],
      [['set', 'a', '--expires', '2020-01-01'], /must be in the future, and 2020-01-01 00:00:00 UTC is not/],
      [['set', 'a', '--expires', 'soon'], /It must be a date or time/],
      [['set', 'a', '--data', 'missing', '--note', 'x'], /missing holds no data of a server/],
      [['add', 'b', '--scope', 'two words'], /scope "two words" matches nothing/],
      [['show', 'nobody'], /there is no client nobody: "waybill clients list" lists them/],
      [['show', 'a', '--data', 'missing'], /missing holds no data of a server/],
      [['revoke', 'nobody'], /there is no client nobody/],
      [['rotate', 'nobody'], /there is no client nobody/],
      [['rotate', 'a', '--finish', '--out', 'x'], /'--finish' cannot be used with option '--out <file>'/],
      [['rotate', 'a', '--out', 'a.json'], /cannot write a\.json: it exists already/],
      [
        ['rotate', 'a', '--response-key-file', 'a.json'],
        /give both --request-key-file and --response-key-file/,
      ],
    ];
    for (const [args, message] of cases)
      assertWrongUse(await waybill(['clients', ...args], { cwd }), message);
    expect(snapshot(cwd)).toEqual(before);
  });

  test('an end is a date, a time with its zone, or a span from now', () => {
    const nowMs = Date.parse('2026-01-01T00:00:00Z');
    const ends: Record<string, string> = {
      '2027-01-31': '2027-01-31T00:00:00.000Z',
      '2027-01-31T12:00Z': '2027-01-31T12:00:00.000Z',
      '2027-01-31T12:00:30+02:00': '2027-01-31T10:00:30.000Z',
      '2028-02-29': '2028-02-29T00:00:00.000Z',
      '90d': '2026-04-01T00:00:00.000Z',
      '12h': '2026-01-01T12:00:00.000Z',
      '30m': '2026-01-01T00:30:00.000Z',
    };
    for (const [text, end] of Object.entries(ends))
      expect(new Date(Number(expiry(text, nowMs))).toISOString()).toBe(end);
    expect(expiry('never', nowMs)).toBe('never');
    const wrong = [
      '',
      'd',
      '0d',
      '1w',
      '-1d',
      '1.5d',
      '1e3d',
      '2027-02-29',
      '2027-13-01',
      '2027-1-1',
      '31.1.2027',
    ];
    // Without a zone it would mean another moment on another machine.
    for (const text of [
      ...wrong,
      '2027-01-31T12:00',
      '2025-12-31',
      '2026-01-01',
      `${'9'.repeat(20)}d`,
      'Never',
    ])
      expect(() => expiry(text, nowMs)).toThrow(/^It must be/);
  });
});

describe('waybill clients rotate and revoke', () => {
  test('a rotation shows in the list until it is finished; the new credential is shown once', async () => {
    const cwd = await withClient();
    const [before] = (await show(cwd)).keys;
    const rotated = await waybill(['clients', 'rotate', 'a', '--url', 'http://x/call', '--out', 'new.json'], {
      cwd,
    });
    expect(rotated).toEqual({
      code: 0,
      stdout: 'new.json is the credential of client a for server waybill at http://x/call\n',
      stderr: '',
    });
    expect(statSync(join(cwd, 'new.json')).mode & 0o777).toBe(0o600);
    const [old, fresh] = ['a.json', 'new.json'].map((name) => jsonIn(cwd, name));
    expect(fresh).toMatchObject({ client_id: 'a', server_id: 'waybill', url: 'http://x/call' });
    expect([old.request_key, old.response_key]).not.toContain(fresh.request_key);
    expect((await waybill(['clients', 'list'], { cwd })).stdout).toMatch(/^a .*[0-9a-f]{32} {2}rotating\n$/);
    const { keys, fingerprint } = await show(cwd);
    expect(keys).toHaveLength(2);
    expect(keys[1]).toEqual(before);
    expect(fingerprint).toBe(keys[0].fingerprint);
    assertWrongUse(
      await waybill(['clients', 'rotate', 'a', '--out', 'third.json'], { cwd }),
      /client a still has the keys of before: drop them with "waybill clients rotate a --finish"/,
    );
    expect(() => statSync(join(cwd, 'third.json'))).toThrow('ENOENT');
    const finish = (...args: string[]) => waybill(['clients', 'rotate', 'a', '--finish', ...args], { cwd });
    expect(await finish()).toEqual({ code: 0, stdout: 'client a has its newest keys only\n', stderr: '' });
    expect((await finish('--json')).stdout).toBe('{"client_id":"a","keys":1}\n');
    expect((await show(cwd)).keys).toEqual(keys.slice(0, 1));
  });

  test('without --out the credential goes to stdout, with a note; --json makes it one line', async () => {
    const cwd = await withClient();
    const text = await waybill(['clients', 'rotate', 'a'], { cwd });
    expect(text.stderr).toBe(
      'These secrets are not shown again; --out writes them to a file that only you can read.\n',
    );
    expect(JSON.parse(text.stdout)).toMatchObject({ client_id: 'a', url: 'http://127.0.0.1:8080/call' });
    await waybill(['clients', 'rotate', 'a', '--finish'], { cwd });
    const json = await waybill(['clients', 'rotate', 'a', '--json'], { cwd });
    expect(json).toMatchObject({ code: 0, stderr: '' });
    expect(json.stdout).toMatch(/^[^\n]+\n$/);
  });

  test('a client that is revoked stays so; the list says it, and so does whatever it is to be given', async () => {
    const cwd = await withClient();
    await waybill(['clients', 'token', 'a'], { cwd });
    const revoked = await waybill(['clients', 'revoke', 'a'], { cwd });
    expect(revoked).toMatchObject({ code: 0, stderr: '' });
    expect(revoked.stdout).toMatch(/^client a is revoked since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\n$/);
    const { revoked_ms, tokens } = await show(cwd);
    expect(tokens).toBe(0);
    const again = await waybill(['clients', 'revoke', 'a', '--json'], { cwd });
    expect(JSON.parse(again.stdout)).toEqual({ client_id: 'a', revoked_ms });
    expect((await waybill(['clients', 'list'], { cwd })).stdout).toMatch(/ {2}revoked\n$/);
    for (const args of [
      ['rotate', 'a'],
      ['token', 'a'],
      ['set', 'a', '--note', 'x'],
    ])
      assertWrongUse(await waybill(['clients', ...args], { cwd }), /client a was revoked, for good/);
    assertWrongUse(await waybill(['clients', 'add', 'a'], { cwd }), /client a exists already/);
  });
});

describe('waybill keygen', () => {
  test('a partner and a server that share no secret call each other, through a rotation of both keys', async () => {
    const cwd = tempFolder();
    const { url } = await serve(cwd);
    const keygen = async (name: string) => {
      const { stdout, stderr, code } = await waybill(['keygen', '--out', `${name}.key`], { cwd });
      expect([code, stderr]).toEqual([0, '']);
      writeFileSync(join(cwd, `${name}.pub`), stdout);
      expect(stdout).toMatch(/^wbp_[A-Za-z0-9_-]{43}[0-9a-f]{8}\n$/);
      expect(statSync(join(cwd, `${name}.key`)).mode & 0o777).toBe(0o600);
    };
    const complete = (name: string, stdout: string) => {
      const issued = JSON.parse(stdout);
      expect(issued).not.toHaveProperty('request_key');
      const request_key = readFileSync(join(cwd, `${name}.key`), 'utf8').trim();
      const credential = { ...issued, request_key };
      writeFileSync(join(cwd, `${name}.json`), JSON.stringify(credential), { mode: 0o600 });
    };
    const call = (name: string) =>
      waybill(['call', 'batch_sum', '{"numbers":[1,2]}', '--credential', `${name}.json`, '--json'], { cwd });
    await keygen('first');
    const given = ['--url', url, '--request-key-file', 'first.pub'];
    const added = await waybill(['clients', 'add', 'partner', '--algorithm', 'ed25519', ...given], { cwd });
    expect(added.stderr).toBe(
      'It holds no secret. Its owner adds "request_key": the private key, as "waybill keygen" wrote it.\n',
    );
    complete('first', added.stdout);
    expect(await call('first')).toEqual({ code: 0, stdout: '{"count":2,"total":3}\n', stderr: '' });

    await keygen('second');
    const next = ['--url', url, '--request-key-file', 'second.pub', '--json'];
    complete('second', (await waybill(['clients', 'rotate', 'partner', ...next], { cwd })).stdout);
    for (const name of ['first', 'second']) expect((await call(name)).code).toBe(0);
    expect((await waybill(['clients', 'list'], { cwd })).stdout).toMatch(/ {2}ed25519, rotating\n$/);
  });

  test('is refused without a new file, and with keys of the wrong kind', async () => {
    const cwd = tempFolder();
    await waybill(['keygen', '--out', 'key'], { cwd });
    const before = snapshot(cwd);
    const ed25519 = ['clients', 'add', 'p', '--algorithm', 'ed25519'];
    const cases: readonly (readonly [string[], RegExp])[] = [
      [['keygen'], /required option '--out <file>' not specified; see "waybill keygen --help"/],
      [['keygen', '--out', 'key'], /cannot write key: it exists already/],
      [[...ed25519, '--request-key-file', 'key'], /key file key: the key is a private key \(wbs_\)/],
      [[...ed25519, '--request-key-file', 'none'], /cannot read key file none: there is no such file/],
      [[...ed25519, '--response-key-file', 'key'], /--response-key-file has no use with ed25519/],
      [[...ed25519, '--allow-weak-key'], /--allow-weak-key has no use with ed25519/],
      [['clients', 'add', 'p', '--algorithm', 'rsa'], /Allowed choices are hmac-sha256, ed25519/],
    ];
    for (const [args, message] of cases) assertWrongUse(await waybill(args, { cwd }), message);
    expect(snapshot(cwd)).toEqual(before);
  });
});
