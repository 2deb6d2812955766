import { fdatasync, fdatasyncSync } from 'node:fs';
import { StoreError } from '../../errors/index.ts';
import type { OpenTurn } from './turn.ts';

/** Flushes the log beside the event loop, one flush for all turns that were committed before it began. */
export interface Flusher {
  /** Settles the turn when it is on disk; at once if it changed nothing and nothing else is pending. */
  add(turn: OpenTurn, changed: boolean): void;
  /** The newest turn that is committed and not yet on disk. */
  readonly newest: OpenTurn | undefined;
  /** Why nothing more can be written; `null` while it can. */
  readonly ended: StoreError | null;
  /** Flushes now, and settles all that is pending. */
  close(): void;
}

/** @param log descriptor of SQLite's write-ahead log */
export function createFlusher(log: number): Flusher {
  let waiting: OpenTurn[] = [];
  let flushing: readonly OpenTurn[] = [];
  let ended: StoreError | null = null;

  function flush(): void {
    flushing = waiting;
    waiting = [];
    fdatasync(log, (error) => {
      if (ended !== null) return;
      // What a failed flush has lost no later one brings back: only a restart reads what is really there.
      if (error !== null) ended = new StoreError('the disk failed: restart the server', { cause: error });
      const settled = ended === null ? flushing : [...flushing, ...waiting.splice(0)];
      flushing = [];
      if (waiting.length > 0) flush();
      for (const turn of settled) turn.settle(ended);
    });
  }

  return {
    add(turn, changed) {
      if (!changed && waiting.length === 0 && flushing.length === 0) return turn.settle(ended);
      waiting.push(turn);
      if (flushing.length === 0) flush();
      return undefined;
    },
    get newest() {
      return waiting.at(-1) ?? flushing.at(-1);
    },
    get ended() {
      return ended;
    },
    close() {
      const pending = [...flushing, ...waiting];
      const failed = ended;
      ended ??= new StoreError('the store is closed');
      fdatasyncSync(log);
      for (const turn of pending) turn.settle(failed);
    },
  };
}
