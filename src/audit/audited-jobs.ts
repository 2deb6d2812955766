import { type Attempt, type Fence, isTerminal, type JobRecord, type RecordStore } from '../store/index.ts';
import type { JobState } from '../store/record-store.ts';
import type { AuditLog } from './log.ts';

type Jobs = RecordStore['jobs'];

/** What a record of the audit says of a job beside its state. */
interface Subject {
  readonly job: string;
  readonly client: string;
  readonly tool: string;
  readonly attempt?: number;
}

/**
 * The job records of a store, with each transition in the audit before its promise resolves. Nothing is begun while
 * the audit cannot be written. A transition that is stored before that shows is owed to the audit, and written as
 * soon as it can be; only a process that is killed in between leaves it out (docs/guides/audit.md).
 */
export function auditJobs(jobs: Jobs, audit: AuditLog): Jobs {
  /** By its fence, which is all that the end of an attempt names. */
  const attempts = new WeakMap<Fence, Subject>();
  /** Attempts that have ended; whoever ends one again waits for its record. */
  const ended = new WeakSet<Fence>();
  /** A job may begin in the turn in which it is created: it was queued first. */
  const creations = new Map<string, Promise<unknown>>();

  function record(subject: Subject, state: JobState): Promise<void> {
    return audit.add({ type: 'job', ...subject, state });
  }

  async function subjectOf(fence: Fence): Promise<Subject | null> {
    const known = attempts.get(fence);
    if (known !== undefined) return known;
    const job = await jobs.get(fence.jobId);
    return job === null ? null : subjectOfJob(job);
  }

  /** Ends an attempt by `end`, unless it has ended. */
  async function endAttempt(fence: Fence, state: JobState, end: () => Promise<boolean>): Promise<boolean> {
    if (ended.has(fence)) {
      await audit.flushed();
      return true;
    }
    const subject = await subjectOf(fence);
    if (!(await end())) return false;
    ended.add(fence);
    if (subject !== null) await record(subject, state);
    return true;
  }

  return {
    ...jobs,
    async create(job) {
      if (audit.isDown) await audit.flushed();
      const creating = jobs.create(job);
      creations.set(job.id, creating);
      try {
        const creation = await creating;
        const { id, tool, request } = job;
        if (creation.outcome === 'created')
          await record({ job: id, client: request.clientId, tool }, 'queued');
        return creation;
      } finally {
        creations.delete(job.id);
      }
    },
    async begin(id, nowMs) {
      if (audit.isDown) await audit.flushed();
      const attempt = await jobs.begin(id, nowMs);
      if (attempt === null) return null;
      const creating = creations.get(id);
      if (creating !== undefined) await creating;
      const subject = subjectOfAttempt(attempt);
      attempts.set(attempt.fence, subject);
      try {
        await record(subject, 'running');
      } catch (error) {
        // It did not run, so it does not count.
        await jobs.release(attempt.fence, false, nowMs).catch(() => false);
        throw error;
      }
      return attempt;
    },
    finish: (fence, end, nowMs) => endAttempt(fence, end.state, () => jobs.finish(fence, end, nowMs)),
    release: (fence, counted, nowMs) =>
      endAttempt(fence, 'queued', () => jobs.release(fence, counted, nowMs)),
    async end(id, end, nowMs) {
      if (audit.isDown) await audit.flushed();
      const before = await jobs.get(id);
      const state = await jobs.end(id, end, nowMs);
      // Two that end a job at the same moment may both say so.
      if (before !== null && !isTerminal(before.state) && state === end.state)
        await record(subjectOfJob(before), state);
      return state;
    },
  };
}

function subjectOfJob({ id, clientId, tool }: JobRecord): Subject {
  return { job: id, client: clientId, tool };
}

function subjectOfAttempt({ fence, clientId, tool, attempt }: Attempt): Subject {
  return { job: fence.jobId, client: clientId, tool, attempt };
}
