/**
 * Everything that is checked without running the program, at once, with one line for each check and what it
 * found where it failed. The exit code is the number of failed checks.
 */
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { buildIfStale, ROOT, setUp } from './setup.mjs';

setUp({ build: false });
// What the compiler objects to is told by the check of types.
buildIfStale();

const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
const packFolder = join(ROOT, '.cache/pack');
const tarball = join(packFolder, `waybill-${version}.tgz`);
mkdirSync(packFolder, { recursive: true });

/** @type {Record<string, string[]>} name → commands, run one after the other */
const CHECKS = {
  // Set-up is `npm ci`: is the lock file complete, and does it fit package.json?
  lockfile: ['npm ci --dry-run --ignore-scripts'],
  types: ['tsc --noEmit'],
  lint: ['oxlint --format=unix'],
  format: ['biome format --reporter=summary'],
  layers: ['vitest run test/architecture.test.ts'],
  unused: ['knip --no-config-hints'],
  package: [
    `npm pack --ignore-scripts --pack-destination "${packFolder}"`,
    `publint run --strict "${tarball}"`,
    `attw --profile esm-only "${tarball}"`,
  ],
};

const checks = await Promise.all(Object.entries(CHECKS).map(([name, commands]) => check(name, commands)));
const failures = checks.filter(({ status }) => status !== 0);
for (const { name, output } of failures) console.log(`\n── ${name}\n${output.trim()}`);
process.exitCode = failures.length;

/**
 * @param {string} name
 * @param {string[]} commands
 */
async function check(name, commands) {
  const start = performance.now();
  let result = { status: 0, output: '' };
  for (const command of commands) {
    if (result.status === 0) result = await run(command);
  }
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.log(`${result.status === 0 ? '✓' : '✗'} ${name.padEnd(8)} ${seconds} s`);
  return { name, ...result };
}

/**
 * @param {string} command as npm would run it
 * @returns {Promise<{ status: number, output: string }>}
 */
function run(command) {
  const bin = join(ROOT, 'node_modules/.bin');
  const child = spawn(command, {
    cwd: ROOT,
    shell: true,
    env: { ...process.env, PATH: `${bin}${delimiter}${process.env.PATH}` },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      output += text;
    });
  }
  return new Promise((resolve) => {
    child.on('close', (status) => resolve({ status: status ?? 1, output }));
  });
}
