import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import { SetupError } from '../errors/index.ts';
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
  return read(path, what, true);
}

/** The same for a file that everybody may read. @throws SetupError */
export function readTextFile(path: string, what: string): string {
  return read(path, what, false);
}

function read(path: string, what: string, isSecret: boolean): string {
  const descriptor = open(path, what);
  try {
    const stat = fstatSync(descriptor);
    if (!stat.isFile()) throw new SetupError(`${what} ${path} is not a regular file: name a file`);
    // Windows keeps access lists instead; these bits say nothing there.
    if (isSecret && process.platform !== 'win32' && (stat.mode & 0o077) !== 0) {
      const mode = (stat.mode & 0o777).toString(8).padStart(3, '0');
      throw new SetupError(
        `${what} ${path} is open to other users (mode ${mode}): run chmod 600 ${shellWord(path)}`,
      );
    }
    if (stat.size > MAX_BYTES)
      throw new SetupError(`${what} ${path} has over ${MAX_BYTES} bytes: name another file`);
    return new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(descriptor));
  } catch (error) {
    if (error instanceof SetupError) throw error;
    // The decoder's own message says nothing of the path.
    if (error instanceof TypeError)
      throw new SetupError(`${what} ${path} is not UTF-8 text: name another file`);
    throw new SetupError(`cannot read ${what} ${path}: ${reasonOf(error)}`);
  } finally {
    closeSync(descriptor);
  }
}

/** Opened before it is looked at, so that what is checked is what is read; a pipe must not block. */
function open(path: string, what: string): number {
  try {
    return openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  } catch (error) {
    throw new SetupError(`cannot read ${what} ${path}: ${reasonOf(error)}`);
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
  return ('code' in error ? REASONS[String(error.code)] : undefined) ?? error.message;
}
