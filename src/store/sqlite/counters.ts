import type { CounterRecords } from '../record-store.ts';
import { BRIEF_MS, countedWindow, windowOf } from '../windows.ts';
import type { Database } from './driver.ts';
import type { Turn } from './turn.ts';

/** What was counted in the window that began last. */
interface Count {
  startMs: number;
  used: number;
}

/**
 * Counts in memory, since a folder has one process. Those of long windows are also written, in the turn in which they
 * are made: whatever is acknowledged by a later commit, or by the same, finds them there after kill -9. A crash
 * forgets the others, and a client may then do a window's worth again.
 */
export function createCounterRecords(db: Database, turn: Turn): CounterRecords {
  const upsert = db.prepare(`
    INSERT INTO counters VALUES (?, ?, ?)
    ON CONFLICT (name) DO UPDATE SET window_ms = excluded.window_ms, used = excluded.used`);
  const counts = new Map<string, Count>();
  for (const row of db.prepare('SELECT * FROM counters').all())
    counts.set(String(row['name']), { startMs: Number(row['window_ms']), used: Number(row['used']) });

  /** That of the window of `nowMs`, or of the next one if its count has begun. */
  function countOf(name: string, windowMs: number, nowMs: number): Count {
    const ownMs = windowOf(windowMs, nowMs);
    const known = counts.get(name);
    if (known === undefined) return { startMs: ownMs, used: 0 };
    const startMs = countedWindow(ownMs, known.startMs, windowMs);
    return known.startMs === startMs ? known : { startMs, used: 0 };
  }

  function set(name: string, count: Count, used: number, windowMs: number): void {
    if (windowMs > BRIEF_MS) turn.enqueue(() => void upsert.run(name, count.startMs, used));
    count.used = used;
    counts.set(name, count);
  }

  return {
    async take(name, limit, windowMs, nowMs) {
      const count = countOf(name, windowMs, nowMs);
      if (count.used >= limit) return false;
      set(name, count, count.used + 1, windowMs);
      return true;
    },
    async giveBack(name, windowMs, nowMs) {
      const count = counts.get(name);
      if (count === undefined || count.startMs !== windowOf(windowMs, nowMs)) return;
      if (count.used > 0) set(name, count, count.used - 1, windowMs);
    },
    used: async (name, windowMs, nowMs) => countOf(name, windowMs, nowMs).used,
  };
}
