import { fdatasync, fdatasyncSync } from 'node:fs';
import type { Database } from './driver.ts';

/**
 * One commit per event-loop turn, and one disk flush for all commits that wait for it.
 *
 * A promise of `write` resolves when the data is on disk, as with synchronous=FULL, but the flush runs
 * beside the event loop instead of blocking it: SQLite appends to its log without flushing
 * (synchronous=NORMAL) and this module flushes the log. See docs/adr/0004-sqlite-engine.md.
 */
export interface Turn {
  /** Runs the work inside this turn's transaction; resolves with its value once that is on disk. */
  write<T>(work: () => T): Promise<T>;
  /** Runs a read; resolves only when all that it may have seen is on disk, so nobody acts on what may be lost. */
  read<T>(work: () => T): Promise<T>;
  /** Calls back right before this turn's commit, still inside the transaction. */
  beforeCommit(callback: () => void): void;
  /** Calls back when this turn is on disk; not at all if it fails. */
  afterCommit(callback: () => void): void;
  /** Commits and flushes now, and refuses further writes. */
  close(): void;
}

/** What is kept in memory until the commit. */
export interface Unflushed {
  /** Writes it, inside the transaction. */
  flush(): void;
  /** The transaction was rolled back: forget what memory holds. */
  reset(): void;
}

interface Open {
  readonly done: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
  readonly before: (() => void)[];
  readonly after: (() => void)[];
}

/** @param log descriptor of SQLite's write-ahead log */
export function createTurn(db: Database, log: number, unflushed: Unflushed): Turn {
  const begin = db.prepare('BEGIN IMMEDIATE');
  const commit = db.prepare('COMMIT');
  const rollback = db.prepare('ROLLBACK');
  let open: Open | null = null;
  /** Committed, and waiting for the next flush. */
  let committed: Open[] = [];
  let flushing: readonly Open[] = [];
  let closed = false;

  function join(): Open {
    if (open !== null) return open;
    if (closed) throw new Error('the store is closed');
    begin.run();
    open = newOpen();
    setImmediate(end);
    return open;
  }

  function end(): void {
    if (open === null) return;
    const turn = open;
    try {
      // A callback may write and so add further callbacks: the loop sees those too.
      for (const callback of turn.before) callback();
      unflushed.flush();
      open = null;
      commit.run();
    } catch (error) {
      open = null;
      tryRollback();
      unflushed.reset();
      turn.reject(error);
      return;
    }
    committed.push(turn);
    if (flushing.length === 0) flush();
  }

  function flush(): void {
    flushing = committed;
    committed = [];
    fdatasync(log, (error) => {
      if (closed) return;
      const flushed = flushing;
      flushing = [];
      if (committed.length > 0) flush();
      settle(flushed, error);
    });
  }

  function settle(turns: readonly Open[], error: unknown): void {
    for (const turn of turns) {
      if (error !== null) turn.reject(error);
      else for (const callback of turn.after) callback();
      turn.resolve();
    }
  }

  function tryRollback(): void {
    try {
      rollback.run();
    } catch {
      // SQLite has rolled back by itself, as it does when the disk is full.
    }
  }

  return {
    write(work) {
      try {
        const turn = join();
        const value = work();
        return turn.done.then(() => value);
      } catch (error) {
        return Promise.reject(error);
      }
    },
    async read(work) {
      const value = work();
      await (open ?? committed.at(-1) ?? flushing.at(-1))?.done;
      return value;
    },
    beforeCommit(callback) {
      join().before.push(callback);
    },
    afterCommit(callback) {
      join().after.push(callback);
    },
    close() {
      end();
      closed = true;
      fdatasyncSync(log);
      settle([...flushing, ...committed], null);
    },
  };
}

function newOpen(): Open {
  let resolve = (): void => {};
  let reject = (_error: unknown): void => {};
  const done = new Promise<void>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  // Writers that do not wait must not bring the process down; those that do see the rejection.
  done.catch(() => {});
  return { done, resolve, reject, before: [], after: [] };
}
