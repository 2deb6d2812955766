/** The same tests on Node 24: its binary comes from the npm package `node`, into .cache/ only. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { npm, ROOT, say, setUp } from './setup.mjs';

const VERSION = '24.21.0';

setUp();

// Not a dependency: it would put its `node` before the user's own in every npm script.
const folder = join(ROOT, '.cache', `node-${VERSION}`);
const bin = join(folder, 'node_modules/node/bin');
const node = join(bin, process.platform === 'win32' ? 'node.exe' : 'node');

if (!existsSync(node)) {
  say(`installing Node ${VERSION} into .cache/ …`);
  mkdirSync(folder, { recursive: true });
  const manifest = {
    private: true,
    dependencies: { node: VERSION },
    allowScripts: { node: true },
  };
  writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest));
  npm(['install'], folder);
}

const tests = spawnSync(
  node,
  [join(ROOT, 'node_modules/vitest/vitest.mjs'), 'run', ...process.argv.slice(2)],
  {
    cwd: ROOT,
    // What tests start by name is the same Node.
    env: { ...process.env, PATH: `${bin}${delimiter}${process.env.PATH}` },
    stdio: 'inherit',
  },
);
process.exitCode = tests.status ?? 1;
