import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { expect, test } from 'vitest';

const ENTRY = join(dirname(fileURLToPath(import.meta.url)), '../../src/client/index.ts');
const MAX_GZIPPED_BYTES = 12_000;

test('the client bundles for browsers without Node and without packages, below 12 kB gzipped', async () => {
  // For this platform esbuild itself refuses an import of node:*.
  const { outputFiles, metafile } = await build({
    entryPoints: [ENTRY],
    bundle: true,
    minify: true,
    platform: 'browser',
    format: 'esm',
    write: false,
    metafile: true,
    outdir: 'out',
    logLevel: 'silent',
  });
  expect(Object.values(metafile.outputs).flatMap(({ imports }) => imports)).toEqual([]);
  expect(Object.keys(metafile.inputs).filter((path) => path.includes('node_modules'))).toEqual([]);
  const [bundle] = outputFiles;
  expect(bundle?.text).not.toMatch(/\b(?:process|Buffer|require)\b[.(]/);
  expect(gzipSync(bundle?.contents ?? '').length).toBeLessThan(MAX_GZIPPED_BYTES);
});
