import { publicUrl } from '../store/public-url.ts';

/** Where records are kept and where jobs are queued, from URLs that were checked. */
export type EngineUrls =
  | { readonly kind: 'sqlite'; readonly dir: string }
  /** `queue` may be the same URL. */
  | { readonly kind: 'postgres'; readonly store: string; readonly queue: string };

const SQLITE = /^sqlite:(?<dir>.+)$/s;
const POSTGRES = /^postgres(?:ql)?:\/\//i;
const REDIS = /^rediss?:\/\//i;

/** Said of what makes a process without worker, or a worker without server. */
export const NEEDS_POSTGRES = 'needs a postgres:// store: with sqlite: one process serves and runs the jobs';

/** As their messages begin: the options of these names, or the flags that hold them. */
export interface UrlNames {
  readonly store: string;
  readonly queue: string;
}

/**
 * The engine that two URLs name. What they say after the scheme is never repeated: it may be a password.
 *
 * @param queue `undefined`: beside the records
 * @throws TypeError
 */
export function parseEngineUrls(
  store: string,
  queue: string | undefined,
  names: UrlNames = { store: 'store', queue: 'queue' },
): EngineUrls {
  const dir = SQLITE.exec(store)?.groups?.['dir'];
  if (dir !== undefined) {
    if (queue === undefined) return { kind: 'sqlite', dir };
    throw new TypeError(
      `${names.queue} has no use with a sqlite: store, which queues jobs in its own file: leave it out`,
    );
  }
  if (!POSTGRES.test(store) || !URL.canParse(store)) {
    throw new TypeError(`${names.store} must be sqlite:FOLDER or postgres://HOST:PORT/DATABASE`);
  }
  if (queue !== undefined && !isQueue(queue)) {
    throw new TypeError(
      `${names.queue} must be redis://HOST:PORT, rediss://HOST:PORT or postgres://HOST:PORT/DATABASE`,
    );
  }
  return { kind: 'postgres', store, queue: queue ?? store };
}

function isQueue(text: string): boolean {
  if (!URL.canParse(text)) return false;
  if (POSTGRES.test(text)) return true;
  const { hostname, pathname } = new URL(text);
  // The path names one of the numbered databases.
  return REDIS.test(text) && hostname !== '' && /^\/?\d*$/.test(pathname);
}

/** The two URLs as they may be shown: without user, password and parameters. */
export function publicUrls(urls: EngineUrls): { readonly store: string; readonly queue: string } {
  if (urls.kind === 'sqlite') return { store: `sqlite:${urls.dir}`, queue: `sqlite:${urls.dir}` };
  return { store: publicUrl(urls.store), queue: publicUrl(urls.queue) };
}
