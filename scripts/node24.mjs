/** Node 24 for whatever needs a later Node than the oldest that we support: its binary comes from npm. */
import { join } from 'node:path';
import { cachedPackage } from './cached-package.mjs';

const VERSION = '24.21.0';

/**
 * Makes sure that Node 24 lies in .cache/; ends the process with exit code 2 if it cannot be had.
 *
 * @returns {{ node: string, bin: string }} the program, and the folder it lies in for a PATH
 */
export function node24() {
  // Its install script puts the binary in place.
  const bin = join(cachedPackage('node', VERSION, { scripts: true }), 'bin');
  return { node: join(bin, process.platform === 'win32' ? 'node.exe' : 'node'), bin };
}
