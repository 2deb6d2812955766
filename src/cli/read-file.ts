import { closeSync, constants, fstatSync, openSync, readFileSync, type Stats } from 'node:fs';
import { isOpenToOthers } from '../disk.ts';
import { SetupError, systemCodeOf } from '../errors/index.ts';
import { shellWord } from './output.ts';

/** Far more than a credential or a key has. */
const MAX_BYTES = 65_536;

/**
 * Reads a file that holds a secret.
 *
 * @param what it is, for messages: `credential file`
 * @throws SetupError when it is missing, not a regular file, or open to other users; never with its contents
 */
export function readSecretFile(path: string, what: string): string {
  return withFile(path, what, (file, { mode, size }) => {
    if (isOpenToOthers(mode)) {
      const shown = (mode & 0o777).toString(8).padStart(3, '0');
      throw new SetupError(
        `${what} ${path} is open to other users (mode ${shown}): run chmod 600 ${shellWord(path)}`,
      );
    }
    return readText(file, size, MAX_BYTES, `${what} ${path}`);
  });
}

/** The same for a file that everybody may read. @throws SetupError */
export function readTextFile(path: string, what: string, maxBytes = MAX_BYTES): string {
  return withFile(path, what, (file, { size }) => readText(file, size, maxBytes, `${what} ${path}`));
}

function readText(file: number, size: number, maxBytes: number, which: string): string {
  if (size > maxBytes) throw new SetupError(`${which} has over ${maxBytes} bytes: name another file`);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(file));
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    // The decoder's own message says nothing of the path.
    throw new SetupError(`${which} is not UTF-8 text: name another file`);
  }
}

/**
 * Works with a regular file, given by its descriptor. It is opened before it is looked at, so that what is checked is
 * what is read.
 *
 * @throws SetupError where there is none that can be read, and what `work` throws
 */
export function withFile<T>(path: string, what: string, work: (file: number, stat: Stats) => T): T {
  let file: number | null = null;
  try {
    // A pipe must not block.
    file = openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    const stat = fstatSync(file);
    if (stat.isDirectory()) throw new SetupError(`${what} ${path} is a folder: name a file`);
    if (!stat.isFile()) throw new SetupError(`${what} ${path} is not a regular file: name a file`);
    return work(file, stat);
  } catch (error) {
    if (error instanceof SetupError) throw error;
    throw new SetupError(`cannot read ${what} ${path}: ${reasonOf(error)}`);
  } finally {
    if (file !== null) closeSync(file);
  }
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EACCES: 'not allowed; correct its permissions',
  EISDIR: 'it is a folder; name a file',
  ENOTDIR: 'a part of the path is not a folder',
  EEXIST: 'it exists already; name a new file',
};

/** Why the file system refused, in words. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return REASONS[String(systemCodeOf(error))] ?? error.message;
}
