import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { describe, expect, test } from 'vitest';
import { EXITS, OWN_CODES } from '../../src/cli/exits.ts';
import { createProgram } from '../../src/cli/program.ts';
import { tempFolder } from '../support/temp.ts';
import { waybill } from './waybill.ts';

/** docs/reference/cli.md and the program say the same. */
const DOCS = readFileSync(new URL('../../docs/reference/cli.md', import.meta.url), 'utf8');

interface Leaf {
  /** Like `waybill clients add`. */
  readonly path: string;
  readonly command: Command;
}

function leaves(command: Command, path: string): Leaf[] {
  const subs = command.commands;
  return subs.length === 0
    ? [{ path, command }]
    : subs.flatMap((sub) => leaves(sub, `${path} ${sub.name()}`));
}

const LEAVES = leaves(createProgram(), 'waybill');

/** The text below a heading, up to the next one of any level. */
function section(heading: string): string {
  const start = DOCS.indexOf(`\n${heading}\n`);
  if (start === -1) throw new RangeError(`docs/reference/cli.md has no heading "${heading}"`);
  const body = DOCS.slice(start + heading.length + 2);
  const end = body.search(/^#/m);
  return end === -1 ? body : body.slice(0, end);
}

/** The cells of each row of a table whose first cell begins with the given text. */
function rows(text: string, first: string): string[][] {
  const lines = text.split('\n').filter((line) => line.startsWith(`| ${first}`));
  return lines.map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

/** The words of a command line, as a shell would see them, without what is behind a `<` or a `|`. */
function words(line: string): string[] {
  return [...(line.split(/ [<|>] /)[0] ?? '').matchAll(/'([^']*)'|(\S+)/g)].map(
    ([, quoted, bare]) => quoted ?? bare ?? '',
  );
}

/** Parses as the program does, without running anything. */
async function parse(line: string): Promise<void> {
  const program = createProgram();
  for (const { command } of leaves(program, '')) command.action(() => {});
  await program.parseAsync(words(line).slice(1), { from: 'user' });
}

describe('docs/reference/cli.md', () => {
  test('has the exit codes of the program, no others', () => {
    const table = rows(section('## Exit codes'), '`').map(([code, meaning]) => [code, meaning]);
    expect(table).toEqual(Object.values(EXITS).map(({ exitCode, meaning }) => [`\`${exitCode}\``, meaning]));
  });

  test('has the codes that a failure has beside those of the protocol, no others', () => {
    const documented = rows(section('## Failure codes'), '`').map(([code]) => code);
    expect(documented).toEqual(OWN_CODES.map((code) => `\`${code}\``));
  });

  test('has a section for every verb, no others', () => {
    const headings = [...DOCS.matchAll(/^### `(waybill [^`]*)`$/gm)].map(([, path]) => path);
    expect(headings).toEqual(LEAVES.map(({ path }) => path));
  });

  test.each(LEAVES)('has the flags and variables of $path, no others', ({ path, command }) => {
    const flags = rows(section(`### \`${path}\``), '`-').map(([flag, variable]) => [flag, variable]);
    const expected = command.options.map(({ flags: flag, envVar }) => [
      `\`${flag}\``,
      envVar === undefined ? '' : `\`${envVar}\``,
    ]);
    expect(flags).toEqual(expected);
  });

  test.each(LEAVES)('has the usage of $path', ({ path, command }) => {
    const usage = command.usage().replace('[options] ', '').replace('[options]', '').trim();
    expect(section(`### \`${path}\``)).toContain(
      `\`\`\`text\n${`${path} ${usage}`.trim()} [options]\n\`\`\``,
    );
  });

  test('shows only command lines that the program takes', async () => {
    const lines = [...DOCS.matchAll(/^\$ (waybill .*)$/gm)].map(([, line]) => line ?? '');
    expect(lines.length).toBeGreaterThan(10);
    for (const line of lines.filter((each) => !/--help|--version|--prot /.test(each))) await parse(line);
  });
});

describe('the help', () => {
  test('of a verb is the same by "help" and by "--help", also within a group', async () => {
    const cwd = tempFolder();
    const [verb, flag, root] = await Promise.all(
      ['help clients add', 'clients add --help', 'help'].map((line) => waybill(line.split(' '), { cwd })),
    );
    expect(verb?.stdout).toMatch(/^Usage: waybill clients add /);
    expect(verb).toEqual(flag);
    expect(root?.stdout).toMatch(/^Usage: waybill \[options\]/);
  });

  test.each(LEAVES)('of $path has examples that the program takes', async ({ command }) => {
    let help = '';
    command.configureOutput({ writeOut: (text) => (help += text) }).outputHelp();
    const examples = [...help.matchAll(/^ {2}\$ (waybill .*)$/gm)].map(([, line]) => line ?? '');
    expect(examples.length).toBeGreaterThan(0);
    for (const line of examples) await parse(line);
  });
});
