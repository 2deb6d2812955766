import type { Database } from './driver.ts';
import type { JobRows } from './job-rows.ts';

/** How many jobs each client has queued or running, counted in memory: this process is the only one that writes. */
export interface OpenJobs {
  count(clientId: string): number;
  add(clientId: string, difference: 1 | -1): void;
  /** What memory knew was not written: it is counted again when it is next asked for. */
  reset(): void;
}

export function createOpenJobs(db: Database, rows: Pick<JobRows, 'select'>): OpenJobs {
  // An open job is in the queue or leased, so that the index of the queue holds them all. Left to itself SQLite
  // takes the index that is sorted by client, and looks at every job that has ended too.
  const select = db.prepare(`
    SELECT client_id, count(*) AS jobs FROM jobs INDEXED BY jobs_by_turn
    WHERE visible_ms IS NOT NULL GROUP BY client_id`);
  /** `null` until it is asked for: the count finds what was added before. */
  let counts: Map<string, number> | null = null;

  return {
    count(clientId) {
      counts ??= new Map(rows.select(select).map((row) => [String(row['client_id']), Number(row['jobs'])]));
      return counts.get(clientId) ?? 0;
    },
    add(clientId, difference) {
      if (counts === null) return;
      const left = (counts.get(clientId) ?? 0) + difference;
      if (left === 0) counts.delete(clientId);
      else counts.set(clientId, left);
    },
    reset() {
      counts = null;
    },
  };
}
