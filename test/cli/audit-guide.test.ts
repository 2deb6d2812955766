import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { tempFolder } from '../support/temp.ts';
import { serveWithAlice, waybill } from './waybill.ts';

/** docs/guides/audit.md, “Export, verify, prove”, shows what really comes. */
const GUIDE = readFileSync(new URL('../../docs/guides/audit.md', import.meta.url), 'utf8');
const SECTION = GUIDE.slice(GUIDE.indexOf('\n## Export, verify, prove\n'));

interface Shown {
  readonly program: string;
  readonly args: readonly string[];
  readonly output: string;
}

/** Every command, with what it prints. */
const SHOWN: Shown[] = [...SECTION.matchAll(/^\$ (\w+) (.*)\n((?:(?!\$ |```).*\n)*)/gm)].map(
  ([, program = '', line = '', output = '']) => ({ program, args: words(line), output }),
);

function words(line: string): string[] {
  return [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare ?? '');
}

/** What differs each time: times, ids, keys, and how many heads there are. */
function timeless(text: string): string {
  return text
    .replaceAll(/\d{8}T\d{6}\.\d{3}Z-[0-9a-f]{8}/g, 'CHAIN')
    .replaceAll(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC/g, 'TIME')
    .replaceAll(/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, 'UUID')
    .replaceAll(/wbp_[\w-]+/g, 'KEY')
    .replaceAll(/key [0-9a-f]{8}/g, 'key HEX')
    .replaceAll(/CHAIN:\d+|\d+ records|record \d+|head \d+/g, (place) => place.replace(/\d+/, 'N'));
}

test('the commands of docs/guides/audit.md print what it shows', { timeout: 90_000 }, async () => {
  const cwd = tempFolder();
  const serving = await serveWithAlice(cwd, '--server-id', 'acme');
  let key = '';
  expect(SHOWN.length).toBeGreaterThan(6);
  for (const { program, args, output } of SHOWN) {
    if (program === 'sed') {
      expect(args).toEqual(['4d', 'audit.jsonl', '>', 'lost.jsonl']);
      const lines = readFileSync(join(cwd, 'audit.jsonl'), 'utf8').split('\n');
      writeFileSync(join(cwd, 'lost.jsonl'), lines.toSpliced(3, 1).join('\n'));
      continue;
    }
    expect(program).toBe('waybill');
    const given = args.map((word) => (word.startsWith('wbp_') ? key : word));
    const { stdout, stderr } = await waybill(given, { cwd });
    expect(timeless(stderr + stdout)).toBe(timeless(output));
    if (args[1] === 'key') key = stdout.trim();
    if (args[0] !== 'call') continue;
    serving.child.kill('SIGTERM');
    await serving.ended;
  }
});
