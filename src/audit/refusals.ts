import { leftOfWindow, MINUTE_MS, windowOf } from '../store/windows.ts';
import { AUDIT_LIMITS } from './limits.ts';
import type { RefusalsRecord } from './record.ts';

/** Of each client's refusals in one minute so many have a record of their own; the others are counted. */
export interface Refusals {
  /** May the next one of this client have its own record? If not, it is counted now. */
  admits(client: string): boolean;
  /** Ends it: what was counted and is not written yet. */
  end(): readonly RefusalsRecord[];
}

export interface RefusalsOptions {
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Can something be written now? What cannot waits, and is counted on. */
  readonly canWrite: () => boolean;
  /** Takes the records for good: if it fails, they are written later. */
  readonly write: (records: readonly RefusalsRecord[]) => Promise<void>;
}

/**
 * A client that is refused costs no work, so that it can be refused without end: its records would fill the disk.
 * What is kept here grows with the number of clients, and with nothing else: while the audit cannot be written, a
 * count goes on for longer than a minute.
 */
export function createRefusals({ now, canWrite, write }: RefusalsOptions): Refusals {
  /** The minute that is counted, by its start. */
  let minuteMs = 0;
  const recorded = new Map<string, number>();
  let counted = new Map<string, RefusalsRecord>();
  let isWriting = false;
  let timer: NodeJS.Timeout | null = null;

  function count(client: string): void {
    const { count: before, fromMs } = counted.get(client) ?? { count: 0, fromMs: minuteMs };
    counted.set(client, { type: 'refusals', client, count: before + 1, fromMs });
    arm();
  }

  /** By itself when the minute is over, for a client that does not come back. */
  function arm(): void {
    timer ??= setTimeout(look, leftOfWindow(MINUTE_MS, now())).unref();
  }

  function look(): void {
    timer = null;
    turn();
    if (counted.size > 0) arm();
  }

  function turn(): void {
    const startMs = windowOf(MINUTE_MS, now());
    if (startMs === minuteMs) return;
    minuteMs = startMs;
    recorded.clear();
    if (counted.size === 0 || isWriting || !canWrite()) return;
    const records = [...counted.values()];
    counted = new Map();
    isWriting = true;
    void write(records)
      .catch(() => {})
      .finally(() => {
        isWriting = false;
      });
  }

  return {
    admits(client) {
      turn();
      const before = recorded.get(client) ?? 0;
      const isRecorded = before < AUDIT_LIMITS.refusalsPerMinute;
      if (isRecorded) recorded.set(client, before + 1);
      else count(client);
      return isRecorded;
    },
    end() {
      if (timer !== null) clearTimeout(timer);
      timer = null;
      const rest = [...counted.values()];
      counted = new Map();
      return rest;
    },
  };
}
