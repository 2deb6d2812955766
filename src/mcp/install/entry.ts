import { win32 } from 'node:path';
import { isObject } from '../../wire/index.ts';
import type { Host } from './hosts.ts';

/** How a host starts `waybill connect`. */
export interface Entry {
  readonly type?: 'stdio';
  readonly command: string;
  readonly args: readonly string[];
}

/**
 * Runs this very Node and this very script by their absolute paths: hosts that are started from a desktop have
 * not the PATH of a shell, and `npx` would look for another version, or another package, at every start.
 *
 * @param script main.js of the command line
 */
export function entryOf(host: Host, script: string, credential: string): Entry {
  return {
    ...(host.typed && { type: 'stdio' }),
    command: process.execPath,
    args: [script, 'connect', '--credential', credential],
  };
}

/** Does this entry start `waybill connect`, of whatever version and place? */
export function isOurs(value: unknown): boolean {
  const { command, args } = isObject(value) ? value : {};
  if (!Array.isArray(args)) return false;
  const words = [command].concat(args);
  const at = words.indexOf('connect');
  if (at === -1 || !words.includes('--credential', at)) return false;
  return words.slice(0, at).some((word) => typeof word === 'string' && isWaybill(word));
}

/** `waybill` itself, or its script where a package or a checkout has it. */
function isWaybill(word: string): boolean {
  // Takes both kinds of slash.
  const path = win32.normalize(word);
  return /^waybill(@[\w.-]+|\.cmd)?$/.test(win32.basename(path)) || path.endsWith('\\dist\\cli\\main.js');
}
