import { chmodSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { generateSecret } from '../../src/wire/index.ts';
import { tempFolder } from '../support/temp.ts';
import { assertWrongUse, snapshot, waybill } from './waybill.ts';

const KEY = generateSecret();

/** A folder with the key in `key`, for its owner only. */
function withKeyFile(): string {
  const cwd = tempFolder();
  writeFileSync(join(cwd, 'key'), `${KEY}\n`, { mode: 0o600 });
  return cwd;
}

const list = ['clients', 'list'];

describe('the master key of a command', () => {
  test('comes from a file, by flag or variable, or from a variable, and is the same each time', async () => {
    const cwd = withKeyFile();
    const ways = [
      { args: ['--master-key-file', 'key'] },
      { env: { WAYBILL_MASTER_KEY_FILE: 'key' } },
      { env: { WAYBILL_MASTER_KEY: KEY } },
      { args: ['--master-key-file', 'key'], env: { WAYBILL_MASTER_KEY_FILE: 'missing' } },
    ];
    for (const [n, { args = [], env = {} }] of ways.entries())
      expect(await waybill(['clients', 'add', `c${n}`, '--json', ...args], { cwd, env })).toMatchObject({
        code: 0,
        stderr: '',
      });
    expect(readdirSync(join(cwd, '.waybill'))).not.toContain('master.key');
    const { stdout } = await waybill([...list, '--master-key-file', 'key'], { cwd });
    expect(stdout.match(/[0-9a-f]{32}$/gm)).toHaveLength(4);
  });

  test('is made in the folder of the data where none is given', async () => {
    const cwd = tempFolder();
    await waybill(['clients', 'add', 'a', '--data', 'd'], { cwd });
    expect(readFileSync(join(cwd, 'd/master.key'), 'utf8')).toMatch(/^wb_/);
    expect(await waybill([...list, '--data', 'd'], { cwd })).toMatchObject({ code: 0, stderr: '' });
  });

  test('given wrongly is refused in one line that does not show it, and nothing is made', async () => {
    const cwd = withKeyFile();
    writeFileSync(join(cwd, 'open'), KEY, { mode: 0o600 });
    chmodSync(join(cwd, 'open'), 0o644);
    writeFileSync(join(cwd, 'empty'), '\n', { mode: 0o600 });
    writeFileSync(join(cwd, 'short'), 'open sesame', { mode: 0o600 });
    writeFileSync(join(cwd, 'cut'), KEY.slice(0, -1), { mode: 0o600 });
    const before = snapshot(cwd);
    const cases: readonly (readonly [string[], Record<string, string>, RegExp])[] = [
      [['--master-key-file', 'missing'], {}, /cannot read master key file missing: there is no such file/],
      [
        ['--master-key-file', 'open'],
        {},
        /master key file open is open to other users \(mode 644\): run chmod/,
      ],
      [['--master-key-file', 'empty'], {}, /the master key in --master-key-file empty is empty/],
      [['--master-key-file', 'short'], {}, /the master key in --master-key-file short is shorter than 32/],
      [[], { WAYBILL_MASTER_KEY_FILE: 'cut' }, /in WAYBILL_MASTER_KEY_FILE cut has the wrong length/],
      [[], { WAYBILL_MASTER_KEY: '' }, /the master key in WAYBILL_MASTER_KEY is empty/],
      [
        ['--master-key-file', 'key'],
        { WAYBILL_MASTER_KEY: KEY },
        /--master-key-file and WAYBILL_MASTER_KEY are both set: keep one of the two/,
      ],
      [
        [],
        { WAYBILL_MASTER_KEY: KEY, WAYBILL_MASTER_KEY_FILE: 'key' },
        /WAYBILL_MASTER_KEY_FILE and WAYBILL_MASTER_KEY are both set/,
      ],
    ];
    for (const [args, env, message] of cases) {
      const ended = await waybill(['clients', 'add', 'a', ...args], { cwd, env });
      assertWrongUse(ended, message);
      expect(ended.stderr).not.toContain(KEY.slice(3, 30));
    }
    assertWrongUse(
      await waybill(['serve', '--port', '0', '--master-key-file', 'short'], { cwd }),
      /shorter than/,
    );
    assertWrongUse(await waybill(['mcp', '--master-key-file', 'short'], { cwd }), /shorter than/);
    expect(snapshot(cwd)).toEqual(before);
  });

  test('that is lost or another one stops servers and verbs, and changes no client', async () => {
    const cwd = withKeyFile();
    await waybill(['clients', 'add', 'a', '--out', 'a.json'], { cwd });
    const kept = readFileSync(join(cwd, '.waybill/master.key'));
    const another = /^waybill: the secrets of this store are sealed under another master key \(mark /;
    for (const args of [['serve', '--port', '0'], list, ['clients', 'rotate', 'a'], ['clients', 'add', 'b']])
      assertWrongUse(await waybill([...args, '--master-key-file', 'key'], { cwd }), another);
    rmSync(join(cwd, '.waybill/master.key'));
    const lost = /are sealed, and there is no master key in \.waybill\/master\.key: bring that file back, or/;
    for (const args of [['serve', '--port', '0'], list, ['clients', 'show', 'a']])
      assertWrongUse(await waybill(args, { cwd }), lost);
    // Who has to be kept out now is kept out without it.
    expect(await waybill(['clients', 'revoke', 'a'], { cwd })).toMatchObject({ code: 0 });
    writeFileSync(join(cwd, '.waybill/master.key'), kept, { mode: 0o600 });
    expect((await waybill(list, { cwd })).stdout).toMatch(/^a .* {2}revoked\n$/);
  });

  test('in a variable is taken from the environment before anything else runs', async () => {
    const cwd = tempFolder();
    writeFileSync(
      join(cwd, 'tools.mjs'),
      `console.log('key: ' + process.env.WAYBILL_MASTER_KEY + '.'); export default [];`,
    );
    const { stdout, stderr } = await waybill(['serve', 'tools.mjs'], {
      cwd,
      env: { WAYBILL_MASTER_KEY: KEY },
    });
    expect(stderr).toContain('key: undefined.');
    expect(stdout + stderr).not.toContain(KEY);
  });
});
