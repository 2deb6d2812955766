import {
  JOB_LIMITS,
  MESSAGE_LIMITS,
  type MessageLimits,
  SERVER_LIMITS,
  TIME_WINDOW,
  type TimeWindow,
} from '../limits.ts';
import { isTool, type Logger, type Tool } from '../tools/index.ts';
import { ID_RULE, isId } from '../wire/index.ts';
import type { Policy } from './authorize.ts';
import { BUILT_IN_NAMES } from './built-in/names.ts';
import { stderrLog, unfailing } from './log.ts';

/** What a server is made of. Everything but the tools has a default. */
export interface ServerOptions {
  readonly tools: readonly Tool[];
  /** Where records are kept: `sqlite:FOLDER`. Default `sqlite:.waybill`. */
  readonly store?: string;
  /** The id that requests must name. Default: the one the store was made with, else `waybill`. */
  readonly serverId?: string;
  /** Decides who may call what, and how often. Default: every known client may call every tool. */
  readonly policy?: Policy;
  readonly log?: Logger;
  readonly window?: Partial<TimeWindow>;
  readonly messageLimits?: Partial<MessageLimits>;
  readonly maxCallsInFlight?: number;
  readonly maxNonces?: number;
  /** Time of a direct tool, in milliseconds. */
  readonly directTimeoutMs?: number;
  /** Jobs at once in this process. */
  readonly concurrency?: number;
  readonly leaseMs?: number;
  /** Time for calls and jobs to end at `close`, in milliseconds. */
  readonly drainMs?: number;
  /** The clock, in milliseconds since 1970. */
  readonly now?: () => number;
}

export interface ResolvedOptions {
  readonly tools: readonly Tool[];
  readonly dir: string;
  readonly serverId: string | undefined;
  readonly policy: Policy | null;
  readonly log: Logger;
  readonly window: TimeWindow;
  readonly messageLimits: MessageLimits;
  readonly maxCallsInFlight: number;
  readonly maxNonces: number;
  readonly directTimeoutMs: number;
  readonly concurrency: number;
  readonly leaseMs: number;
  readonly drainMs: number;
  readonly now: () => number;
}

const SQLITE = /^sqlite:(?<dir>.+)$/;

/** Smallest and largest value that makes sense; all are integers. */
const BOUNDS = {
  maxCallsInFlight: [1, Number.MAX_SAFE_INTEGER],
  maxNonces: [1, Number.MAX_SAFE_INTEGER],
  // Node's timers overflow above it.
  directTimeoutMs: [1, 2_147_483_647],
  concurrency: [1, 100_000],
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
export function resolveOptions(options: ServerOptions): ResolvedOptions {
  const { tools, store = 'sqlite:.waybill', serverId } = options;
  refuseUnknown(options, [...NAMES, ...Object.keys(NUMBERS)], 'createServer');
  if (!Array.isArray(tools) || !tools.every(isTool)) {
    throw new TypeError('tools must be an array of what defineTool returns');
  }
  refuseNames(tools.map(({ name }) => name));
  if (serverId !== undefined && !isId(serverId)) {
    throw new TypeError(`serverId must be ${ID_RULE}`);
  }
  const dir = SQLITE.exec(store)?.groups?.['dir'];
  if (dir === undefined) throw new TypeError(`store must be sqlite:FOLDER, not ${JSON.stringify(store)}`);
  return Object.freeze({
    tools,
    dir,
    serverId,
    policy: options.policy ?? null,
    log: unfailing(options.log ?? stderrLog),
    window: resolveGroup(TIME_WINDOW, options.window, 'window'),
    messageLimits: resolveGroup(MESSAGE_LIMITS, options.messageLimits, 'messageLimits'),
    ...resolveNumbers(NUMBERS, options),
    now: options.now ?? Date.now,
  });
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

const NUMBERS = {
  maxCallsInFlight: SERVER_LIMITS.maxCallsInFlight as number,
  maxNonces: SERVER_LIMITS.maxNonces as number,
  directTimeoutMs: SERVER_LIMITS.directTimeoutMs as number,
  concurrency: JOB_LIMITS.concurrency as number,
  leaseMs: JOB_LIMITS.leaseMs as number,
  drainMs: JOB_LIMITS.drainMs as number,
};

const NAMES = ['tools', 'store', 'serverId', 'policy', 'log', 'window', 'messageLimits', 'now'];

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
