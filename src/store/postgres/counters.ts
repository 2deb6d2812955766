import { POSTGRES_LIMITS } from '../../limits.ts';
import type { CounterRecords } from '../record-store.ts';
import { BRIEF_MS, countedWindow, windowOf } from '../windows.ts';
import { type Batcher, createBatcher } from './batch.ts';
import type { Database, Row } from './database.ts';

const INSERT = {
  name: 'waybill-counters-insert',
  text: `
    INSERT INTO waybill.counters SELECT name, 0, 0 FROM unnest($1::text[]) AS new(name) ORDER BY name
    ON CONFLICT DO NOTHING`,
};
// The rows are locked, in the order of names, before they are read: `old` is what the last one to change them has
// left. The next window is believed, as in countedWindow. Counts of short windows need not be on disk.
const TAKE = {
  name: 'waybill-counters-take',
  text: `
    WITH asked AS MATERIALIZED (
      SELECT name, wanted, most, start_ms, length_ms
      FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
        AS a(name, wanted, most, start_ms, length_ms), set_config('synchronous_commit', $6, true)
    ),
    old AS MATERIALIZED (
      SELECT c.name, c.window_ms, c.used FROM waybill.counters c
      WHERE c.name = ANY (SELECT name FROM asked) ORDER BY c.name FOR UPDATE OF c
    ),
    counted AS MATERIALIZED (
      SELECT a.name, a.wanted, a.most, w.start_ms, CASE WHEN o.window_ms = w.start_ms THEN o.used ELSE 0 END AS used
      FROM asked a JOIN old o USING (name) CROSS JOIN LATERAL (
        SELECT CASE WHEN o.window_ms = a.start_ms + a.length_ms THEN o.window_ms ELSE a.start_ms END AS start_ms) AS w
    )
    UPDATE waybill.counters c
    SET window_ms = n.start_ms, used = n.used + greatest(0, least(n.wanted, n.most - n.used))
    FROM counted n WHERE c.name = n.name
    RETURNING c.name, greatest(0, least(n.wanted, n.most - n.used)) AS given`,
};
const GIVE_BACK = {
  name: 'waybill-counters-give-back',
  text: `
    UPDATE waybill.counters SET used = used - 1 WHERE name = $1 AND window_ms = $2 AND used > 0`,
};
const USED = {
  name: 'waybill-counters-used',
  text: 'SELECT window_ms, used FROM waybill.counters WHERE name = $1',
};

interface Take {
  readonly name: string;
  readonly limit: number;
  readonly windowMs: number;
  readonly startMs: number;
}

/** Those of one batch who want of the same counter. */
interface Share {
  wanted: number;
  limit: number;
  startMs: number;
  readonly windowMs: number;
}

export interface PostgresCounters extends CounterRecords {
  idle(): Promise<void>;
}

/** Counts that all replicas share: the row of a name decides. */
export function createCounterRecords(db: Database): PostgresCounters {
  const brief = createTakes(db, 'off');
  const lasting = createTakes(db, 'on');
  return {
    take(name, limit, windowMs, nowMs) {
      const takes = windowMs > BRIEF_MS ? lasting : brief;
      return takes.run({ name, limit, windowMs, startMs: windowOf(windowMs, nowMs) });
    },
    async giveBack(name, windowMs, nowMs) {
      await db.query(GIVE_BACK, [name, windowOf(windowMs, nowMs)]);
    },
    async used(name, windowMs, nowMs) {
      const [row] = await db.query(USED, [name]);
      if (row === undefined) return 0;
      const knownMs = Number(row['window_ms']);
      return countedWindow(windowOf(windowMs, nowMs), knownMs, windowMs) === knownMs
        ? Number(row['used'])
        : 0;
    },
    idle: () => Promise.all([brief.idle(), lasting.idle()]).then(() => {}),
  };
}

function createTakes(db: Database, synchronousCommit: 'on' | 'off'): Batcher<Take, boolean> {
  async function takeAll(shares: ReadonlyMap<string, Share>): Promise<readonly Row[]> {
    const all = [...shares.values()];
    const values = [
      [...shares.keys()],
      all.map(({ wanted }) => wanted),
      all.map(({ limit }) => limit),
      all.map(({ startMs }) => startMs),
      all.map(({ windowMs }) => windowMs),
      synchronousCommit,
    ];
    return db.query(TAKE, values);
  }

  return createBatcher(
    async (items) => {
      const shares = sharesOf(items);
      let rows = await takeAll(shares);
      if (rows.length < shares.size) {
        // Their first time.
        const given = new Set(rows.map((row) => String(row['name'])));
        const others = new Map([...shares].filter(([name]) => !given.has(name)));
        await db.query(INSERT, [[...others.keys()]]);
        rows = [...rows, ...(await takeAll(others))];
      }
      const left = new Map(rows.map((row) => [String(row['name']), Number(row['given'])]));
      return items.map(({ name }) => {
        const of = left.get(name) ?? 0;
        left.set(name, of - 1);
        return of > 0;
      });
    },
    { maxItems: POSTGRES_LIMITS.maxBatch },
  );
}

/** By name. Where a window or a limit changes within a batch, the newest window and the smallest limit hold. */
function sharesOf(items: readonly Take[]): ReadonlyMap<string, Share> {
  const shares = new Map<string, Share>();
  for (const { name, limit, windowMs, startMs } of items) {
    const share = shares.get(name);
    if (share === undefined) {
      shares.set(name, { wanted: 1, limit, startMs, windowMs });
    } else {
      share.wanted++;
      share.limit = Math.min(share.limit, limit);
      share.startMs = Math.max(share.startMs, startMs);
    }
  }
  return shares;
}
