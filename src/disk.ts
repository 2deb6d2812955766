import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs';

/**
 * Writes the first `length` bytes to a file, however many the system takes at once.
 *
 * @returns their number
 * @throws Error of the file system, with a part of them written perhaps
 */
export function writeAll(file: number, bytes: Uint8Array, length: number = bytes.length): number {
  for (let at = 0; at < length; ) at += writeSync(file, bytes, at, length - at);
  return length;
}

/** Makes the names in a folder durable; Windows opens no folders, and does so by itself. */
export function syncFolder(path: string): void {
  if (process.platform === 'win32') return;
  const folder = openSync(path, 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

/** May anybody but the owner do something with a file of this mode? Windows keeps access lists instead. */
export function isOpenToOthers(mode: number): boolean {
  return process.platform !== 'win32' && (mode & 0o077) !== 0;
}
