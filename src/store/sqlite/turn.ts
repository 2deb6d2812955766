import { StoreError } from '../../errors/index.ts';
import type { Database } from './driver.ts';

/**
 * One commit per event-loop turn. A commit with synchronous=FULL waits for the disk (0.2 ms measured,
 * against 2 to 5 µs for a statement), so all writes of a turn share one. See docs/adr/0004-sqlite-engine.md.
 */
export interface Turn {
  /**
   * Runs the work inside this turn's transaction; resolves with its value once that is on disk.
   * Work that throws takes the whole turn with it: SQLite may have rolled back all of it already.
   */
  write<T>(work: () => T): Promise<T>;
  /** The same for whom nobody waits; a failure shows in the next write. */
  enqueue(work: () => void): void;
  /** Runs a read; resolves only when all that it may have seen is on disk, so nobody acts on what may be lost. */
  read<T>(work: () => T): Promise<T>;
  /** Calls back right before this turn's commit, still inside the transaction. */
  beforeCommit(callback: () => void): void;
  /** Calls back when this turn ends, committed or not: what was kept for it is of no more use. */
  onEnd(callback: () => void): void;
  /** Calls back when this turn is on disk; not at all if it fails. */
  afterCommit(callback: () => void): void;
  /** Commits now and refuses further writes. */
  close(): void;
}

/** What is kept in memory until the commit. */
export interface Unflushed {
  /** Writes it, inside the transaction. */
  flush(): void;
  /** The transaction was rolled back: forget what memory holds. */
  reset(): void;
}

/** The transaction of one turn, and those who wait for it. */
interface Open {
  readonly done: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: StoreError) => void;
  readonly before: (() => void)[];
  readonly ends: (() => void)[];
  readonly after: (() => void)[];
}

export function createTurn(db: Database, unflushed: Unflushed): Turn {
  const transaction = prepareTransaction(db);
  let open: Open | null = null;

  function join(): Open {
    if (open !== null) return open;
    transaction.mustBeOpen();
    transaction.begin();
    open = newOpen();
    setImmediate(end);
    return open;
  }

  function end(): void {
    if (open === null) return;
    const turn = open;
    try {
      // A callback may write and so add further callbacks: the loop sees those too.
      for (const callback of turn.before) {
        callback();
        if (open !== turn) return;
      }
      unflushed.flush();
      transaction.commit();
    } catch (error) {
      fail(error);
      return;
    }
    open = null;
    callAll(turn.ends);
    callAll(turn.after);
    turn.resolve();
  }

  /** Nothing of the open turn remains, on disk or in memory. @returns what everybody in it is told */
  function fail(error: unknown): StoreError {
    if (open === null) return storeError(error, 'read');
    const turn = open;
    const failure = storeError(error, 'written');
    transaction.rollback();
    unflushed.reset();
    open = null;
    callAll(turn.ends);
    turn.reject(failure);
    return failure;
  }

  /** Reads too may have to write what memory holds, before they can ask SQLite. */
  function run<T>(work: () => T): T {
    transaction.mustBeOpen();
    try {
      return work();
    } catch (error) {
      throw fail(error);
    }
  }

  function settle<T>(work: () => T, turn: Open | null): Promise<T> {
    const value = run(work);
    return turn === null ? Promise.resolve(value) : turn.done.then(() => value);
  }

  return {
    write: (work) => attempt(() => settle(work, join())),
    enqueue(work) {
      join();
      run(work);
    },
    read: (work) => attempt(() => settle(work, open)),
    beforeCommit: (callback) => void join().before.push(callback),
    onEnd: (callback) => void join().ends.push(callback),
    afterCommit: (callback) => void join().after.push(callback),
    close() {
      end();
      transaction.close();
    },
  };
}

function prepareTransaction(db: Database) {
  const begin = db.prepare('BEGIN IMMEDIATE');
  const commit = db.prepare('COMMIT');
  const rollback = db.prepare('ROLLBACK');
  let closed = false;
  return {
    /** @throws StoreError */
    mustBeOpen(): void {
      if (closed) throw new StoreError('the store is closed');
    },
    begin(): void {
      try {
        begin.run();
      } catch (error) {
        throw storeError(error, 'written');
      }
    },
    commit(): void {
      commit.run();
    },
    rollback(): void {
      try {
        rollback.run();
      } catch {
        // SQLite has rolled back by itself, as it does when the disk is full.
      }
    },
    close(): void {
      closed = true;
    },
  };
}

function storeError(error: unknown, what: 'read' | 'written'): StoreError {
  return error instanceof StoreError
    ? error
    : new StoreError(`the store cannot be ${what}`, { cause: error });
}

function callAll(callbacks: readonly (() => void)[]): void {
  for (const callback of callbacks) callback();
}

/** What throws, as a rejection; cheaper than an async function, and this is the busiest place of all. */
function attempt<T>(work: () => Promise<T>): Promise<T> {
  try {
    return work();
  } catch (error) {
    return Promise.reject(error);
  }
}

function newOpen(): Open {
  let resolve = (): void => {};
  let reject = (_error: StoreError): void => {};
  const done = new Promise<void>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  // Writers that do not wait must not bring the process down; those that do see the rejection.
  done.catch(() => {});
  return { done, resolve, reject, before: [], ends: [], after: [] };
}
