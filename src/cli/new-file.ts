import { closeSync, fsyncSync, openSync, rmSync, writeSync } from 'node:fs';
import { writeAll } from '../disk.ts';
import { SetupError, systemCodeOf } from '../errors/index.ts';
import { reasonOf } from './read-file.ts';

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
  await inNewFile(path, (file) => work((text) => void writeSync(file, `${text}\n`)));
}

/** The same for work that writes to the file itself, given by its descriptor. */
export async function inNewFile<T>(path: string, work: (file: number) => Promise<T>): Promise<T> {
  const file = createNewFile(path);
  try {
    return await work(file);
  } catch (error) {
    rmSync(path, { force: true });
    throw error;
  } finally {
    closeSync(file);
  }
}

/** A file for its owner only, to write to; whoever asks for it closes it. @throws SetupError where it cannot be made */
export function createNewFile(path: string): number {
  try {
    return openSync(path, 'wx', 0o600);
  } catch (error) {
    const noFolder = systemCodeOf(error) === 'ENOENT';
    throw new SetupError(`cannot write ${path}: ${noFolder ? 'make its folder first' : reasonOf(error)}`);
  }
}

/** Writes all of it. @throws SetupError when the disk refuses */
export function writeWhole(path: string, file: number, bytes: Uint8Array): void {
  onDisk(path, () => void writeAll(file, bytes));
}

/** What was written survives a power cut. @throws SetupError when the disk refuses */
export function flush(path: string, file: number): void {
  onDisk(path, () => fsyncSync(file));
}

function onDisk(path: string, work: () => void): void {
  try {
    work();
  } catch (error) {
    throw new SetupError(`cannot write ${path}: ${reasonOf(error)}`, { cause: error });
  }
}
