import { join } from 'node:path';
import { SetupError } from '../../errors/index.ts';
import { type Database, isLocked, openDatabase } from './driver.ts';

/** Without a reference the garbage collector would close them, and free the folder of a server that runs. */
const held = new Set<Database>();

/**
 * Takes a data directory for one server process. The lock is the operating system's own, held on a
 * file through SQLite: it ends with the process however that ends, and needs no cleaning up.
 *
 * @returns how to let go
 * @throws SetupError when another process holds it, or the directory cannot be written
 */
export function lockDirectory(dir: string): () => void {
  let db: Database | undefined;
  try {
    db = openDatabase(join(dir, 'server.lock'));
    db.exec('PRAGMA busy_timeout = 0');
    db.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    db?.close();
    if (error instanceof SetupError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    if (isLocked(error)) {
      throw new SetupError(
        `${dir} belongs to another running server: stop that one, or choose another --data`,
      );
    }
    throw new SetupError(
      `cannot write to ${dir}: ${reason}; choose another --data or correct its permissions`,
    );
  }
  const lock = db;
  held.add(lock);
  return () => {
    held.delete(lock);
    lock.close();
  };
}
