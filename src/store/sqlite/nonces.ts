import { hash } from 'node:crypto';
import { busy, ProtocolError, StoreError } from '../../errors/index.ts';
import type { TimeWindow } from '../../limits.ts';
import type { NonceRecords } from '../record-store.ts';
import { listJournals, type NonceJournal, openJournal } from './nonce-journal.ts';
import { createNonceTable, type NonceKey, type NonceTable } from './nonce-table.ts';

export interface NonceGuardOptions {
  readonly dir: string;
  readonly window: TimeWindow;
  readonly maxNonces: number;
  /** Nothing signed for this time or before may pass: it may be a replay of what this guard does not know. */
  readonly distrustUntilMs: number;
  readonly now: () => number;
}

export interface NonceGuard extends NonceRecords {
  /** Nonces held, and the memory they take. */
  readonly size: number;
  readonly bytes: number;
  close(): void;
}

/** The nonces that arrived within one span of time; they are forgotten together. */
interface Generation {
  readonly startMs: number;
  readonly table: NonceTable;
  readonly journal: NonceJournal;
}

const SEEN_BEFORE = Promise.resolve(false);

/** More generations would hold less that is dead, but every call looks into each of them. */
const GENERATIONS_PER_WINDOW = 2;

/**
 * The nonce guard of docs/protocol.md §5 for one process: a table in memory that answers, and a
 * journal that survives kill -9. A claim resolves when its turn's journal entries are written.
 */
export function openNonceGuard(options: NonceGuardOptions): NonceGuard {
  const { maxNonces, distrustUntilMs, window, now } = options;
  const generations = openGenerations(options);
  let flushing: Promise<true> | null = null;
  let closed = false;

  /** One write per event-loop turn; those who claimed in it share the promise. */
  function flushed(): Promise<true> {
    flushing ??= new Promise((resolve, reject) => {
      setImmediate(() => {
        flushing = null;
        try {
          for (const { journal } of generations.live) journal.flush();
          resolve(true);
        } catch (error) {
          reject(notStored(error));
        }
      });
    });
    return flushing;
  }

  function add(key: NonceKey, nowMs: number): boolean {
    const { table, journal } = generations.current(nowMs);
    if (generations.live.some((generation) => generation.table.has(key))) return false;
    if (generations.total('size') >= maxNonces) throw busy('too many nonces are live', generations.spanMs);
    table.add(key);
    journal.append(key);
    return true;
  }

  return {
    get size() {
      return generations.total('size');
    },
    get bytes() {
      return generations.total('bytes');
    },
    claim(clientId, nonce, tsMs) {
      try {
        if (closed) throw busy('the server is shutting down', 1_000);
        const nowMs = now();
        if (tsMs <= distrustUntilMs) {
          throw busy('nonces of that time are not known', Math.max(0, distrustUntilMs - nowMs) + 1);
        }
        // It was in time when it was looked at, a moment ago; now its nonce may be forgotten already.
        if (tsMs < nowMs - window.maxPastMs) throw busy('nonces of that time are forgotten', 1);
        return add(keyOf(clientId, nonce), nowMs) ? flushed() : SEEN_BEFORE;
      } catch (error) {
        return Promise.reject(error instanceof ProtocolError ? error : notStored(error));
      }
    },
    close() {
      closed = true;
      for (const { journal } of generations.live.splice(0)) {
        journal.flush();
        journal.close();
      }
    },
  };
}

function notStored(cause: unknown): StoreError {
  return new StoreError('the nonce cannot be stored', { cause });
}

function openGenerations({ dir, window }: NonceGuardOptions) {
  const windowMs = window.maxPastMs + window.maxFutureMs;
  const spanMs = Math.ceil(windowMs / GENERATIONS_PER_WINDOW);
  // Oldest first; the last one takes what comes.
  const live = listJournals(dir).map(openGeneration);

  function openGeneration(startMs: number): Generation {
    const table = createNonceTable();
    return { startMs, table, journal: openJournal(dir, startMs, (key) => table.add(key)) };
  }

  return {
    live,
    spanMs,
    /** The generation of this moment; drops those whose last nonce has left the window. */
    current(nowMs: number): Generation {
      while (live[0] !== undefined && live[0].startMs + spanMs + windowMs <= nowMs)
        live.shift()?.journal.remove();
      const newest = live.at(-1);
      if (newest !== undefined && nowMs < newest.startMs + spanMs) return newest;
      const next = openGeneration(nowMs);
      live.push(next);
      return next;
    },
    total(measure: 'size' | 'bytes'): number {
      let sum = 0;
      for (const { table } of live) sum += table[measure];
      return sum;
    },
  };
}

/** 128 bits of SHA-256: no client can make its nonce collide with another's. An id holds no line feed. */
function keyOf(clientId: string, nonce: string): NonceKey {
  const digest = hash('sha256', `${clientId}\n${nonce}`, 'binary');
  return [word(digest, 0), word(digest, 4), word(digest, 8), word(digest, 12)];
}

function word(digest: string, at: number): number {
  const low = digest.charCodeAt(at) | (digest.charCodeAt(at + 1) << 8) | (digest.charCodeAt(at + 2) << 16);
  return (low | (digest.charCodeAt(at + 3) << 24)) >>> 0;
}
