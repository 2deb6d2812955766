import { JOB_LIMITS } from '../../limits.ts';
import type { Dispatch, SqliteStore } from '../../store/index.ts';
import type {
  ConsumeOptions,
  Consumer,
  Dispatcher,
  Lease,
  RunJob,
  ToolLimits,
  Verdict,
} from '../dispatcher.ts';

type ReadyJob = Pick<Dispatch, 'id' | 'tool'>;

interface HeldLease extends Lease {
  readonly jobId: string;
  untilMs: number;
}

/** Takes jobs while it has free slots; runs inside the transaction of a turn. */
type Claim = () => void;

export interface SqliteDispatcherOptions {
  readonly limits?: ToolLimits;
  readonly now?: () => number;
}

/**
 * The dispatcher on the same file as the records. A job's creation and its place in the queue
 * are one transaction and, when a worker here is idle, its claim and first attempt are in it too.
 */
export function createSqliteDispatcher(
  store: SqliteStore,
  { limits = new Map(), now = Date.now }: SqliteDispatcherOptions = {},
): Dispatcher {
  const { turn, queue } = store;
  const claims = new Set<Claim>();
  /** Just created, to be claimed without a look at the disk. */
  const created: ReadyJob[] = [];
  /** Are there jobs on disk that wait for a free slot? Those of tools without room do not count. */
  let backlog = true;
  const rooms = createRooms(limits, () => {
    backlog = true;
  });
  let scheduled = false;

  // The folder's lock is ours: whoever held these leases is dead.
  queue.takeOver(now());
  queue.onCreated = (job) => {
    if (backlog) return claimThisTurn();
    if (rooms.of(job.tool) === 0) return;
    created.push(job);
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
  function take(free: number): ReadyJob[] {
    if (!backlog) return created.splice(0, free);
    // One more than wanted tells whether others wait.
    const jobs = queue.ready(now(), free + 1, rooms.of);
    backlog = jobs.length > free;
    created.length = 0;
    return jobs.slice(0, free);
  }

  return {
    push: ({ id }, runAtMs) =>
      queue.lacks(id) ? turn.write(() => queue.push(id, runAtMs)) : Promise.resolve(),
    remove: ({ id }) => turn.write(() => queue.remove(id)),
    ping: () => store.ping(),
    async close() {},
    consume(run, options) {
      const consumer = createConsumer(store, run, { ...options, rooms, now, take, claimThisTurn });
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
  readonly rooms: Rooms;
  readonly now: () => number;
  readonly take: (free: number) => ReadyJob[];
  readonly claimThisTurn: () => void;
}

function createConsumer(
  { turn, queue }: SqliteStore,
  run: RunJob,
  { concurrency, leaseMs, onError, rooms, now, take, claimThisTurn }: ConsumerOptions,
): Consumer & { readonly claim: Claim } {
  const leases = new Map<string, HeldLease>();
  const slots = { free: concurrency };
  let onIdle: (() => void) | null = null;

  function claim(): void {
    if (slots.free > 0) for (const job of take(slots.free)) start(job);
  }

  function start(job: ReadyJob): void {
    const nowMs = now();
    const untilMs = nowMs + leaseMs;
    if (!queue.claim(job.id, nowMs, untilMs)) return;
    const held = leases.get(job.id);
    if (held !== undefined) {
      // It runs here: the machine has slept, or its clock was set, and nobody else could take it.
      held.untilMs = untilMs;
      return;
    }
    const lease = newLease(job, untilMs, slots, rooms);
    leases.set(job.id, lease);
    runLeased(lease);
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

/** Takes a slot, and room of its tool. */
function newLease({ id, tool }: ReadyJob, untilMs: number, slots: { free: number }, rooms: Rooms): HeldLease {
  slots.free--;
  rooms.enter(tool);
  let holdsSlot = true;
  return {
    jobId: id,
    untilMs,
    onLost: null,
    freeSlot() {
      if (!holdsSlot) return;
      holdsSlot = false;
      slots.free++;
      rooms.leave(tool);
    },
  };
}

/** How many further jobs of a tool may run, in all consumers together. */
interface Rooms {
  readonly of: (tool: string) => number;
  enter(tool: string): void;
  leave(tool: string): void;
}

/** @param onRoom told when a tool that had none has room again */
function createRooms(limits: ToolLimits, onRoom: () => void): Rooms {
  const left = new Map(limits);
  return {
    of: (tool) => left.get(tool) ?? Number.POSITIVE_INFINITY,
    enter(tool) {
      const room = left.get(tool);
      if (room !== undefined) left.set(tool, room - 1);
    },
    leave(tool) {
      const room = left.get(tool);
      if (room === undefined) return;
      left.set(tool, room + 1);
      if (room === 0) onRoom();
    },
  };
}
