import type { Database } from './driver.ts';

/**
 * One commit per event-loop turn. A commit with synchronous=FULL waits for the disk (0.13 ms measured,
 * against 2 µs for a statement), so all writes of a turn share one; measured 85 000 jobs/s this way
 * against 4 600 with a commit per statement.
 */
export interface Turn {
  /** Runs the work inside this turn's transaction; resolves with its value once that is on disk. */
  write<T>(work: () => T): Promise<T>;
  /** Runs a read; if this turn has written, resolves only after the commit, so nobody acts on what may be lost. */
  read<T>(work: () => T): Promise<T>;
  /** Calls back right before this turn's commit, still inside the transaction. */
  beforeCommit(callback: () => void): void;
  /** Calls back after this turn's commit; not at all if it fails. */
  afterCommit(callback: () => void): void;
  /** Commits now and refuses further writes. */
  close(): void;
}

interface Open {
  readonly done: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
  readonly before: (() => void)[];
  readonly after: (() => void)[];
}

export function createTurn(db: Database): Turn {
  const begin = db.prepare('BEGIN IMMEDIATE');
  const commit = db.prepare('COMMIT');
  const rollback = db.prepare('ROLLBACK');
  let open: Open | null = null;
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
      open = null;
      commit.run();
    } catch (error) {
      open = null;
      tryRollback();
      turn.reject(error);
      return;
    }
    for (const callback of turn.after) callback();
    turn.resolve();
  }

  function tryRollback(): void {
    try {
      rollback.run();
    } catch {
      // SQLite has rolled back by itself, as it does when the disk is full.
    }
  }

  function settle<T>(turn: Open, value: T): Promise<T> {
    return turn.done.then(() => value);
  }

  return {
    async write(work) {
      const turn = join();
      return settle(turn, work());
    },
    async read(work) {
      const value = work();
      return open === null ? value : settle(open, value);
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
