/**
 * npm packages that some checks need and nobody else: into .cache/ when asked for, at one exact version. They are
 * no dependencies, because they are heavy or would put a program of their own before the user's.
 */
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { npm, ROOT, say } from './setup.mjs';

/**
 * Makes sure that a package lies in .cache/; ends the process with exit code 2 if it cannot be had.
 *
 * @param {string} name
 * @param {string} version
 * @param {{ scripts?: boolean }} [options] `scripts: true` lets its own install scripts run
 * @returns {string} the folder of the package
 */
export function cachedPackage(name, version, { scripts = false } = {}) {
  const folder = join(ROOT, '.cache', `${name.slice(name.indexOf('/') + 1)}-${version}`);
  const installed = join(folder, 'node_modules', name);
  if (existsSync(installed)) return installed;
  say(`installing ${name} ${version} into .cache/ …`);
  const fresh = `${folder}-${process.pid}`;
  mkdirSync(fresh, { recursive: true });
  const manifest = {
    private: true,
    dependencies: { [name]: version },
    ...(scripts && { allowScripts: { [name]: true } }),
  };
  writeFileSync(join(fresh, 'package.json'), JSON.stringify(manifest));
  npm(scripts ? ['install'] : ['install', '--ignore-scripts'], fresh);
  takePlace(fresh, folder);
  return installed;
}

/**
 * Another process may have installed the same in between; then its install stays.
 *
 * @param {string} fresh
 * @param {string} folder
 */
function takePlace(fresh, folder) {
  try {
    renameSync(fresh, folder);
  } catch (error) {
    rmSync(fresh, { recursive: true, force: true });
    if (!existsSync(join(folder, 'node_modules'))) throw error;
  }
}
