import { ProtocolError } from '../errors/index.ts';
import { isTerminal, type JobRecord, type RecordStore } from '../store/index.ts';

type Jobs = RecordStore['jobs'];

/** @throws ProtocolError `not_found`, the same for an unknown job and another client's (docs/protocol.md §6) */
export async function ownJob(jobs: Jobs, id: string, clientId: string): Promise<JobRecord> {
  const job = await jobs.get(id);
  if (job === null || job.clientId !== clientId) throw new ProtocolError('not_found', 'you have no such job');
  return job;
}

/**
 * The same once it has changed or ended, or after `ms`, or when one of the signals aborts.
 *
 * @param after the revision that was seen last, so that no change in between is waited past; without it, the one now
 */
export async function ownJobChanged(
  jobs: Jobs,
  id: string,
  clientId: string,
  ms: number,
  signals: readonly AbortSignal[],
  after?: number,
): Promise<JobRecord> {
  const job = await ownJob(jobs, id, clientId);
  const seen = after ?? job.revision;
  if (isTerminal(job.state) || ms === 0 || job.revision > seen) return job;
  await within(ms, signals, (ended) => jobs.changed(id, seen, ended));
  return ownJob(jobs, id, clientId);
}

/**
 * Waits for at most `ms`, or until a parent aborts. Not with AbortSignal.any and AbortSignal.timeout: on
 * Node 20 such a pair is collected as garbage while somebody waits for it, and the wait never ends.
 */
async function within(
  ms: number,
  parents: readonly AbortSignal[],
  wait: (ended: AbortSignal) => Promise<void>,
): Promise<void> {
  if (parents.some(({ aborted }) => aborted)) return;
  const controller = new AbortController();
  const end = () => controller.abort();
  const timer = setTimeout(end, ms);
  for (const parent of parents) parent.addEventListener('abort', end);
  try {
    await wait(controller.signal);
  } finally {
    clearTimeout(timer);
    for (const parent of parents) parent.removeEventListener('abort', end);
  }
}
