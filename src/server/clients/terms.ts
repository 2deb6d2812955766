import { ProtocolError } from '../../errors/index.ts';
import { TERMS_LIMITS } from '../../limits.ts';
import type { ClientTerms, Creation, RecordStore } from '../../store/index.ts';
import { DAY_MS, leftOfWindow, MINUTE_MS } from '../../store/windows.ts';
import type { Logger } from '../../tools/index.ts';
import { idlePatterns, matcherOf } from '../../tools/pattern.ts';
import { BUILT_IN_NAMES } from '../built-in/names.ts';
import type { Client } from './key-ring.ts';

/** @throws ProtocolError `forbidden` for a client that was revoked, or whose time is over */
export function refuseEnded({ revokedMs, terms: { expiresMs } }: Client, nowMs: number): void {
  if (revokedMs !== null) throw new ProtocolError('forbidden', 'this client was revoked');
  if (expiresMs !== null && nowMs >= expiresMs) {
    throw new ProtocolError('forbidden', `this client expired at ${new Date(expiresMs).toISOString()}`);
  }
}

/** The tools that patterns name. */
export interface Scope {
  /** The same for the same patterns. */
  readonly key: string;
  includes(tool: string): boolean;
}

const scopes = new WeakMap<ClientTerms, Scope>();

/** What a client may call; made once for each version of its record. */
export function scopeOf({ terms }: Pick<Client, 'terms'>): Scope {
  let scope = scopes.get(terms);
  if (scope === undefined) {
    scope = createScope(terms.scopes);
    scopes.set(terms, scope);
  }
  return scope;
}

/** The tools that every server has are for everybody. */
function createScope(patterns: readonly string[]): Scope {
  const key = patterns.join(' ');
  if (patterns.includes('*')) return { key, includes: () => true };
  const matchers = patterns.map(matcherOf);
  return { key, includes: (tool) => BUILT_IN_NAMES.has(tool) || matchers.some((matches) => matches(tool)) };
}

/** May the client call a tool of this name, whether there is one or not? */
export function mayCall(client: Pick<Client, 'terms'>, tool: string): boolean {
  return scopeOf(client).includes(tool);
}

const PATTERN = /^[A-Za-z0-9_./*-]+$/;

/** For the operator's side. @throws RangeError in one line, for scopes that cannot be meant */
export function checkScopes(patterns: readonly string[]): void {
  const { maxScopes, maxScopeChars } = TERMS_LIMITS;
  if (patterns.length === 0)
    throw new RangeError('a client without scopes could call nothing: name some, or revoke the client');
  if (patterns.length > maxScopes)
    throw new RangeError(`a client may have ${maxScopes} scopes, not ${patterns.length}`);
  for (const pattern of patterns) {
    const shown = JSON.stringify(pattern.slice(0, maxScopeChars));
    if (pattern.length > maxScopeChars)
      throw new RangeError(`scope ${shown}… is longer than ${maxScopeChars} characters`);
    if (!PATTERN.test(pattern))
      throw new RangeError(
        `scope ${shown} matches nothing: names of tools are made of A-Z a-z 0-9 _ - . / and a pattern of these and *`,
      );
  }
}

const QUANTITIES = ['callsPerMinute', 'maxOpenJobs', 'jobsPerDay'] as const;

/** The same for all that a client's terms say. @throws RangeError in one line */
export function checkTerms(terms: Partial<ClientTerms>): void {
  const { maxQuantity, maxNoteChars } = TERMS_LIMITS;
  const { scopes: patterns, expiresMs = null, note = '' } = terms;
  if (patterns !== undefined) checkScopes(patterns);
  for (const name of QUANTITIES) {
    const value = terms[name] ?? null;
    if (value !== null && !(Number.isInteger(value) && value >= 1 && value <= maxQuantity))
      throw new RangeError(`${name} must be an integer from 1 to ${maxQuantity}, or nothing for no limit`);
  }
  // What a Date can hold, so that the refusal of a client that expired can name the time.
  if (expiresMs !== null && !(Number.isInteger(expiresMs) && Math.abs(expiresMs) <= 8_640_000_000_000_000))
    throw new RangeError('expiresMs must be a time in milliseconds since 1970');
  if (note.length > maxNoteChars) throw new RangeError(`a note may have ${maxNoteChars} characters`);
}

/**
 * Told of the clients whenever they were read: warns of each scope that names no tool of this server, once for as
 * long as it stands.
 */
export function createScopeWatch(tools: Iterable<string>, log: Logger): (clients: Iterable<Client>) => void {
  const names = [...tools];
  let told = new Set<string>();
  return (clients) => {
    const idle = new Set<string>();
    for (const { id, terms } of clients) {
      for (const pattern of idlePatterns(terms.scopes, names)) {
        const key = `${id}\n${pattern}`;
        idle.add(key);
        if (!told.has(key))
          log.warn({ client_id: id, scope: pattern }, 'a scope names no tool of this server');
      }
    }
    told = idle;
  };
}

/** Counts of a client, shared by all replicas. */
type Counters = Pick<RecordStore, 'counters'>['counters'];

/** Counts one call, of a client whose calls are limited. @throws ProtocolError `rate_limited` */
export async function countCall({ id, terms }: Client, counters: Counters, nowMs: number): Promise<void> {
  const { callsPerMinute: limit } = terms;
  if (limit === null || (await counters.take(`calls:${id}`, limit, MINUTE_MS, nowMs))) return;
  throw rateLimited(`you may make ${limit} calls a minute`, MINUTE_MS, nowMs);
}

/** @param most of every client of the server */
export function maxOpenJobsOf({ terms }: Client, most: number): number {
  return Math.min(most, terms.maxOpenJobs ?? most);
}

/** Calls of this minute and jobs of this day, as far as they are counted: of a client without limits nothing is. */
export async function usedBy({ id }: Client, counters: Counters, nowMs: number) {
  const [calls, jobs] = await Promise.all([
    counters.used(`calls:${id}`, MINUTE_MS, nowMs),
    counters.used(`jobs:${id}`, DAY_MS, nowMs),
  ]);
  return { calls, jobs };
}

/** Has the client started as many jobs today as it may? */
export async function hasSpentDay(
  { id, terms }: Client,
  counters: Counters,
  nowMs: number,
): Promise<boolean> {
  const { jobsPerDay: limit } = terms;
  return limit !== null && (await counters.used(`jobs:${id}`, DAY_MS, nowMs)) >= limit;
}

/** What such a client is told. */
export function daySpent({ terms }: Client, nowMs: number): ProtocolError {
  return rateLimited(`you may start ${terms.jobsPerDay} jobs a day`, DAY_MS, nowMs);
}

/**
 * Counts one job and creates it; one that is not created is not counted.
 *
 * @returns what `create` gives; `null`, with nothing done, when the client has started as many today as it may
 */
export async function countJob(
  { id, terms }: Client,
  counters: Counters,
  nowMs: number,
  create: () => Promise<Creation>,
): Promise<Creation | null> {
  const { jobsPerDay: limit } = terms;
  if (limit === null) return create();
  const name = `jobs:${id}`;
  if (!(await counters.take(name, limit, DAY_MS, nowMs))) return null;
  let isNew = false;
  try {
    const creation = await create();
    isNew = creation.outcome === 'created';
    return creation;
  } finally {
    // Best effort: a store that fails over it has failed over the job, and that is what its caller is told.
    if (!isNew) await counters.giveBack(name, DAY_MS, nowMs).catch(() => {});
  }
}

function rateLimited(message: string, windowMs: number, nowMs: number): ProtocolError {
  return new ProtocolError('rate_limited', message, { retry_after_ms: leftOfWindow(windowMs, nowMs) });
}
