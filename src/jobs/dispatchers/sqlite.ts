import { JOB_LIMITS } from '../../limits.ts';
import type { SqliteStore } from '../../store/index.ts';
import type { ConsumeOptions, Consumer, Dispatcher, Lease, RunJob, Verdict } from '../dispatcher.ts';

interface HeldLease extends Lease {
  readonly jobId: string;
  untilMs: number;
}

/** Takes jobs while it has free slots; runs inside the transaction of a turn. */
type Claim = () => void;

/**
 * The dispatcher on the same file as the records. A job's creation and its place in the queue
 * are one transaction and, when a worker here is idle, its claim and first attempt are in it too.
 */
export function createSqliteDispatcher(store: SqliteStore, now: () => number = Date.now): Dispatcher {
  const { turn, queue } = store;
  const claims = new Set<Claim>();
  /** Just created, to be claimed without a look at the disk. */
  const created: string[] = [];
  /** Are there jobs on disk that wait for a free slot? */
  let backlog = true;
  let scheduled = false;

  // The folder's lock is ours: whoever held these leases is dead.
  queue.takeOver(now());
  queue.onCreated = (jobId) => {
    if (backlog) return claimThisTurn();
    created.push(jobId);
    handOut();
  };

  /** Once in this turn, after all that it ends. */
  function claimThisTurn(): void {
    if (scheduled || claims.size === 0) return;
    scheduled = true;
    turn.beforeCommit(handOut);
    turn.onEnd(() => {
      scheduled = false;
    });
  }

  function handOut(): void {
    for (const claim of claims) claim();
    // What nobody took is on disk, where the next free slot looks.
    if (created.length > 0) backlog = true;
    created.length = 0;
  }

  /** In order of arrival: what is on disk first. */
  function take(free: number): string[] {
    if (!backlog) return created.splice(0, free);
    // One more than wanted tells whether others wait.
    const ids = queue.ready(now(), free + 1);
    backlog = ids.length > free;
    created.length = 0;
    return ids.slice(0, free);
  }

  return {
    push: (jobId, runAtMs) =>
      queue.lacks(jobId) ? turn.write(() => queue.push(jobId, runAtMs)) : Promise.resolve(),
    remove: (jobId) => turn.write(() => queue.remove(jobId)),
    ping: () => store.ping(),
    consume(run, options) {
      const consumer = createConsumer(store, run, { ...options, now, take, claimThisTurn });
      claims.add(consumer.claim);
      const poll = setInterval(() => {
        // Retries that are due and leases that ran out are on disk too.
        backlog = true;
        turn.write(claimThisTurn).catch(options.onError);
      }, JOB_LIMITS.pollMs);
      turn.write(claimThisTurn).catch(options.onError);
      return {
        stop() {
          clearInterval(poll);
          claims.delete(consumer.claim);
          return consumer.stop();
        },
      };
    },
  };
}

interface ConsumerOptions extends ConsumeOptions {
  readonly now: () => number;
  readonly take: (free: number) => string[];
  readonly claimThisTurn: () => void;
}

function createConsumer(
  { turn, queue }: SqliteStore,
  run: RunJob,
  { concurrency, leaseMs, onError, now, take, claimThisTurn }: ConsumerOptions,
): Consumer & { readonly claim: Claim } {
  const leases = new Map<string, HeldLease>();
  const slots = { free: concurrency };
  let onIdle: (() => void) | null = null;

  function claim(): void {
    if (slots.free === 0) return;
    const nowMs = now();
    for (const jobId of take(slots.free)) {
      const untilMs = nowMs + leaseMs;
      if (!queue.claim(jobId, nowMs, untilMs)) continue;
      const held = leases.get(jobId);
      if (held !== undefined) {
        // It runs here: the machine has slept, or its clock was set, and nobody else could take it.
        held.untilMs = untilMs;
        continue;
      }
      const lease = newLease(jobId, untilMs, slots);
      slots.free--;
      leases.set(jobId, lease);
      runLeased(lease);
    }
  }

  function runLeased(lease: HeldLease): void {
    run(lease.jobId, lease)
      .then((verdict) => turn.enqueue(() => end(lease, verdict)))
      .catch((error: unknown) => {
        // The lease runs out and the job is taken again.
        onError(error);
        forget(lease);
      });
  }

  function end(lease: HeldLease, verdict: Verdict): void {
    queue.move(lease.jobId, lease.untilMs, verdict === 'done' ? null : now() + verdict.retryAfterMs);
    forget(lease);
    claimThisTurn();
  }

  function forget(lease: HeldLease): void {
    lease.freeSlot();
    if (leases.get(lease.jobId) === lease) leases.delete(lease.jobId);
    if (leases.size === 0) onIdle?.();
  }

  function renew(): void {
    const untilMs = now() + leaseMs;
    for (const lease of leases.values()) {
      if (queue.move(lease.jobId, lease.untilMs, untilMs)) lease.untilMs = untilMs;
      else lease.onLost?.();
    }
  }

  const heartbeat = setInterval(() => {
    const before = [...leases.values()].map((lease) => ({ lease, untilMs: lease.untilMs }));
    turn.write(renew).catch((error: unknown) => {
      // The rows are as they were, and so are the leases.
      for (const { lease, untilMs } of before) lease.untilMs = untilMs;
      onError(error);
    });
  }, leaseMs / 3);

  return {
    claim,
    async stop() {
      if (leases.size > 0) {
        await new Promise<void>((resolve) => {
          onIdle = resolve;
        });
      }
      clearInterval(heartbeat);
    },
  };
}

function newLease(jobId: string, untilMs: number, slots: { free: number }): HeldLease {
  let holdsSlot = true;
  return {
    jobId,
    untilMs,
    onLost: null,
    freeSlot() {
      if (holdsSlot) slots.free++;
      holdsSlot = false;
    },
  };
}
