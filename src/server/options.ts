import { type EngineUrls, NEEDS_POSTGRES, parseEngineUrls } from '../jobs/index.ts';
import {
  JOB_LIMITS,
  MESSAGE_LIMITS,
  type MessageLimits,
  SERVER_LIMITS,
  TIME_WINDOW,
  type TimeWindow,
} from '../limits.ts';
import { isTool, type Logger, type Tool } from '../tools/index.ts';
import { ID_RULE, isId, weaknessOf } from '../wire/index.ts';
import type { Policy } from './authorize.ts';
import { BUILT_IN_NAMES } from './built-in/names.ts';
import { stderrLog, unfailing } from './log.ts';
import { masterFolder } from './clients/master-key.ts';

/** What a server and a worker are told alike; what has no default is `tools`. */
interface SharedOptions {
  readonly tools: readonly Tool[];
  /** The id that requests must name. Default: the one the store was made with, else `waybill`. */
  readonly serverId?: string;
  /** Where jobs are queued: `redis://…`, `rediss://…` or `postgres://…`. Default: beside the records. */
  readonly queue?: string;
  /** Take a Redis that can lose jobs; they run again once their record is looked at. */
  readonly allowVolatileQueue?: boolean;
  readonly log?: Logger;
  /** Seals the clients' secrets and signs the audit. Default: the file `master.key` beside the records, made if missing. */
  readonly masterKey?: string;
  /** `false`: no record is kept of calls and jobs. Default `true`. */
  readonly audit?: boolean;
  /** What a request, a reply and a job's result must fit into. */
  readonly messageLimits?: Partial<MessageLimits>;
  /** Jobs at once in this process. */
  readonly concurrency?: number;
  /** A worker that is silent for so long, in milliseconds, is taken for dead, and its jobs run again. */
  readonly leaseMs?: number;
  /** Time for calls and jobs to end at `close`, in milliseconds. */
  readonly drainMs?: number;
  /** The clock, in milliseconds since 1970. */
  readonly now?: () => number;
}

/** What a server is made of. Everything but the tools has a default. */
export interface ServerOptions extends SharedOptions {
  /** Where records are kept: `sqlite:FOLDER` or `postgres://…`. Default `sqlite:.waybill`. */
  readonly store?: string;
  /** `false`: this process accepts jobs and leaves them to others; not with `sqlite:`. Default `true`. */
  readonly worker?: boolean;
  /** Decides who may call what, and how often, beside what the clients' terms say. Default: nothing beside them. */
  readonly policy?: Policy;
  /** How far `ts_ms` of a message may be from the server's clock. */
  readonly window?: Partial<TimeWindow>;
  /** Calls in the pipeline at once; further ones are refused with `busy`. */
  readonly maxCallsInFlight?: number;
  /** Nonces that are live at once; `sqlite:` keeps them in memory. */
  readonly maxNonces?: number;
  /** Time of a direct tool, in milliseconds. */
  readonly directTimeoutMs?: number;
  /** Jobs of one client that may be queued or running; further ones are refused with `busy`. */
  readonly maxOpenJobs?: number;
}

/** What a worker is made of. Everything but the tools and the store has a default. */
export interface WorkerOptions extends SharedOptions {
  /** Where records are kept: `postgres://…`, the same as that of the servers. */
  readonly store: string;
}

/** What runs jobs, in a server or on its own. */
export interface ResolvedWorker {
  readonly tools: readonly Tool[];
  readonly urls: EngineUrls;
  readonly serverId: string | undefined;
  readonly allowVolatileQueue: boolean;
  readonly log: Logger;
  readonly masterKey: string | undefined;
  /** Where the file with the master key is, if none is given. */
  readonly masterFolder: string;
  readonly audit: boolean;
  readonly messageLimits: MessageLimits;
  readonly concurrency: number;
  readonly leaseMs: number;
  readonly drainMs: number;
  readonly now: () => number;
}

export interface ResolvedServer extends ResolvedWorker {
  readonly worker: boolean;
  readonly policy: Policy | null;
  readonly window: TimeWindow;
  readonly maxCallsInFlight: number;
  readonly maxNonces: number;
  readonly directTimeoutMs: number;
  readonly maxOpenJobs: number;
}

/** Smallest and largest value that makes sense; all are integers. */
const BOUNDS = {
  maxCallsInFlight: [1, Number.MAX_SAFE_INTEGER],
  maxNonces: [1, Number.MAX_SAFE_INTEGER],
  // Node's timers overflow above it.
  directTimeoutMs: [1, 2_147_483_647],
  concurrency: [1, 100_000],
  maxOpenJobs: [1, Number.MAX_SAFE_INTEGER],
  // Renewed three times a lease, by a timer that must not be late.
  leaseMs: [100, 86_400_000],
  drainMs: [0, 86_400_000],
  maxPastMs: [1, 86_400_000],
  maxFutureMs: [0, 86_400_000],
  maxMessageBytes: [1_024, 268_435_456],
  // The canonical form of a peer ends there too.
  maxDepth: [2, MESSAGE_LIMITS.maxDepth],
  maxMembers: [9, Number.MAX_SAFE_INTEGER],
} as const;

/**
 * Options checked, completed and frozen: the one place for all of it.
 *
 * @throws TypeError, RangeError
 */
export function resolveServer(options: ServerOptions): ResolvedServer {
  refuseUnknown(options, SERVER_NAMES, 'createServer');
  const { store = 'sqlite:.waybill', worker = true } = options;
  const shared = resolveShared({ ...options, store });
  mustBeBoolean(worker, 'worker');
  if (!worker) refuseSqlite(shared.urls, 'worker: false');
  return Object.freeze({
    ...shared,
    worker,
    policy: options.policy ?? null,
    window: resolveGroup(TIME_WINDOW, options.window, 'window'),
    ...resolveNumbers(SERVER_NUMBERS, options),
  });
}

/** The same for a worker. @throws TypeError, RangeError */
export function resolveWorker(options: WorkerOptions): ResolvedWorker {
  refuseUnknown(options, SHARED_NAMES, 'createWorker');
  const shared = resolveShared(options);
  refuseSqlite(shared.urls, 'createWorker');
  return Object.freeze(shared);
}

function resolveShared(options: WorkerOptions): ResolvedWorker {
  const { tools, store, queue, serverId, masterKey, allowVolatileQueue = false, audit = true } = options;
  const urls = parseEngineUrls(store, queue);
  if (!Array.isArray(tools) || !tools.every(isTool)) {
    throw new TypeError('tools must be an array of what defineTool returns');
  }
  refuseNames(tools.map(({ name }) => name));
  if (serverId !== undefined && !isId(serverId)) {
    throw new TypeError(`serverId must be ${ID_RULE}`);
  }
  mustBeBoolean(allowVolatileQueue, 'allowVolatileQueue');
  mustBeBoolean(audit, 'audit');
  refuseWeakMaster(masterKey);
  return {
    tools,
    urls,
    masterKey,
    masterFolder: masterFolder(urls),
    audit,
    serverId,
    allowVolatileQueue,
    log: unfailing(options.log ?? stderrLog),
    messageLimits: resolveGroup(MESSAGE_LIMITS, options.messageLimits, 'messageLimits'),
    ...resolveNumbers(SHARED_NUMBERS, options),
    now: options.now ?? Date.now,
  };
}

/** Its file has one process, and jobs run in that. */
function refuseSqlite({ kind }: EngineUrls, what: string): void {
  if (kind === 'sqlite') throw new TypeError(`${what} ${NEEDS_POSTGRES}`);
}

/** Before the store is opened, and without the key. */
function refuseWeakMaster(key: unknown): void {
  if (key === undefined) return;
  if (typeof key !== 'string') throw new TypeError('masterKey must be a text of at least 32 random bytes');
  const weakness = weaknessOf(key);
  if (weakness !== null) throw new RangeError(`masterKey ${weakness}`);
}

function mustBeBoolean(value: unknown, name: string): void {
  if (typeof value !== 'boolean') throw new TypeError(`${name} must be true or false`);
}

/** Before anything is opened, so that a mistake changes nothing on disk. */
function refuseNames(names: readonly string[]): void {
  const taken = new Set(BUILT_IN_NAMES);
  for (const name of names) {
    if (BUILT_IN_NAMES.has(name))
      throw new TypeError(`every server has a tool named ${name}: choose another name`);
    if (taken.has(name)) throw new TypeError(`two tools are named ${name}: rename one`);
    taken.add(name);
  }
}

const SHARED_NUMBERS = {
  concurrency: JOB_LIMITS.concurrency as number,
  leaseMs: JOB_LIMITS.leaseMs as number,
  drainMs: JOB_LIMITS.drainMs as number,
};

const SERVER_NUMBERS = {
  maxCallsInFlight: SERVER_LIMITS.maxCallsInFlight as number,
  maxNonces: SERVER_LIMITS.maxNonces as number,
  directTimeoutMs: SERVER_LIMITS.directTimeoutMs as number,
  maxOpenJobs: JOB_LIMITS.maxOpenJobs as number,
};

const SHARED_NAMES = [
  'tools',
  'store',
  'queue',
  'allowVolatileQueue',
  'serverId',
  'log',
  'masterKey',
  'audit',
  'messageLimits',
  'now',
  ...Object.keys(SHARED_NUMBERS),
];

const SERVER_NAMES = [...SHARED_NAMES, 'worker', 'policy', 'window', ...Object.keys(SERVER_NUMBERS)];

function refuseUnknown(given: object, known: readonly string[], where: string): void {
  const unknown = Object.keys(given).find((name) => !known.includes(name));
  if (unknown !== undefined) throw new TypeError(`${where}: there is no option ${JSON.stringify(unknown)}`);
}

function resolveGroup<T extends object>(defaults: T, given: Partial<T> = {}, where: string): T {
  refuseUnknown(given, Object.keys(defaults), where);
  return resolveNumbers(defaults, given);
}

/** Defaults with what was given in their place. */
function resolveNumbers<T extends object>(defaults: T, given: Partial<T> = {}): T {
  const resolved: T = { ...defaults };
  for (const name of Object.keys(defaults)) {
    // Keys of `defaults` are keys of T, and of BOUNDS: the two tables hold the same names.
    const key = name as keyof T;
    const value = given[key];
    if (value === undefined) continue;
    const [least, most] = BOUNDS[name as keyof typeof BOUNDS];
    if (!Number.isSafeInteger(value) || Number(value) < least || Number(value) > most) {
      throw new RangeError(`${name} must be an integer from ${least} to ${most}`);
    }
    resolved[key] = value;
  }
  return Object.freeze(resolved);
}
