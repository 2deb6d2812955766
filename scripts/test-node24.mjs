/** The same tests on Node 24. */
import { spawnSync } from 'node:child_process';
import { delimiter, join } from 'node:path';
import { node24 } from './node24.mjs';
import { ROOT, setUp } from './setup.mjs';

setUp();
const { node, bin } = node24();
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
