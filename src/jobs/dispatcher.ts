import type { Dispatch } from '../store/index.ts';

/**
 * The queue in front of the workers. It carries job ids and nothing else: order, leases, takeover and
 * the timing of retries are its work; what a job is and how it stands is in the records.
 */
export interface Dispatcher {
  /** Makes a job available from `runAtMs` on. Does nothing for a job that is carried already. */
  push(job: Dispatch, runAtMs: number): Promise<void>;
  /** Hands out jobs until the consumer is stopped. */
  consume(run: RunJob, options: ConsumeOptions): Consumer;
  /** Takes a job off; does nothing for one that is not carried. */
  remove(job: Pick<Dispatch, 'id' | 'tool'>): Promise<void>;
  /** @throws when jobs cannot be pushed or taken now */
  ping(): Promise<void>;
  /** Lets go of connections; consumers are stopped before. */
  close(): Promise<void>;
}

/** How many jobs of a tool may run at once, in all workers together; tools that are not named have no limit. */
export type ToolLimits = ReadonlyMap<string, number>;

/** The right to run a job, renewed while the run lasts. */
export interface Lease {
  /** Set by the run; called when another worker may have the job. */
  onLost: (() => void) | null;
  /** Called by the run when the tool has returned: another job may start while the outcome is recorded. */
  freeSlot(): void;
}

export type RunJob = (jobId: string, lease: Lease) => Promise<Verdict>;

/** What becomes of the job in the queue. */
export type Verdict = 'done' | { readonly retryAfterMs: number };

export interface ConsumeOptions {
  /** Jobs at once. On BullMQ, tools with a limit of their own have slots beside these. */
  readonly concurrency: number;
  /** A worker that did not renew its lease for this long is taken for dead. */
  readonly leaseMs: number;
  /** Told of failures of the queue itself; the consumer goes on trying. */
  readonly onError: (error: unknown) => void;
}

export interface Consumer {
  /** Takes no further jobs. Those that run go on; resolves when the last of them has ended. */
  stop(): Promise<void>;
}
