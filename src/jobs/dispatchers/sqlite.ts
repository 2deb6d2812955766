import { JOB_LIMITS } from '../../limits.ts';
import type { SqliteStore } from '../../store/index.ts';
import type { ConsumeOptions, Consumer, Dispatcher, RunJob, Verdict } from '../dispatcher.ts';

interface Lease {
  readonly jobId: string;
  /** Grows with every claim of the job: only its newest holder may renew or end it. */
  readonly number: number;
  readonly controller: AbortController;
}

function prepare({ db }: SqliteStore) {
  return {
    insert: db.prepare('INSERT INTO queue (job_id, visible_ms, lease) VALUES (?, ?, 0) ON CONFLICT DO NOTHING'),
    remove: db.prepare('DELETE FROM queue WHERE job_id = ?'),
    claim: db.prepare(`
      UPDATE queue SET visible_ms = ?, lease = lease + 1
      WHERE job_id IN (SELECT job_id FROM queue WHERE visible_ms <= ? ORDER BY visible_ms LIMIT ?)
      RETURNING job_id, lease`),
    renew: db.prepare('UPDATE queue SET visible_ms = ? WHERE job_id = ? AND lease = ?'),
    done: db.prepare('DELETE FROM queue WHERE job_id = ? AND lease = ?'),
    takeOver: db.prepare(`
      UPDATE queue SET visible_ms = ? WHERE lease > 0 AND visible_ms > ?
        AND EXISTS (SELECT 1 FROM jobs WHERE id = job_id AND state = 'running')`),
  };
}

/**
 * The dispatcher on the same file as the records. A job's creation, its push and, when a worker here
 * is idle, its claim share one transaction.
 */
export function createSqliteDispatcher(store: SqliteStore, now: () => number = Date.now): Dispatcher {
  const { turn } = store;
  const sql = prepare(store);
  /** Claims of the consumers in this process, to be run at the end of a turn that pushed. */
  const claimers = new Set<() => void>();
  let scheduled = false;

  // The folder's lock is ours: whoever held these leases is dead.
  sql.takeOver.run(now(), now());

  /** Once in this turn, after all that it pushes. */
  function claimThisTurn(): void {
    if (scheduled) return;
    scheduled = true;
    turn.beforeCommit(() => {
      scheduled = false;
      for (const claim of claimers) claim();
    });
  }

  return {
    push: (jobId, runAtMs) =>
      turn.write(() => {
        sql.insert.run(jobId, runAtMs);
        claimThisTurn();
      }),
    remove: (jobId) =>
      turn.write(() => {
        sql.remove.run(jobId);
      }),
    ping: () => turn.write(() => {}),
    consume(run, options) {
      const consumer = createConsumer(store, sql, run, { ...options, now, claimThisTurn });
      claimers.add(consumer.claim);
      return {
        stop() {
          claimers.delete(consumer.claim);
          return consumer.stop();
        },
      };
    },
  };
}

interface ConsumerOptions extends ConsumeOptions {
  readonly now: () => number;
  readonly claimThisTurn: () => void;
}

function createConsumer(
  { turn }: SqliteStore,
  sql: ReturnType<typeof prepare>,
  run: RunJob,
  { concurrency, leaseMs, onError, now, claimThisTurn }: ConsumerOptions,
): Consumer & { claim(): void } {
  const leases = new Map<string, Lease>();
  let stopping = false;
  let onIdle: (() => void) | null = null;

  /** Takes as many jobs as there are free slots; inside the transaction of this turn. */
  function claim(): void {
    const free = concurrency - leases.size;
    if (stopping || free <= 0) return;
    const nowMs = now();
    for (const row of sql.claim.all(nowMs + leaseMs, nowMs, free)) {
      const lease = { jobId: String(row['job_id']), number: Number(row['lease']), controller: new AbortController() };
      // A job taken again while this process still runs it: its lease ran out here, unnoticed.
      leases.get(lease.jobId)?.controller.abort();
      leases.set(lease.jobId, lease);
      void runLeased(lease);
    }
  }

  async function runLeased(lease: Lease): Promise<void> {
    try {
      const verdict = await run(lease.jobId, lease.controller.signal);
      await turn.write(() => end(lease, verdict));
    } catch (error) {
      // The lease runs out and the job is taken again.
      onError(error);
      forget(lease);
    }
  }

  function end(lease: Lease, verdict: Verdict): void {
    if (verdict === 'done') sql.done.run(lease.jobId, lease.number);
    else sql.renew.run(now() + verdict.retryAfterMs, lease.jobId, lease.number);
    forget(lease);
    claimThisTurn();
  }

  function forget(lease: Lease): void {
    if (leases.get(lease.jobId) === lease) leases.delete(lease.jobId);
    if (leases.size === 0) onIdle?.();
  }

  function renew(): void {
    const visibleMs = now() + leaseMs;
    for (const { jobId, number, controller } of leases.values()) {
      if (sql.renew.run(visibleMs, jobId, number).changes === 0) controller.abort();
    }
  }

  const every = (ms: number, work: () => void) =>
    setInterval(() => {
      turn.write(work).catch(onError);
    }, ms);
  const heartbeat = every(leaseMs / 3, renew);
  const poll = every(Math.min(JOB_LIMITS.pollMs, leaseMs / 3), claim);
  turn.write(claimThisTurn).catch(onError);

  return {
    claim,
    async stop() {
      stopping = true;
      clearInterval(poll);
      if (leases.size > 0) {
        await new Promise<void>((resolve) => {
          onIdle = resolve;
        });
      }
      clearInterval(heartbeat);
    },
  };
}
