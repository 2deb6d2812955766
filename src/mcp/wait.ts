import { ProtocolError } from '../errors/index.ts';
import { MCP_LIMITS } from '../limits.ts';
import { isTerminal } from '../store/record-store.ts';
import type { Backend, JobView } from './backend.ts';
import type { Report } from './progress.ts';

/**
 * Waits for a job, for hosts without Tasks, and reports how far it is at least so often that the host keeps
 * waiting too. Comes back when the job has ended or asks something, or after `ms`.
 */
export async function waitForJob(
  backend: Backend,
  started: JobView,
  { ms, signal, report }: { readonly ms: number; readonly signal: AbortSignal; readonly report: Report },
): Promise<JobView> {
  const endMs = performance.now() + ms;
  let job = started;
  while (!isTerminal(job.state) && Object.keys(job.questions).length === 0) {
    const leftMs = Math.ceil(endMs - performance.now());
    if (leftMs <= 0 || signal.aborted) break;
    const next = await backend
      .job(job.id, { ms: Math.min(leftMs, MCP_LIMITS.heartbeatMs), signal, after: job.revision })
      .catch(ifRefused);
    // The job is safe: its id is worth more to the host than the news that nobody may look now.
    if (next === null) break;
    job = next;
    // What has ended tells its result; it may tell no more how far it was.
    if (job.progress !== null || !isTerminal(job.state)) report(job.progress ?? { completed: 0 });
  }
  return job;
}

function ifRefused(error: unknown): null {
  if (error instanceof ProtocolError && error.code !== 'not_found') return null;
  throw error;
}
