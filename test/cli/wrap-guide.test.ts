import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { tempFolder } from '../support/temp.ts';
import { start, waybill } from './waybill.ts';

/** docs/guides/wrap.md shows what really comes. */
const GUIDE = readFileSync(new URL('../../docs/guides/wrap.md', import.meta.url), 'utf8');
const MODULES = fileURLToPath(new URL('../../node_modules/', import.meta.url));

interface Shown {
  readonly args: readonly string[];
  readonly output: string;
}

/** Every command that the guide shows, with what it prints. */
const SHOWN: Shown[] = [...GUIDE.matchAll(/^\$ waybill (.*)\n((?:(?!\$ |```).*\n)*)/gm)].map(
  ([, line = '', output = '']) => ({ args: words(line), output }),
);

function words(line: string): string[] {
  return [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare ?? '');
}

/** `npx -y name` as it is installed here. */
function installed(args: readonly string[]): string[] {
  const at = args.indexOf('npx');
  const path = join(MODULES, args[at + 2] ?? '', 'dist/index.js');
  return [...args.slice(0, at), process.execPath, path, ...args.slice(at + 3)];
}

test('the commands of docs/guides/wrap.md print what it shows', async () => {
  const cwd = tempFolder();
  mkdirSync(join(cwd, 'files'));
  writeFileSync(join(cwd, 'files/note.txt'), 'Two lines,\nno more.\n');
  let url = '';
  const shown = (text: string) => text.replaceAll(url, 'http://127.0.0.1:8080/call').replaceAll(cwd, '…');
  expect(SHOWN.filter(({ args }) => args[0] === 'wrap')).toHaveLength(2);
  expect(SHOWN.length).toBeGreaterThan(6);
  for (const { args, output } of SHOWN) {
    if (args[0] === 'wrap') {
      const running = start(['wrap', '--port', '0', ...installed(args.slice(1))], { cwd });
      const [line, address = ''] = await running.until('stdout', /^listening on (\S+),.*\n/);
      url = address;
      expect(shown(line)).toBe(output);
    } else {
      const { stdout, stderr } = await waybill([...args, ...(args[0] === 'clients' ? ['--url', url] : [])], {
        cwd,
      });
      // How often a job was looked at while it ran is by chance.
      const still = (text: string) => text.replaceAll(/^running.*\n/gm, '');
      expect(shown(still(stderr) + stdout)).toBe(still(output));
    }
  }
});
