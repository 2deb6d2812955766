/**
 * Brings a checkout to the point where it runs: dependencies installed, dist/ built. Does nothing, and
 * prints nothing, where that is already so. Runs before anything is installed: Node and npm only.
 *
 *     node scripts/setup.mjs [--no-build]
 */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const DIST = join(ROOT, 'dist');
/** What dist/ was built from; lives in it so that both go together. */
const STAMP = join(DIST, '.stamp');

/**
 * Installs and builds what is missing; ends the process with exit code 2 if that fails.
 *
 * @param {{ build?: boolean }} [options] `build: false` only installs
 */
export function setUp({ build = true } = {}) {
  if (!nodeIsAtLeast(20, 19)) fail(`needs Node 20.19 or later, this is ${process.versions.node}`);
  if (installIsStale()) install();
  if (!build || !buildIsStale()) return;
  say('building dist/ from src/ …');
  const problems = buildDist();
  if (problems !== null) fail(`the build failed:\n${problems}`);
}

/**
 * Builds dist/ where src/ has changed since. Files are written even if the compiler objects.
 *
 * @returns {string | null} what the compiler objects to
 */
export function buildIfStale() {
  return buildIsStale() ? buildDist() : null;
}

/**
 * @param {number} major
 * @param {number} minor
 */
function nodeIsAtLeast(major, minor) {
  const [ownMajor = 0, ownMinor = 0] = process.versions.node.split('.').map(Number);
  return ownMajor > major || (ownMajor === major && ownMinor >= minor);
}

function installIsStale() {
  const installed = modifiedMs(join(ROOT, 'node_modules/.package-lock.json'));
  return installed === null || installed < (modifiedMs(join(ROOT, 'package-lock.json')) ?? 0);
}

function install() {
  say('installing dependencies with npm ci (once; a minute or two) …');
  npm(['ci', '--include=dev', '--include=optional'], ROOT);
  if (hasSqlite()) return;
  say(
    'better-sqlite3 could not be built and this Node has no SQLite of its own: everything that keeps jobs ' +
      'will refuse to start. Install python3, make and a C++ compiler and run "npm ci", or use Node 22.13 or later.',
  );
}

/** Is there a SQLite that loads here: the optional better-sqlite3, or the one of Node ≥ 22.13? */
function hasSqlite() {
  const load = createRequire(import.meta.url);
  try {
    const Database = load('better-sqlite3');
    new Database(':memory:').close();
    return true;
  } catch {
    return nodeIsAtLeast(22, 13);
  }
}

/**
 * Runs npm in a folder, silent unless it fails; then ends the process.
 *
 * @param {string[]} args
 * @param {string} cwd
 */
export function npm(args, cwd) {
  // Node's own headers, where they came with it, spare node-gyp a download.
  const prefix = dirname(dirname(process.execPath));
  const headers = existsSync(join(prefix, 'include/node/node.h')) ? { npm_config_nodedir: prefix } : {};
  const npmRun = spawnSync('npm', [...args, '--no-audit', '--no-fund', '--loglevel=notice'], {
    cwd,
    env: { ...process.env, ...headers },
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    stdio: ['ignore', 'pipe', 'pipe'],
    shell: process.platform === 'win32',
  });
  if (npmRun.status === 0) return;
  const output = `${npmRun.stdout ?? ''}${npmRun.stderr ?? ''}`.trim();
  fail(`npm ${args[0]} failed${npmRun.error ? `: ${npmRun.error.message}` : ''}\n${output}`);
}

function buildIsStale() {
  return !existsSync(STAMP) || readFileSync(STAMP, 'utf8') !== sourcesNow();
}

/** Compiles beside dist/ and then takes its place, so that nobody sees a half-written build. */
function buildDist() {
  const sources = sourcesNow();
  const fresh = join(ROOT, '.cache', `build-${process.pid}`);
  const tsc = spawnSync(
    process.execPath,
    [join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', 'tsconfig.build.json', '--outDir', fresh],
    { cwd: ROOT, encoding: 'utf8' },
  );
  const main = join(fresh, 'cli/main.js');
  if (existsSync(main)) chmodSync(main, 0o755);
  mkdirSync(fresh, { recursive: true });
  // Without a stamp the next run builds again.
  if (tsc.status === 0) writeFileSync(join(fresh, '.stamp'), sources);
  replaceFolder(DIST, fresh);
  return tsc.status === 0 ? null : `${tsc.stdout}${tsc.stderr}`.trim();
}

/**
 * @param {string} folder
 * @param {string} fresh
 */
function replaceFolder(folder, fresh) {
  const old = `${fresh}-old`;
  // Another process may build at the same time and get in between; then its build is replaced in turn.
  for (let tries = 5; ; tries--) {
    try {
      if (existsSync(folder)) renameSync(folder, old);
      renameSync(fresh, folder);
      break;
    } catch (error) {
      if (tries === 0) throw error;
    } finally {
      rmSync(old, { recursive: true, force: true });
    }
  }
}

/** Name, size and time of everything that a build depends on: a change, an addition and a removal all show. */
function sourcesNow() {
  const files = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' }).map((name) =>
    join('src', name),
  );
  return ['package-lock.json', 'tsconfig.json', 'tsconfig.build.json', ...files.sort()]
    .map((name) => ({ name, stat: statSync(join(ROOT, name)) }))
    .filter(({ stat }) => stat.isFile())
    .map(({ name, stat }) => `${name} ${stat.size} ${stat.mtimeMs}`)
    .join('\n');
}

/** @param {string} path */
function modifiedMs(path) {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? null;
}

/**
 * One line to a person; standard output belongs to the program that runs next.
 *
 * @param {string} text
 */
export function say(text) {
  process.stderr.write(`waybill: ${text}\n`);
}

/**
 * @param {string} text
 * @returns {never}
 */
function fail(text) {
  say(text);
  process.exit(2);
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  setUp({ build: !process.argv.includes('--no-build') });
