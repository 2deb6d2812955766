import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

/** docs/ARCHITECTURE.md, “Floors”: a file imports from its own folder or from lower floors only. */
const FLOORS: Readonly<Record<string, number>> = {
  errors: 0,
  'disk.ts': 0,
  'limits.ts': 0,
  'version.ts': 0,
  'turns.ts': 1,
  wire: 1,
  tools: 1,
  store: 2,
  audit: 3,
  jobs: 3,
  server: 4,
  client: 4,
  transports: 5,
  mcp: 6,
  cli: 7,
  // The public entry: names what is offered, from anywhere; nothing imports it.
  'index.ts': 8,
};

/** The client runs in browsers: it may use these, and of `wire` only what uses no part of Node. */
const CLIENT_MAY_IMPORT = new Set(['client', 'errors', 'limits.ts', 'wire']);

const MAX_LINES = 300;

type Sources = ReadonlyMap<string, string>;

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '../src');
const SOURCES: Sources = new Map(
  readdirSync(ROOT, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts'))
    .map((path) => [path.replaceAll('\\', '/'), readFileSync(join(ROOT, path), 'utf8')]),
);

/** Statements start a line (the formatter sees to it), so that comments and strings are not taken for imports. */
const IMPORT =
  /^(?:import|export)\b[^;'"]*?\bfrom\s+['"]([^'"]+)['"]|^import\s+['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]/gm;

/** What a file imports: paths below src/ for our own files, names as written for everything else. */
function importsOf(path: string, source: string): string[] {
  return [...source.matchAll(IMPORT)]
    .map(([, from, bare, dynamic]) => from ?? bare ?? dynamic ?? '')
    .map((name) => (name.startsWith('.') ? posix.join(posix.dirname(path), name) : name));
}

const isOurs = (name: string): boolean => name.endsWith('.ts');
const folderOf = (path: string): string => path.split('/')[0] ?? '';

function upwardImports(sources: Sources): string[] {
  return [...sources].flatMap(([path, source]) => {
    const own = FLOORS[folderOf(path)];
    if (own === undefined) return [`${path}: ${folderOf(path)} has no floor`];
    return importsOf(path, source)
      .filter((name) => isOurs(name) && folderOf(name) !== folderOf(path))
      .filter((name) => (FLOORS[folderOf(name)] ?? Number.POSITIVE_INFINITY) >= own)
      .map((name) => `${path} imports ${name}`);
  });
}

/** Everything that the files of the client reach which a browser does not have, or which is not theirs. */
function foreignToClient(sources: Sources): string[] {
  const reached = new Set([...sources.keys()].filter((path) => folderOf(path) === 'client'));
  const found: string[] = [];
  // A Set hands out what is added to it while it is walked.
  for (const path of reached) {
    for (const name of importsOf(path, sources.get(path) ?? '')) {
      if (isOurs(name) && CLIENT_MAY_IMPORT.has(folderOf(name))) reached.add(name);
      else found.push(`${path} imports ${name}`);
    }
  }
  return found;
}

describe('the source tree', () => {
  test('every import stays in its folder or goes to a lower floor', () => {
    expect(upwardImports(SOURCES)).toEqual([]);
  });

  test('the client imports only errors, limits and wire, and nothing of them needs Node or a package', () => {
    expect(foreignToClient(SOURCES)).toEqual([]);
  });

  test(`every file has fewer than ${MAX_LINES} lines`, () => {
    const long = [...SOURCES].filter(([, source]) => source.split('\n').length > MAX_LINES);
    expect(long.map(([path]) => path)).toEqual([]);
  });

  test('no index exports everything of a file: names are exported one by one', () => {
    expect([...SOURCES].filter(([, source]) => /^export \*/m.test(source)).map(([path]) => path)).toEqual([]);
  });
});

describe('the rules see', () => {
  // Planted into a tree without findings of its own: then what is found is what was planted.
  const planted = (path: string, source: string, keep: (path: string) => boolean): Sources =>
    new Map([...[...SOURCES].filter(([own]) => keep(own)), [path, source]]);

  test.each([
    ['an upward import', 'wire/planted.ts', "import { open } from '../store/index.ts';"],
    ['a sibling', 'tools/planted.ts', "import type { Codec } from '../wire/index.ts';"],
    [
      'a sibling from deeper down',
      'store/sqlite/planted.ts',
      "import {\n  a,\n} from '../../jobs/index.ts';",
    ],
    ['an export', 'errors/planted.ts', "export { isObject } from '../wire/index.ts';"],
    ['a dynamic import', 'jobs/planted.ts', "const server = await import('../server/index.ts');"],
    ['a folder without a floor', 'misc/planted.ts', ''],
  ])('%s', (_what, path, source) => {
    expect(upwardImports(planted(path, source, () => false))).toHaveLength(1);
  });

  test.each([
    ['a part of Node', "import { hash } from 'node:crypto';"],
    ['a package', "import { z } from 'zod';"],
    ['a folder that is not for the client', "import { invoke } from '../tools/index.ts';"],
    ['a part of Node behind a file of wire', "import '../wire/signature.ts';"],
  ])('%s in the client', (_what, source) => {
    const tree = planted('client/planted.ts', source, (path) => folderOf(path) !== 'client');
    expect(foreignToClient(tree)).toHaveLength(1);
  });
});
