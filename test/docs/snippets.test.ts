import { spawn } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, onTestFinished } from 'vitest';
import { watch } from '../cli/waybill.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));

/** A fenced block of code, and the example that a comment above it names. */
interface Snippet {
  readonly page: string;
  readonly example: string | undefined;
  readonly code: string;
}

const PAGES = ['README.md', ...readdirSync(join(root, 'docs/guides')).map((name) => `docs/guides/${name}`)];

const SNIPPETS: Snippet[] = PAGES.flatMap((page) => {
  const text = readFileSync(join(root, page), 'utf8');
  const blocks = text.matchAll(/(?:<!-- (?<example>\S+) -->\n)?```(?:ts|js)\n(?<code>[\s\S]*?)```/g);
  return [...blocks].map(({ groups }) => ({
    page,
    example: groups?.['example'],
    code: groups?.['code'] ?? '',
  }));
});

/** What the fragments of the guides take for granted. */
const PRELUDE = `
import type { Client } from 'waybill/client';
declare const text: string;
declare const client: Client;
declare function fragment(work: () => unknown): void;
export { client, text };
`;

describe('code in README.md and docs/guides', () => {
  it('is, where it names an example, that example to the letter', () => {
    const named = SNIPPETS.filter(({ example }) => example !== undefined);
    expect(named.length).toBeGreaterThanOrEqual(3);
    for (const { page, example = '', code } of named) {
      expect(code, `${page} shows ${example}`).toBe(readFileSync(join(root, example), 'utf8'));
    }
  });

  // A compiler may take a minute on a busy machine.
  it('compiles against the published types where it is a fragment', async () => {
    const dir = join(root, '.cache/snippets');
    rmSync(dir, { recursive: true, force: true });
    mkdirSync(dir, { recursive: true });
    onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
    const fragments = SNIPPETS.filter(({ example }) => example === undefined);
    expect(fragments.length).toBeGreaterThanOrEqual(3);
    for (const [i, { code }] of fragments.entries()) {
      const imports = code.match(/^import .*$/gm)?.join('\n') ?? '';
      const body = code.replace(/^import .*$/gm, '');
      // Alternatives stand one below the other: each throw must compile although the one above it returns.
      const alternatives = body.replace(/^throw (.*;)/gm, 'if (Math.random() < 0.5) throw $1');
      writeFileSync(join(dir, `${i}.ts`), `${PRELUDE}${imports}\nfragment(async () => {${alternatives}});\n`);
    }
    const options = { include: [`${dir}/*.ts`], extends: join(root, 'tsconfig.json') };
    const relaxed = { ...options, compilerOptions: { noUnusedLocals: false, allowUnreachableCode: true } };
    writeFileSync(join(dir, 'tsconfig.json'), JSON.stringify(relaxed));
    const tsc = join(root, 'node_modules/.bin/tsc');
    const compiled = await watch(spawn(tsc, ['--noEmit', '-p', dir])).ended;
    expect(compiled).toMatchObject({ code: 0, stdout: '' });
  }, 180_000);
});
