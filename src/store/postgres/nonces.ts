import { hash } from 'node:crypto';
import { busy } from '../../errors/index.ts';
import { POSTGRES_LIMITS, type TimeWindow } from '../../limits.ts';
import type { NonceRecords } from '../record-store.ts';
import { createBatcher } from './batch.ts';
import type { Database } from './database.ts';

const INSERT = {
  name: 'waybill-nonces-insert',
  text: `
    INSERT INTO waybill.nonces
    SELECT * FROM unnest($1::uuid[], $2::bigint[]) AS new(key, expires_ms) ORDER BY key
    ON CONFLICT DO NOTHING RETURNING key`,
};
const SWEEP = {
  name: 'waybill-nonces-sweep',
  text: `
    DELETE FROM waybill.nonces WHERE key = ANY (ARRAY(
      SELECT key FROM waybill.nonces WHERE expires_ms < $1 LIMIT $2 FOR UPDATE SKIP LOCKED))
    RETURNING 1`,
};

interface Claim {
  readonly key: string;
  readonly expiresMs: number;
}

export interface PostgresNonces extends NonceRecords {
  idle(): Promise<void>;
  stop(): void;
}

/** The nonce guard of docs/protocol.md §5, shared by all replicas: the primary key decides. */
export function createNonceRecords(
  db: Database,
  window: TimeWindow,
  now: () => number,
  onError: (error: unknown) => void,
): PostgresNonces {
  const claims = createBatcher<Claim, boolean>(
    async (items) => {
      const values = [items.map(({ key }) => key), items.map(({ expiresMs }) => expiresMs)];
      const rows = await db.query(INSERT, values);
      const added = new Set(rows.map((row) => row['key']));
      return items.map(({ key }) => added.has(key));
    },
    { maxItems: POSTGRES_LIMITS.maxBatch, keyOf: ({ key }) => key },
  );

  let stopped = false;
  const timer = setTimeout(() => void sweep(), POSTGRES_LIMITS.nonceSweepMs);
  timer.unref();

  async function sweep(): Promise<void> {
    try {
      const { nonceSweepBatch } = POSTGRES_LIMITS;
      let swept: number;
      do {
        swept = (await db.query(SWEEP, [now(), nonceSweepBatch])).length;
      } while (swept === nonceSweepBatch && !stopped);
    } catch (error) {
      if (!stopped) onError(error);
    }
    if (!stopped) timer.refresh();
  }

  return {
    async claim(clientId, nonce, tsMs) {
      const expiresMs = tsMs + window.maxPastMs + window.maxFutureMs + POSTGRES_LIMITS.maxClockSkewMs;
      const isNew = await claims.run({ key: keyOf(clientId, nonce), expiresMs });
      // The database was slow, and may by now have forgotten the first one that used this nonce.
      if (isNew && tsMs < now() - window.maxPastMs) throw busy('nonces of that time are forgotten', 1);
      return isNew;
    },
    idle: () => claims.idle(),
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };
}

/** 128 bits of SHA-256 as the database writes them: no client can make its nonce collide with another's. */
function keyOf(clientId: string, nonce: string): string {
  const hex = hash('sha256', `${clientId}\n${nonce}`, 'hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20, 32)}`;
}
