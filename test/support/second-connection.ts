import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { type Database, isLocked, openDatabase } from '../../src/store/sqlite/driver.ts';

/** Another connection to the file of a store: it sees what is committed and nothing else. Closed when the test ends. */
export function lookAt(dir: string): Database {
  const db = openDatabase(join(dir, 'waybill.db'));
  // The store's own turn cannot end while this thread waits for it.
  db.exec('PRAGMA busy_timeout = 0');
  onTestFinished(() => {
    db.close();
  });
  return db;
}

/** Writes over another connection, when the store has no turn open. */
export async function betweenTurns(write: () => unknown): Promise<void> {
  for (;;) {
    try {
      write();
      return;
    } catch (error) {
      if (!isLocked(error)) throw error;
      await new Promise(setImmediate);
    }
  }
}
