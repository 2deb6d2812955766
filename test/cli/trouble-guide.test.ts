import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { tempFolder } from '../support/temp.ts';
import { start, waybill } from './waybill.ts';

/** docs/guides/trouble.md shows what really comes. */
const GUIDE = readFileSync(new URL('../../docs/guides/trouble.md', import.meta.url), 'utf8');

/** Every command that the guide shows, with what it prints. */
const SHOWN = [...GUIDE.matchAll(/^\$ waybill (.*)\n((?:(?!\$ |```).*\n)*)/gm)].map(
  ([, line = '', output = '']) => ({
    args: [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare ?? ''),
    output,
  }),
);

/** Without what differs each time: clocks, counts of a minute that may end meanwhile, keys. */
function still(text: string): string {
  return text
    .replaceAll(/this clock is \d+ ms (behind|ahead of)/g, 'this clock is … ms behind')
    .replaceAll(/\d+ of 100 calls/g, '… of 100 calls')
    .replaceAll(/^(✓ fingerprint +)[0-9a-f]{32}$/gm, '$1…')
    .replaceAll(/wbp_[\w-]{51}$/gm, 'wbp_…');
}

test('the commands of docs/guides/trouble.md print what it shows', async () => {
  const cwd = tempFolder();
  let url = '';
  const shown = (text: string) => still(text.replaceAll(url, 'http://127.0.0.1:8080/call'));
  expect(SHOWN.map(({ args }) => args[0])).toEqual(['serve', 'clients', 'doctor', 'call']);
  for (const { args, output } of SHOWN) {
    if (args[0] === 'serve') {
      const running = start([...args, '--port', '0'], { cwd });
      const [line, address = ''] = await running.until('stdout', /^listening on (\S+),.*\n/);
      url = address;
      expect(shown(line)).toBe(output);
    } else {
      const more = args[0] === 'clients' ? ['--url', url] : [];
      const { stdout, stderr } = await waybill([...args, ...more], { cwd });
      expect(shown(stderr + stdout)).toBe(still(output));
    }
  }
});
