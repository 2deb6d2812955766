import { randomUUID } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  fsyncSync,
  lstatSync,
  openSync,
  realpathSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { syncFolder, writeAll } from '../disk.ts';

/**
 * Writes a file so that whoever reads it finds the old text or the new one, also after a crash: into a new file
 * beside it, which then takes its name. A symbolic link stays one; what it leads to is written.
 *
 * @param mode permissions, whatever the umask
 * @throws Error of the file system; the file is then as it was
 */
export function writeWhole(path: string, text: string, mode: number): void {
  const target = targetOf(path);
  const temporary = `${target}.${randomUUID()}.tmp`;
  try {
    const file = openSync(temporary, 'wx', mode);
    try {
      chmodSync(temporary, mode);
      writeAll(file, Buffer.from(text));
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, target);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
  syncFolder(dirname(target));
}

function targetOf(path: string): string {
  try {
    return realpathSync(path);
  } catch (error) {
    // A new file.
    if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return path;
    // To write in the place of a link would take it away from whoever made it.
    throw new Error('it is a symbolic link that leads nowhere', { cause: error });
  }
}
