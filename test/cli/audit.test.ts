import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import exampleTools from '../../src/cli/serve/example-tools.ts';
import { createClient } from '../../src/client/index.ts';
import { createServer, listen } from '../../src/transports/index.ts';
import { postgresUrl } from '../support/services/shared.ts';
import { tempFolder } from '../support/temp.ts';
import { openSite } from './replicas.ts';
import { assertWrongUse, type Ended, serve, serveWithAlice, snapshot, start, waybill } from './waybill.ts';

const TIMEOUT_MS = 90_000;

interface Verified {
  readonly records: number;
  readonly chains: readonly { readonly chain: string; readonly closed: boolean }[];
}

interface Tail {
  readonly records: readonly { readonly chain: string; readonly ms: number; readonly type: string }[];
}

interface Proven {
  readonly chain: string;
  readonly seq: number;
  readonly head: { readonly seq: number } | null;
}

interface Site {
  readonly cwd: string;
  run(line: string, ...args: string[]): Promise<Ended>;
  /** Runs a command that must succeed. @returns its document */
  json<Document = unknown>(line: string, ...args: string[]): Promise<Document>;
  /** A file of the site as text. */
  read(name: string): string;
}

function siteIn(cwd: string): Site {
  const env = { WAYBILL_CREDENTIAL: 'alice.json' };
  const run = (line: string, ...args: string[]) => waybill([...line.split(' '), ...args], { cwd, env });
  return {
    cwd,
    run,
    async json<Document>(line: string, ...args: string[]): Promise<Document> {
      const ended = await run(line, ...args, '--json');
      expect(ended).toMatchObject({ code: 0, stderr: '' });
      expect(ended.stdout).toMatch(/^[^\n]+\n$/);
      return JSON.parse(ended.stdout);
    },
    read: (name) => readFileSync(join(cwd, name), 'utf8'),
  };
}

describe('the audit of a server', { timeout: TIMEOUT_MS }, () => {
  test('has its calls and jobs; an export of it verifies without the store, and a kept reply proves its call', async () => {
    const cwd = tempFolder();
    const { run, json, read } = siteIn(cwd);
    const serving = await serveWithAlice(cwd);
    const kept = '--save-reply sum.reply --save-request sum.request';
    expect(await json(`call batch_sum {"numbers":[1,2]} ${kept}`)).toEqual({ count: 2, total: 3 });
    const refused = await run('call nowhere {} --save-reply refused.reply --save-request refused.request');
    expect(refused).toMatchObject({ code: 1, stdout: '' });
    const { job_id: job } = await json<{ job_id: string }>(
      'call start_long_task {"seconds":1} --no-wait --save-reply job.reply',
    );
    expect(await run(`jobs wait ${job} --json`)).toMatchObject({ code: 0 });
    serving.child.kill('SIGTERM');
    expect(await serving.ended).toMatchObject({ code: 0 });

    const { key } = await json<{ key: string }>('audit key');
    expect(key).toMatch(/^wbp_/);
    const exported = await json<{ records: number }>('audit export --out audit.jsonl');
    expect(exported).toMatchObject({ file: 'audit.jsonl', server_id: 'waybill', key, chains: 1 });
    expect(statSync(join(cwd, 'audit.jsonl')).mode & 0o777).toBe(0o600);

    // Somebody else's machine: the file and the key, nothing else.
    const other = siteIn(tempFolder());
    for (const name of [
      'audit.jsonl',
      'sum.reply',
      'sum.request',
      'refused.reply',
      'refused.request',
      'job.reply',
    ])
      writeFileSync(join(other.cwd, name), read(name));
    const verified = await other.json<Verified>(`audit verify audit.jsonl --key ${key}`);
    const [chain] = verified.chains;
    expect(verified).toMatchObject({ ok: true, server_id: 'waybill', key, records: exported.records });
    expect(chain).toMatchObject({ records: exported.records, closed: true, unsigned: 0 });
    const text = await other.run('audit verify audit.jsonl');
    expect(text).toMatchObject({ code: 0, stderr: '' });
    expect(text.stdout).toContain(
      `audit.jsonl holds: ${exported.records} records in 1 chain, exported from server`,
    );
    expect(text.stdout).toMatch(
      new RegExp(`^${chain?.chain} .* last signed head \\d+ +ended in order$`, 'm'),
    );
    expect(text.stdout).toContain(`signed with ${key}: compare it with what "waybill audit key" prints`);
    expect((await other.run(`audit verify audit.jsonl --key ${key}`)).stdout).toContain(
      'the key that you gave',
    );

    const proven = await other.json<Proven>(
      `audit prove audit.jsonl --reply sum.reply --request sum.request --key ${key}`,
    );
    const { request_id: requestId } = JSON.parse(read('sum.request'));
    expect(proven).toMatchObject({
      chain: chain?.chain,
      client: 'alice',
      tool: 'batch_sum',
      outcome: 'ok',
      job: null,
      request_id: requestId,
      key,
    });
    expect(proven.head?.seq).toBeGreaterThan(proven.seq);
    const said = await other.run('audit prove audit.jsonl --reply sum.reply');
    expect(said).toMatchObject({ code: 0, stderr: '' });
    expect(said.stdout).toMatch(
      new RegExp(`^the call is in audit\\.jsonl: chain ${chain?.chain}, record ${proven.seq}, covered by`),
    );
    expect(said.stdout).toContain(`client alice, tool batch_sum, outcome ok, request_id ${requestId}`);
    const [unknown, begun] = await Promise.all([
      other.json('audit prove audit.jsonl --reply refused.reply --request refused.request'),
      other.json('audit prove audit.jsonl --reply job.reply'),
    ]);
    expect(unknown).toMatchObject({ tool: 'nowhere', outcome: 'unknown_tool' });
    expect(begun).toMatchObject({ tool: 'start_long_task', outcome: 'accepted', job });

    const asOther = await other.run('audit prove audit.jsonl --reply sum.reply --request refused.request');
    expect(asOther).toMatchObject({ code: 1, stdout: '' });
    expect(asOther.stderr).toMatch(
      /^waybill: not_in_audit: the reply is in audit\.jsonl \(chain .*\), as the answer to another request than refused\.request\n$/,
    );
    writeFileSync(join(other.cwd, 'forged.reply'), read('sum.reply').replace('"total":3', '"total":4'));
    const forged = await other.run('audit prove audit.jsonl --reply forged.reply');
    expect(forged).toMatchObject({ code: 1, stdout: '' });
    expect(forged.stderr).toMatch(
      /^waybill: not_in_audit: audit\.jsonl holds, and none of its \d+ records is of a call with this reply\n$/,
    );
  });

  test('is shown by tail, the newest of all chains by time, for people and for programs', async () => {
    const cwd = tempFolder();
    const { run, json } = siteIn(cwd);
    for (const numbers of ['[1]', '[1,2]']) {
      const serving = numbers === '[1]' ? await serveWithAlice(cwd) : await serve(cwd);
      await json(`call batch_sum {"numbers":${numbers}} --url ${serving.url}`);
      if (numbers === '[1,2]')
        await json(`call start_long_task {"seconds":1} --url ${serving.url}`).catch(() => {});
      serving.child.kill('SIGTERM');
      expect(await serving.ended).toMatchObject({ code: 0 });
    }
    const { records } = await json<Tail>('audit tail --lines 1000');
    const times = records.map(({ ms }) => ms);
    expect(times).toEqual([...times].sort((a, b) => a - b));
    const chains = new Set(records.map(({ chain }) => chain));
    expect(chains.size).toBe(2);
    expect(records.filter(({ type }) => type === 'open')).toHaveLength(2);
    const [all, two, none, bobs, heads] = await Promise.all([
      run('audit tail --lines 1000'),
      json<Tail>('audit tail -n 2'),
      run('audit tail --lines 0'),
      run('audit tail --client bob'),
      run('audit tail --lines 1000 --all'),
    ]);
    expect(two.records).toEqual(records.slice(-2));
    const calls = all.stdout.split('\n').filter((line) => / alice +batch_sum +ok +key /.test(line));
    expect(calls).toHaveLength(2);
    expect(calls[0]).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC {2}alice .* key [0-9a-f]{8} {2}\S+:\d+$/);
    expect(all.stdout).toMatch(/ alice +start_long_task +accepted +job_\S+ {2}key /);
    expect(all.stdout).toMatch(/ alice +start_long_task +succeeded +job_\S+/);
    expect(all.stdout).not.toContain('\u001b[');
    for (const quiet of [none, bobs]) expect(quiet).toEqual({ code: 0, stdout: '', stderr: 'no records\n' });
    expect(heads.stdout.trimEnd().split('\n')).toHaveLength(records.length);
  });

  test('is followed while the server writes it, until Ctrl-C', async () => {
    const cwd = tempFolder();
    const serving = await serveWithAlice(cwd);
    const { json } = siteIn(cwd);
    const follow = (...more: string[]) =>
      start(['audit', 'tail', '--follow', '--client', 'alice', ...more], { cwd });
    const [people, program] = [follow(), follow('--json')];
    await json('call batch_sum {"numbers":[1]}');
    await people.until('stdout', /alice +batch_sum +ok .*\n/);
    await program.until('stdout', /"tool":"batch_sum".*\n/);
    await json('call batch_sum {"numbers":[2]}');
    await people.until('stdout', /(?:batch_sum +ok .*\n.*){2}/);
    await program.until('stdout', /(?:"tool":"batch_sum".*\n.*){2}/);
    for (const each of [people, program]) each.child.kill('SIGINT');
    expect(await people.ended).toMatchObject({ code: 0, stderr: '' });
    const { code, stdout } = await program.ended;
    const lines = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect({ code, tools: lines.map(({ tool }) => tool) }).toEqual({
      code: 0,
      tools: ['batch_sum', 'batch_sum'],
    });
    serving.child.kill('SIGTERM');
    await serving.ended;
  });

  test('holds after kill -9 and a new start, and has every call that was answered', async () => {
    const cwd = tempFolder();
    const { run, json } = siteIn(cwd);
    const first = await serveWithAlice(cwd);
    await json('call batch_sum {"numbers":[1]} --save-reply first.reply');
    first.child.kill('SIGKILL');
    await first.ended;
    const second = await serve(cwd);
    await json(`call batch_sum {"numbers":[2]} --save-reply second.reply --url ${second.url}`);
    second.child.kill('SIGKILL');
    await second.ended;
    await json('audit export --out audit.jsonl');
    const { chains } = await json<Verified>('audit verify audit.jsonl');
    expect(chains.map(({ closed }) => closed)).toEqual([false, false]);
    expect(await json('audit verify')).toMatchObject({ ok: true, chains });
    expect((await run('audit verify')).stdout).toContain('not ended: its process died or still runs');
    for (const name of ['first', 'second'])
      expect(await json(`audit prove audit.jsonl --reply ${name}.reply`)).toMatchObject({ outcome: 'ok' });
  });
});

describe('a damaged audit', { timeout: TIMEOUT_MS }, () => {
  let cwd = '';
  let lines: readonly string[] = [];
  let chain = '';
  const at = (i: number): string => lines[i] ?? '';

  beforeAll(async () => {
    cwd = mkdtempSync(join(tmpdir(), 'waybill-audit-'));
    const server = await createServer({
      tools: exampleTools,
      store: `sqlite:${join(cwd, '.waybill')}`,
      drainMs: 0,
    });
    const listener = await listen(server);
    const credential = await server.addClient({ id: 'alice', url: listener.url });
    const client = createClient(credential);
    for (let i = 1; i <= 6; i++) await client.call('batch_sum', { numbers: [i] });
    await listener.close();
    await server.close();
  });
  afterAll(() => rmSync(cwd, { recursive: true, force: true }));

  /** The lines of the bundle: 0 is its first one, record `n` is line `n + 1`. */
  async function exported(): Promise<void> {
    const { json, read } = siteIn(cwd);
    const out = `bundle-${crypto.randomUUID()}.jsonl`;
    await json(`audit export --out ${out}`);
    lines = read(out).trimEnd().split('\n');
    chain = JSON.parse(at(1)).chain;
  }

  const file = (all: readonly string[]): string => `${all.join('\n')}\n`;

  test('names the record that was changed, removed, put elsewhere or cut', async () => {
    await exported();
    const { run } = siteIn(cwd);
    // The line of a call in the middle; heads come when it is time for them.
    const i = lines.findIndex((line, n) => n > 3 && line.includes('"type":"call"'));
    const changed = at(i).replace('"outcome":"ok"', '"outcome":"no"');
    expect(changed).not.toBe(at(i));
    const behind = file(lines.slice(0, i + 1));
    const damaged: Readonly<Record<string, readonly [text: string, said: string]>> = {
      changed: [file(lines.with(i, changed)), 'was changed'],
      removed: [file(lines.toSpliced(i, 1)), 'is missing'],
      reordered: [file(lines.with(i, at(i + 1)).with(i + 1, at(i))), 'is out of order'],
      'cut-line': [file(lines.with(i, at(i).slice(0, 80))), 'is cut off'],
      'cut-file': [behind.slice(0, -60), 'is cut off'],
      'cut-behind': [
        behind,
        'is cut off: nothing stands behind it, and the last line of the bundle is missing',
      ],
    };
    const assertNamed = async (name: string, text: string, said: string) => {
      writeFileSync(join(cwd, name), text);
      const ended = await run(`audit verify ${name}`);
      const where = `chain ${chain}, record ${i - 1} (line `;
      expect(ended.stderr).toContain(`waybill: audit_broken: ${name}: ${where}`);
      expect(ended.stderr).toMatch(/^[^\n]+\n$/);
      expect(ended.stderr.replace(/^.*\(line \d+\) /, '')).toBe(`${said}\n`);
      expect(ended).toMatchObject({ code: 1, stdout: '' });
    };
    await Promise.all(Object.entries(damaged).map(([name, [text, said]]) => assertNamed(name, text, said)));
    const { code, stdout, stderr } = await run('audit verify removed --json');
    expect({ code, stderr }).toEqual({ code: 1, stderr: '' });
    expect(JSON.parse(stdout).error).toMatchObject({
      code: 'audit_broken',
      result: { problem: 'missing', chain, seq: i - 1, line: i + 1 },
    });
  });

  test('proves nothing', async () => {
    await exported();
    writeFileSync(join(cwd, 'lost.jsonl'), file(lines.toSpliced(4, 1)));
    const reply = { v: 'mcp/0.1', request_id: 'r', ts_ms: 1, server_id: 's', ok: true, status: 'ok' };
    const signature = '0'.repeat(64);
    writeFileSync(join(cwd, 'reply.json'), JSON.stringify({ ...reply, result: {}, error: null, signature }));
    const ended = await siteIn(cwd).run('audit prove lost.jsonl --reply reply.json');
    expect(ended).toMatchObject({ code: 1, stdout: '' });
    expect(ended.stderr).toMatch(
      /^waybill: audit_broken: lost\.jsonl: chain \S+, record 3 \(line 5\) is missing/,
    );
  });

  test('is found in the store itself', async () => {
    await exported();
    const path = join(cwd, '.waybill/audit', `${chain}.jsonl`);
    const text = readFileSync(path, 'utf8');
    onTestFinished(() => writeFileSync(path, text));
    writeFileSync(path, text.replace('"tool":"batch_sum"', '"tool":"batch_sun"'));
    const { run } = siteIn(cwd);
    const ended = await run('audit verify');
    expect(ended.stderr).toMatch(
      /^waybill: audit_broken: data \.waybill: chain \S+, record \d+ .* was changed$/m,
    );
    expect(ended).toMatchObject({ code: 1, stdout: '' });
    const tail = await run('audit tail');
    expect(tail.code).toBe(0);
    expect(tail.stdout).toMatch(/not a record +damaged +see "waybill audit verify"/);
  });

  test('of another key is refused when the key is known', async () => {
    await exported();
    writeFileSync(join(cwd, 'mine.jsonl'), file(lines));
    const other = tempFolder();
    const server = await createServer({ tools: exampleTools, store: `sqlite:${join(other, '.waybill')}` });
    await server.close();
    const { key } = await siteIn(other).json<{ key: string }>('audit key');
    const ended = await siteIn(cwd).run(`audit verify mine.jsonl --key ${key}`);
    expect(ended).toMatchObject({ code: 1, stdout: '' });
    expect(ended.stderr).toMatch(
      /^waybill: audit_broken: mine\.jsonl: the bundle \(line 1\) is of another key/,
    );
  });

  test('wrong use is told in one line, ends with exit code 2 and changes nothing', async () => {
    await exported();
    writeFileSync(join(cwd, 'good.jsonl'), file(lines));
    writeFileSync(join(cwd, 'empty.jsonl'), '');
    writeFileSync(join(cwd, 'text.json'), 'just text\n');
    writeFileSync(join(cwd, 'other.key'), 'wb_'.padEnd(60, 'Xq7Lm2'), { mode: 0o600 });
    await waybill(['clients', 'add', 'alice', '--data', 'fresh', '--out', 'fresh.json'], { cwd });
    const cases: readonly (readonly [line: string, message: RegExp])[] = [
      ['audit', /name what to do: tail, export, verify, prove, key; see "waybill audit --help"/],
      ['audit tail --lines x', /must be a whole number from 0/],
      ['audit tail --data nowhere', /nowhere holds no data of a server: name its folder with --data/],
      ['audit tail --data fresh', /data fresh has no audit yet: it begins when a server starts there/],
      ['audit verify --data fresh', /data fresh has no audit yet/],
      ['audit key --data fresh', /data fresh has no audit yet/],
      ['audit export --data fresh --out x.jsonl', /data fresh has no audit yet/],
      ['audit export', /required option '--out <path>' not specified/],
      ['audit export --out good.jsonl', /cannot write good\.jsonl: it exists already; name a new file/],
      ['audit export --out no/folder.jsonl', /cannot write no\/folder\.jsonl: make its folder first/],
      [
        'audit export --out x.jsonl --master-key-file missing.key',
        /cannot read master key file missing\.key/,
      ],
      ['audit key --master-key-file other.key', /master key/],
      ['audit export --out x.jsonl --master-key-file other.key', /master key/],
      [
        'call batch_sum {} --save-reply good.jsonl --credential c.json',
        /cannot write good\.jsonl: it exists already/,
      ],
      [
        'call batch_sum {} --save-reply x --save-request good.jsonl --credential c.json',
        /cannot write good\.jsonl: it exists already/,
      ],
      ['audit verify missing.jsonl', /cannot read bundle missing\.jsonl: there is no such file/],
      ['audit verify .', /bundle \. is a folder: name a file/],
      ['audit verify /dev/null', /bundle \/dev\/null is not a regular file/],
      ['audit verify empty.jsonl', /bundle empty\.jsonl is empty/],
      [
        'audit verify text.json',
        /text\.json is not a bundle of the audit: name the file that "waybill audit export" wrote/,
      ],
      ['audit verify good.jsonl --data .waybill', /the path of a bundle leaves no use for --data/],
      ['audit verify good.jsonl --key wbp_no', /--key is not a public audit key/],
      ['audit prove good.jsonl', /required option '--reply <file>' not specified/],
      ['audit prove --reply text.json', /missing required argument 'path'/],
      [
        'audit prove good.jsonl --reply missing.json',
        /cannot read reply file missing\.json: there is no such file/,
      ],
      [
        'audit prove good.jsonl --reply text.json',
        /reply file text\.json is not a reply of the protocol \(.*\)/,
      ],
      ['audit prove good.jsonl --reply good.jsonl', /reply file good\.jsonl is not a reply/],
    ];
    const before = snapshot(cwd);
    const ended = await Promise.all(cases.map(([line]) => siteIn(cwd).run(line)));
    for (const [i, [line, message]] of cases.entries()) {
      const end = ended[i];
      if (end === undefined) throw new RangeError(line);
      assertWrongUse(end, message);
    }
    expect(snapshot(cwd)).toEqual(before);
  });

  test('that cannot be read leaves no export behind', async () => {
    const other = tempFolder();
    const server = await createServer({ tools: exampleTools, store: `sqlite:${join(other, '.waybill')}` });
    await server.close();
    // Stands behind the chain that there is, which is written first.
    mkdirSync(join(other, '.waybill/audit/99991231T235959.999Z-00000000.jsonl'));
    const before = snapshot(other);
    assertWrongUse(await siteIn(other).run('audit export --out x.jsonl'), /the audit cannot be used: EISDIR/);
    expect(snapshot(other)).toEqual(before);
  });

  test('is not made of a lost master key', async () => {
    const other = tempFolder();
    const server = await createServer({ tools: exampleTools, store: `sqlite:${join(other, '.waybill')}` });
    await server.close();
    rmSync(join(other, '.waybill/master.key'));
    const before = snapshot(other);
    const { run, json } = siteIn(other);
    for (const line of ['audit key', 'audit export --out x.jsonl'])
      assertWrongUse(
        await run(line),
        /there is no master key in \.waybill\/master\.key: bring that file back/,
      );
    expect(snapshot(other)).toEqual(before);
    // Reading needs none.
    expect(await json('audit verify')).toMatchObject({ ok: true });
    expect(await run('audit tail')).toMatchObject({ code: 0 });
  });
});

test('a reply that did not come leaves no file', async () => {
  const cwd = tempFolder();
  await waybill(['clients', 'add', 'alice', '--url', 'http://127.0.0.1:9/call', '--out', 'alice.json'], {
    cwd,
  });
  const before = snapshot(cwd);
  const flags = '--timeout-ms 300 --save-reply reply.json --save-request request.json';
  expect(await siteIn(cwd).run(`call batch_sum {} ${flags}`)).toMatchObject({ code: 3, stdout: '' });
  expect(snapshot(cwd)).toEqual(before);
});

describe('the audit of two servers on PostgreSQL', { tags: ['postgres'], timeout: TIMEOUT_MS }, () => {
  test('is one export with a chain for each process', async () => {
    const site = await openSite(await postgresUrl(), undefined);
    const servers = await Promise.all([site.serve(), site.serve()]);
    for (const server of servers) await site.client(server).call('direct');
    const run = (line: string) => waybill([...line.split(' '), '--json'], site);
    const exported = await run('audit export --out audit.jsonl');
    expect(exported).toMatchObject({ code: 0, stderr: '' });
    const verified = await waybill(['audit', 'verify', 'audit.jsonl', '--json'], { cwd: site.cwd });
    expect(verified).toMatchObject({ code: 0, stderr: '' });
    expect(JSON.parse(verified.stdout).chains).toHaveLength(2);
    const { records }: Tail = JSON.parse((await run('audit tail --client alice')).stdout);
    const calls = records.filter(({ type }) => type === 'call');
    expect(new Set(calls.map(({ chain }) => chain)).size).toBe(2);
    for (const server of servers) server.child.kill('SIGTERM');
    for (const { ended } of servers) expect(await ended).toMatchObject({ code: 0 });
    const after: Verified = JSON.parse((await run('audit verify')).stdout);
    expect(after.chains.map(({ closed }) => closed)).toEqual([true, true]);
  });
});
