import { StoreError } from '../../errors/index.ts';
import type { Database } from './driver.ts';
import { createFlusher } from './flusher.ts';

/**
 * One commit per event-loop turn, and one disk flush for all commits that wait for it.
 *
 * A promise of `write` resolves when the data is on disk, as with synchronous=FULL, but the flush runs
 * beside the event loop instead of blocking it: SQLite appends to its log without flushing
 * (synchronous=NORMAL) and this module flushes the log. See docs/adr/0004-sqlite-engine.md.
 */
export interface Turn {
  /**
   * Runs the work inside this turn's transaction; resolves with its value once that is on disk.
   * Work that throws takes the whole turn with it: SQLite may have rolled back all of it already.
   */
  write<T>(work: () => T): Promise<T>;
  /** Runs a read; resolves only when all that it may have seen is on disk, so nobody acts on what may be lost. */
  read<T>(work: () => T): Promise<T>;
  /** Calls back right before this turn's commit, still inside the transaction. */
  beforeCommit(callback: () => void): void;
  /** Calls back when this turn ends, committed or not: what was kept for it is of no more use. */
  onEnd(callback: () => void): void;
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

/** The transaction of one turn, and those who wait for it. */
export interface OpenTurn {
  readonly done: Promise<void>;
  readonly before: (() => void)[];
  readonly ends: (() => void)[];
  /** Calls back: no more can join. */
  end(): void;
  readonly after: (() => void)[];
  /** Calls back and resolves, or rejects. */
  settle(error: StoreError | null): void;
}

/** @param log descriptor of SQLite's write-ahead log */
export function createTurn(db: Database, log: number, unflushed: Unflushed): Turn {
  const transaction = prepareTransaction(db);
  const flusher = createFlusher(log);
  let open: OpenTurn | null = null;

  function join(): OpenTurn {
    if (open !== null) return open;
    if (flusher.ended !== null) throw flusher.ended;
    transaction.begin();
    open = newTurn();
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
      const changed = transaction.commit();
      open = null;
      turn.end();
      flusher.add(turn, changed);
    } catch (error) {
      fail(error);
    }
  }

  /** Nothing of the open turn remains, on disk or in memory. @returns what everybody in it is told */
  function fail(error: unknown): unknown {
    if (open === null) return error;
    const turn = open;
    const failure = new StoreError('the store cannot be written', { cause: error });
    transaction.rollback();
    unflushed.reset();
    open = null;
    turn.end();
    turn.settle(failure);
    return failure;
  }

  /** Reads too may have to write what memory holds, before they can ask SQLite. */
  function run<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw fail(error);
    }
  }

  return {
    async write(work) {
      const turn = join();
      const value = run(work);
      await turn.done;
      return value;
    },
    async read(work) {
      // Memory may hold what the disk has lost.
      if (flusher.ended !== null) throw flusher.ended;
      const value = run(work);
      await (open ?? flusher.newest)?.done;
      return value;
    },
    beforeCommit: (callback) => void join().before.push(callback),
    onEnd: (callback) => void join().ends.push(callback),
    afterCommit: (callback) => void join().after.push(callback),
    close() {
      end();
      flusher.close();
    },
  };
}

function prepareTransaction(db: Database) {
  const begin = db.prepare('BEGIN IMMEDIATE');
  const commit = db.prepare('COMMIT');
  const rollback = db.prepare('ROLLBACK');
  const totalChanges = db.prepare('SELECT total_changes() AS total');
  let changesBefore = 0;
  return {
    begin(): void {
      try {
        begin.run();
      } catch (error) {
        throw new StoreError('the store cannot be written', { cause: error });
      }
    },
    /** Did the transaction change anything? A look into an empty queue does not. */
    commit(): boolean {
      commit.run();
      const changes = Number(totalChanges.get()?.['total']);
      const changed = changes !== changesBefore;
      changesBefore = changes;
      return changed;
    },
    rollback(): void {
      try {
        rollback.run();
      } catch {
        // SQLite has rolled back by itself, as it does when the disk is full.
      }
    },
  };
}

function newTurn(): OpenTurn {
  let resolve = (): void => {};
  let reject = (_error: unknown): void => {};
  const done = new Promise<void>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  // Writers that do not wait must not bring the process down; those that do see the rejection.
  done.catch(() => {});
  const ends: (() => void)[] = [];
  const after: (() => void)[] = [];
  return {
    done,
    before: [],
    ends,
    after,
    end() {
      for (const callback of ends) callback();
    },
    settle(error) {
      if (error !== null) return reject(error);
      for (const callback of after) callback();
      return resolve();
    },
  };
}
