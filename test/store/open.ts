import { onTestFinished } from 'vitest';
import { openSqliteStore, type SqliteOptions, type SqliteStore } from '../../src/store/index.ts';
import { storeFolder } from '../support/temp.ts';

/** A store on a real file, closed when the test ends unless the test has closed it. */
export function openStore(options: Partial<SqliteOptions> = {}): SqliteStore & { readonly dir: string } {
  const { dir = storeFolder() } = options;
  const store = openSqliteStore({ serverId: 'srv-1', ...options, dir });
  const closeStore = store.close;
  let closing: Promise<void> | null = null;
  const close = () => (closing ??= closeStore());
  onTestFinished(close);
  return Object.assign(store, { dir, close });
}
