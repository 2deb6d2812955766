import type { Lease } from '../../dispatcher.ts';
import { type ConsumerQueue, stalledLookMs } from './service.ts';

/** A job that this process has taken from the queue. */
export interface HeldJob {
  readonly id: string;
  /** Names its holder to the queue; another one when the job is taken here again. */
  token: string;
  readonly lease: Lease;
  /** Has its run ended? */
  isOver: boolean;
}

/** The jobs that are held here, by id, and how their leases are renewed. */
export interface Leases {
  readonly held: Map<string, HeldJob>;
  stop(): void;
}

/**
 * Renews the leases of what is held, and gives the jobs of those that did not renew theirs back to the queue.
 *
 * @param onError told of what the queue rejects; the next try follows
 */
export function keepLeases(
  backend: ConsumerQueue['backend'],
  leaseMs: number,
  onError: (error: unknown) => void,
): Leases {
  const held = new Map<string, HeldJob>();

  async function renew(): Promise<void> {
    if (held.size === 0) return;
    const jobs = [...held.values()];
    const tokens = jobs.map(({ token }) => token);
    const ids = jobs.map(({ id }) => id);
    const lost = new Set(await backend.extendLocks(ids, tokens, leaseMs));
    for (const [i, job] of jobs.entries()) {
      // One that is over may have left the queue meanwhile.
      if (!lost.has(job.id) || job.isOver || job.token !== tokens[i]) continue;
      held.delete(job.id);
      job.lease.onLost?.();
    }
  }

  const stops = [
    repeat(renew, leaseMs / 3, onError),
    repeat(() => backend.moveStalledJobsToWait(), stalledLookMs(leaseMs), onError),
  ];
  return {
    held,
    stop() {
      for (const stop of stops) stop();
    },
  };
}

/** Now and again after each pause, one at a time; returns how to stop. */
function repeat(
  step: () => Promise<unknown>,
  pauseMs: number,
  onError: (error: unknown) => void,
): () => void {
  let isUnderWay = false;
  const next = () => {
    if (isUnderWay) return;
    isUnderWay = true;
    void step()
      .catch(onError)
      .finally(() => {
        isUnderWay = false;
      });
  };
  const timer = setInterval(next, pauseMs);
  next();
  return () => clearInterval(timer);
}
