import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { tempFolder } from '../support/temp.ts';
import { assertWrongUse, snapshot, start, waybill } from './waybill.ts';

type Case = readonly [line: string, stderr: RegExp, env?: Readonly<Record<string, string>>];

/** Each case is refused in one line; nothing is written to disk, and no password to any output. */
async function assertAllRefused(cwd: string, cases: readonly Case[]): Promise<void> {
  const before = snapshot(cwd);
  const ended = await Promise.all(
    cases.map(([line, , env = {}]) => waybill(line.split(' '), { cwd, env: { ...env } })),
  );
  for (const [i, [, pattern]] of cases.entries()) {
    const end = ended[i] ?? { code: null, stdout: '', stderr: '' };
    assertWrongUse(end, pattern);
    expect(end.stderr).not.toContain('hunter2');
  }
  expect(snapshot(cwd)).toEqual(before);
}

const STORE = 'postgres://u:hunter2@127.0.0.1:1/d';
const MUST_BE_STORE = 'must be sqlite:FOLDER or postgres://HOST:PORT/DATABASE';

describe('wrong use of stores and queues is told in one line, without passwords, and changes nothing:', () => {
  test('URLs', async () => {
    await assertAllRefused(tempFolder(), [
      ['serve --store mysql://u:hunter2@h/d', new RegExp(`--store ${MUST_BE_STORE}`)],
      ['serve --store postgres://u:hunter2@h:99999/d', /--store must be/],
      ['clients list --store redis://:hunter2@h', /--store must be/],
      ['clients add a --store hunter2', /--store must be/],
      ['worker --store hunter2', /--store must be/],
      ['serve', new RegExp(`WAYBILL_STORE ${MUST_BE_STORE}`), { WAYBILL_STORE: 'http://u:hunter2@h/d' }],
      ['serve', /WAYBILL_STORE must be/, { WAYBILL_STORE: '' }],
      [`serve --store ${STORE} --queue http://u:hunter2@h`, /--queue must be redis:\/\//],
      [`worker --store ${STORE}`, /WAYBILL_QUEUE must be/, { WAYBILL_QUEUE: 'redis://h/hunter2' }],
      ['serve --data d --queue redis://:hunter2@h', /--queue has no use with a sqlite: store/],
      ['serve', /WAYBILL_QUEUE has no use with a sqlite: store/, { WAYBILL_QUEUE: 'redis://:hunter2@h' }],
    ]);
  });

  test('a URL where none belongs', async () => {
    const debug = await waybill(['serve', `--stor=${STORE}`], {
      cwd: tempFolder(),
      env: { WAYBILL_DEBUG: '1' },
    });
    expect(debug.stderr).toMatch(/^waybill: unknown option '--stor=postgres:\/\/…@127/);
    expect(debug.stderr).not.toContain('hunter2');
    await assertAllRefused(tempFolder(), [
      [`serve ${STORE}`, /there is no module postgres:\/\/…@127\.0\.0\.1:1\/d/],
      [STORE, /unknown command/],
      [`serve --queeu=rediss://:hunter2/3@h`, /unknown option/],
      [`serve --stor=postgres://h/d?user=u&password=hunter2`, /unknown option/],
      [`serve --port ${STORE}`, /must be a whole number/],
    ]);
  });

  test('one thing said twice', async () => {
    const cwd = tempFolder();
    writeFileSync(join(cwd, 'url'), STORE, { mode: 0o600 });
    await assertAllRefused(cwd, [
      ['serve --data d --store sqlite:e', /--data and --store are both set: keep one of the two/],
      ['clients list --data d --store-file url', /--data and --store-file are both set/],
      [
        'serve',
        /WAYBILL_STORE and WAYBILL_STORE_FILE are both set/,
        { WAYBILL_STORE: STORE, WAYBILL_STORE_FILE: 'url' },
      ],
      [
        'worker --store-file url',
        /WAYBILL_QUEUE and WAYBILL_QUEUE_FILE are both set/,
        { WAYBILL_QUEUE: STORE, WAYBILL_QUEUE_FILE: 'url' },
      ],
    ]);
  });

  test('files with a URL', async () => {
    const cwd = tempFolder();
    writeFileSync(join(cwd, 'open'), STORE);
    chmodSync(join(cwd, 'open'), 0o644);
    writeFileSync(join(cwd, 'wrong'), 'http://u:hunter2@h/d\n', { mode: 0o600 });
    writeFileSync(join(cwd, 'empty'), '', { mode: 0o600 });
    await assertAllRefused(cwd, [
      ['serve --store-file missing', /cannot read URL file missing: there is no such file/],
      ['serve --store-file open', /URL file open is open to other users \(mode 644\): run chmod 600 open/],
      ['serve --store-file wrong', new RegExp(`the URL in --store-file wrong ${MUST_BE_STORE}`)],
      ['serve', /the URL in WAYBILL_STORE_FILE empty must be/, { WAYBILL_STORE_FILE: 'empty' }],
      [`worker --store ${STORE} --queue-file wrong`, /the URL in --queue-file wrong must be redis:/],
      ['clients list', /cannot read URL file missing/, { WAYBILL_STORE_FILE: 'missing' }],
    ]);
  });

  test('workers, and servers without one, on a file that only one process can use', async () => {
    const needs = 'needs a postgres:// store: with sqlite: one process serves and runs the jobs';
    await assertAllRefused(tempFolder(), [
      ['serve --no-worker', new RegExp(`--no-worker ${needs}; see "waybill serve --help"`)],
      [`serve --no-worker --store ${STORE} --concurrency 3`, /--no-worker leaves no use for --concurrency/],
      ['worker', new RegExp(`worker ${needs}; see "waybill worker --help"`)],
      ['worker --store sqlite:d', /worker needs a postgres:/],
      ['worker --data d', /unknown option '--data'/],
      [`worker --store ${STORE} --concurrency 0`, /must be a whole number from 1 to 100000/],
      [`worker missing.ts --store ${STORE}`, /there is no module missing\.ts/],
    ]);
  });

  test('a database that is not there', async () => {
    await assertAllRefused(tempFolder(), [
      [`serve --port 0 --store ${STORE}`, /cannot use postgres:\/\/127\.0\.0\.1:1\/d: nothing listens there/],
      [`worker --store ${STORE}`, /nothing listens there/],
      [`clients add a --store ${STORE} --out a.json`, /nothing listens there/],
      [`clients list --store ${STORE}`, /nothing listens there/],
    ]);
  });
});

describe('the store', () => {
  test('is the folder of --data, said as sqlite:, in a variable or in a file; a flag wins', async () => {
    const cwd = tempFolder();
    writeFileSync(join(cwd, 'url'), 'sqlite:of-file\n', { mode: 0o600 });
    const variables = { WAYBILL_STORE: 'sqlite:of-variable' };
    const cases: readonly (readonly [flags: string, env: Record<string, string>, data: string])[] = [
      ['', {}, '.waybill'],
      ['--store sqlite:of-flag', { ...variables, WAYBILL_DATA: 'x' }, 'of-flag'],
      ['--data of-data', { ...variables, WAYBILL_STORE_FILE: 'missing' }, 'of-data'],
      ['--store-file url', variables, 'of-file'],
      ['', variables, 'of-variable'],
      ['', { WAYBILL_STORE_FILE: 'url' }, 'of-file'],
    ];
    for (const [flags, env, data] of cases) {
      const args = ['serve', '--port', '0', '--json', ...flags.split(' ').filter((word) => word !== '')];
      const serving = start(args, { cwd, env });
      const [line] = await serving.until('stdout', /^.*\n/);
      expect(JSON.parse(line)).toMatchObject({ data, store: `sqlite:${data}` });
      serving.child.kill('SIGKILL');
      await serving.ended;
    }
  });
});

/** Prints every package that is imported from here on. */
const SPY = `
  import { register } from 'node:module';
  const hook = \`import { writeSync } from 'node:fs';
    export async function resolve(name, context, next) {
      if (/^(pg|bullmq|ioredis)$/.test(name)) writeSync(2, 'imports ' + name + '\\\\n');
      return next(name, context);
    }\`;
  register('data:text/javascript,' + encodeURIComponent(hook));`;

test('the drivers of a database are loaded only when its URL is asked for', async () => {
  const cwd = tempFolder();
  const env = { NODE_OPTIONS: `--import "data:text/javascript,${encodeURIComponent(SPY)}"` };
  const serving = start(['serve', '--port', '0'], { cwd, env });
  await serving.until('stdout', /^listening/);
  expect(serving.output.stderr).not.toMatch(/imports/);
  const refused = await waybill(['serve', '--port', '0', '--store', STORE], { cwd, env });
  expect(refused.stderr).toMatch(/^imports pg$/m);
});
