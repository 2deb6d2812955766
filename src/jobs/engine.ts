import type { TimeWindow } from '../limits.ts';
import { openSqliteStore, type RecordStore } from '../store/index.ts';
import type { Logger } from '../tools/index.ts';
import type { Dispatcher, ToolLimits } from './dispatcher.ts';
import { createSqliteDispatcher } from './dispatchers/sqlite.ts';
import type { EngineUrls } from './engine-urls.ts';

export interface EngineOptions {
  readonly urls: EngineUrls;
  /** Refuses a store of another server; `undefined` takes the store's own id. */
  readonly serverId: string | undefined;
  /** The id of a store that has none yet and is opened without `serverId`. */
  readonly defaultServerId: string;
  readonly limits: ToolLimits;
  /** Take a queue that can lose its jobs; the sweeper brings them back, late. */
  readonly allowVolatileQueue: boolean;
  readonly window?: TimeWindow;
  readonly maxNonces?: number;
  readonly now: () => number;
  readonly log: Logger;
}

/** What keeps the records, and what hands out the jobs. */
export interface Engine {
  readonly store: RecordStore;
  readonly dispatcher: Dispatcher;
  /** Nonces that this process holds, and the memory they take; `null` where the database holds them. */
  readonly nonceGuard: { readonly size: number; readonly bytes: number } | null;
}

/**
 * Opens store and dispatcher; if either cannot be had, nothing stays open. The drivers of a database are loaded
 * only when its URL is asked for.
 *
 * @throws SetupError that says what to do about the file, the service, or a driver that is missing
 */
export function openEngine(options: EngineOptions): Promise<Engine> {
  const { urls } = options;
  return urls.kind === 'sqlite' ? openSqlite(urls.dir, options) : openPostgres(urls, options);
}

async function openSqlite(dir: string, options: EngineOptions): Promise<Engine> {
  const { limits, now } = options;
  const store = openSqliteStore({ ...options, dir });
  try {
    return {
      store,
      dispatcher: createSqliteDispatcher(store, { limits, now }),
      nonceGuard: store.nonceGuard,
    };
  } catch (error) {
    await store.close();
    throw error;
  }
}

async function openPostgres(
  { store: url, queue }: EngineUrls & { readonly kind: 'postgres' },
  options: EngineOptions,
): Promise<Engine> {
  const [{ openPostgresStore }, { openBullmqDispatcher }, { checkQueue }] = await Promise.all([
    import('../store/postgres/open.ts'),
    import('./dispatchers/bullmq/dispatcher.ts'),
    import('./dispatchers/bullmq/check.ts'),
  ]);
  // First: a queue that cannot be had must not leave a store behind that was made for it.
  await checkQueue(queue, options);
  const store = await openPostgresStore({ ...options, url });
  try {
    const dispatcher = await openBullmqDispatcher({ ...options, url: queue, serverId: store.serverId });
    return { store, dispatcher, nonceGuard: null };
  } catch (error) {
    await store.close();
    throw error;
  }
}
