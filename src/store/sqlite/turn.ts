import { fdatasync, fdatasyncSync } from 'node:fs';
import { StoreError } from '../../errors/index.ts';
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
  const totalChanges = db.prepare('SELECT total_changes() AS total');
  /** As of the last commit: what differs from it has still to be flushed. */
  let changesCommitted = 0;
  let open: Open | null = null;
  /** Committed, and waiting for the next flush. */
  let committed: Open[] = [];
  let flushing: readonly Open[] = [];
  /** Why nothing more can be written. */
  let ended: StoreError | null = null;

  function join(): Open {
    if (open !== null) return open;
    if (ended !== null) throw ended;
    try {
      begin.run();
    } catch (error) {
      throw new StoreError('the store cannot be written', { cause: error });
    }
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
      turn.reject(new StoreError('the store cannot be written', { cause: error }));
      return;
    }
    const changes = Number(totalChanges.get()?.['total']);
    const mustFlush = changes !== changesCommitted || committed.length > 0 || flushing.length > 0;
    changesCommitted = changes;
    // A turn that found nothing to do, such as a look into an empty queue, leaves the disk alone.
    if (!mustFlush) return settle([turn], null);
    committed.push(turn);
    if (flushing.length === 0) flush();
  }

  function flush(): void {
    flushing = committed;
    committed = [];
    fdatasync(log, (error) => {
      if (ended !== null) return;
      // What a failed flush has lost no later one brings back: only a restart reads what is really there.
      if (error !== null) ended = new StoreError('the disk failed: restart the server', { cause: error });
      const flushed = flushing;
      flushing = [];
      if (committed.length > 0) flush();
      settle(flushed, ended);
    });
  }

  function settle(turns: readonly Open[], error: StoreError | null): void {
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
      ended ??= new StoreError('the store is closed');
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
