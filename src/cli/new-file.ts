import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import { SetupError } from '../errors/index.ts';
import { reasonOf } from './secret-file.ts';

/** Writes the text, with a line feed behind it. */
type Write = (text: string) => void;

/**
 * Runs work that ends in a secret, with a new file for its owner only. The file is made before the secret is: then
 * that always has a place to go. Work that fails takes the file with it.
 *
 * @param path `undefined`: no file is wanted, and `work` gets `null`
 * @throws SetupError when the file cannot be made, or exists already; and what `work` throws
 */
export async function withNewFile(
  path: string | undefined,
  work: (write: Write | null) => Promise<void>,
): Promise<void> {
  if (path === undefined) return work(null);
  const file = create(path);
  try {
    await work((text) => void writeSync(file, `${text}\n`));
  } catch (error) {
    rmSync(path, { force: true });
    throw error;
  } finally {
    closeSync(file);
  }
}

function create(path: string): number {
  try {
    return openSync(path, 'wx', 0o600);
  } catch (error) {
    const noFolder = error instanceof Error && 'code' in error && error.code === 'ENOENT';
    throw new SetupError(`cannot write ${path}: ${noFolder ? 'make its folder first' : reasonOf(error)}`);
  }
}
