import type { Client } from 'pg';
import { POSTGRES_LIMITS } from '../../limits.ts';
import type { Changes } from '../changes.ts';
import type { JobState } from '../record-store.ts';
import type { Database, Row } from './database.ts';

/** Told of jobs by the statements that change them: `id:state:revision`, separated by commas. */
export const CHANNEL = 'waybill_jobs';

const STANDS = {
  name: 'waybill-jobs-stand',
  text: 'SELECT id, state, revision FROM waybill.requests WHERE id = ANY ($1::text[])',
};

/** Learns of the changes of jobs, whichever process makes them. */
export interface Watch {
  /** Looks at these jobs now, and tells of what is new. Never rejects. */
  look(ids: readonly string[]): Promise<void>;
  /** Also looked at while notifications may be missed: jobs that run here. */
  readonly held: Set<string>;
  stop(): Promise<void>;
}

/**
 * Notifications, and a look every now and then at what somebody waits for: a notification that falls into a
 * gap of its connection is late, not lost.
 */
export function startWatch(db: Database, changes: Changes, onError: (error: unknown) => void): Watch {
  const held = new Set<string>();
  let stopped = false;
  let disconnect: (() => Promise<void>) | null = null;

  async function look(ids: readonly string[]): Promise<void> {
    if (ids.length === 0) return;
    try {
      const rows = await db.query(STANDS, [ids]);
      for (const row of rows) {
        // The columns as the statements of jobs.ts write them.
        changes.emit(String(row['id']), row['state'] as JobState, Number(row['revision']));
      }
      if (rows.length < ids.length) tellOfRemoved(ids, rows);
    } catch (error) {
      if (!stopped) onError(error);
    }
  }

  function tellOfRemoved(ids: readonly string[], rows: readonly Row[]): void {
    const found = new Set(rows.map((row) => row['id']));
    for (const id of ids) if (!found.has(id)) changes.release(id);
  }

  function lookAtAll(): Promise<void> {
    return look([...new Set([...changes.awaited(), ...held])]);
  }

  const timer = setTimeout(() => void poll(), POSTGRES_LIMITS.pollMs);
  timer.unref();

  async function poll(): Promise<void> {
    await lookAtAll();
    if (!stopped) timer.refresh();
  }

  async function listen(): Promise<void> {
    const client = db.newClient();
    let gone = false;
    const lost = (error?: Error) => {
      if (gone || stopped) return;
      gone = true;
      if (error !== undefined) onError(error);
      void endQuietly(client);
      setTimeout(() => void listen(), POSTGRES_LIMITS.reconnectMs).unref();
    };
    client.on('error', lost);
    client.on('end', lost);
    client.on('notification', ({ payload = '' }) => tell(payload, changes));
    disconnect = () => endQuietly(client);
    try {
      await client.connect();
      await client.query(`LISTEN ${CHANNEL}`);
      // What changed before is not told.
      await lookAtAll();
    } catch (error) {
      lost(error instanceof Error ? error : undefined);
    }
  }
  void listen();

  return {
    look,
    held,
    async stop() {
      stopped = true;
      clearTimeout(timer);
      await disconnect?.();
    },
  };
}

/** A connection that is broken already has nothing left to say. */
function endQuietly(client: Client): Promise<void> {
  return client.end().catch(() => {});
}

function tell(payload: string, changes: Changes): void {
  for (const change of payload.split(',')) {
    const [id, state, revision] = change.split(':');
    // As the statement of jobs.ts writes it.
    if (id !== undefined) changes.emit(id, state as JobState, Number(revision));
  }
}
