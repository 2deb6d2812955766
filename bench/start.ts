import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { CLI_MAIN, type Line, median, withFolder } from './support.ts';

const ROUNDS = 7;
const root = new URL('../../../', import.meta.url);

/** From spawning `waybill serve` to the line that says it listens, against an empty Node process. */
export async function benchStart(): Promise<Line[]> {
  return withFolder(async (dir) => {
    const ours: number[] = [];
    const node: number[] = [];
    for (let i = 0; i < ROUNDS; i++) {
      ours.push(await untilOutput([CLI_MAIN, 'serve', '--port', '0', '--data', `${dir}/${i}`]));
      node.push(await untilOutput(['-e', 'console.log(1); setInterval(() => {}, 1000)']));
    }
    const ms = median(ours);
    return [
      {
        what: 'start-up of serve, until it listens',
        ours: `${ms.toFixed(0)} ms`,
        baseline: `${median(node).toFixed(0)} ms node alone`,
        figure: '',
        target: '< 500 ms',
        ok: ms < 500,
      },
    ];
  });
}

function untilOutput(args: readonly string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const startMs = performance.now();
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    child.on('error', reject);
    child.stdout.once('data', () => {
      const ms = performance.now() - startMs;
      child.once('exit', () => resolve(ms));
      child.kill('SIGKILL');
    });
  });
}

/** What a browser downloads for `waybill/client`. */
export async function benchClientSize(): Promise<Line[]> {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL('dist/client/index.js', root))],
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'browser',
    write: false,
  });
  const [bundle] = outputFiles;
  if (bundle === undefined) throw new Error('esbuild made no bundle');
  const bytes = gzipSync(bundle.contents).length;
  return [
    {
      what: 'waybill/client, bundled and gzipped',
      ours: `${(bytes / 1_000).toFixed(1)} kB`,
      baseline: '',
      figure: '',
      target: '< 12 kB',
      ok: bytes < 12_000,
    },
  ];
}
