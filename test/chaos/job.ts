import { createHash } from 'node:crypto';
import type { Answer } from '../support/caller.ts';
import type { Client } from './client.ts';
import { type Journal, type Story, stamped } from './journal.ts';

/** One job, what its client knows of it, and the rules for what it may be told next. */
export interface Job extends Story {
  readonly client: Client;
  readonly args: WorkArgs;
  readonly lines: string[];
  /** Of the signed `accepted`. */
  jobId: string | null;
  /** How it ended, as the first reply said that told it. */
  end: End | null;
  endSeenMs: number;
  cancelAsked: boolean;
  /** When a reply had confirmed the cancel. */
  cancelledMs: number;
  /** A reply to a cancel said that the job had ended of itself. */
  cancelledTooLate: boolean;
  /** The highest fence that progress came from. */
  fence: number;
  fenceSeenMs: number;
}

export interface End {
  readonly status: string;
  readonly result: unknown;
  readonly error: string | null;
}

export type WorkArgs = {
  readonly text: string;
  readonly ms: number;
  readonly how: 'ends' | 'fails_once' | 'fails';
  readonly stubborn: boolean;
};

/** A reply to a poll: when and where it was asked for. */
export interface Seen {
  readonly answer: Answer;
  readonly from: string;
  readonly sentMs: number;
}

const NEVER = Number.POSITIVE_INFINITY;

export function newJob(client: Client, requestId: string, args: WorkArgs): Job {
  return {
    client,
    requestId,
    args,
    lines: [],
    jobId: null,
    end: null,
    endSeenMs: NEVER,
    cancelAsked: false,
    cancelledMs: NEVER,
    cancelledTooLate: false,
    fence: 0,
    fenceSeenMs: NEVER,
  };
}

/** Adds what a replica said to the story; the same again, from whichever, is not repeated. */
export function tell(lines: string[], journal: Journal, from: string, text: string): void {
  if (lines.at(-1)?.endsWith(`: ${text}`) !== true) lines.push(stamped(journal.now(), `${from}: ${text}`));
}

/** Judges a reply to `poll_job`. @returns is there nothing left to wait for? */
export function observePoll(job: Job, { answer, from, sentMs }: Seen, journal: Journal): boolean {
  const { ok, status, result, error } = answer.message;
  const wrong = (what: string) => journal.violate(`${what} (${from})`, job);
  if (status !== 'accepted' && status !== 'running') {
    tell(job.lines, journal, from, `${status} ${error ?? JSON.stringify(result)}`);
    if (!ok) wrong(`a poll of an acknowledged job was refused: ${error}`);
    else observeEnd(job, { status, result, error }, journal, wrong);
    return true;
  }
  // An object, as the reply's rules say; what the tool put into it is our own.
  const { job_id, progress } = result as {
    job_id?: string;
    progress?: { partial?: { fence: number } } | null;
  };
  const fence = progress?.partial?.fence ?? 0;
  tell(job.lines, journal, from, `${status}${fence > 0 ? `, progress of fence ${fence}` : ''}`);
  if (job_id !== job.jobId) wrong(`polled ${job.jobId}, told of ${job_id}`);
  if (sentMs > job.endSeenMs) wrong(`${status} after it had ended as ${job.end?.status}`);
  if (sentMs > job.cancelledMs) wrong(`${status} after its cancel was confirmed`);
  if (fence < job.fence && sentMs > job.fenceSeenMs) {
    wrong(`progress of fence ${fence} after progress of fence ${job.fence}`);
  }
  if (fence > job.fence) {
    job.fence = fence;
    job.fenceSeenMs = journal.now();
  }
  return false;
}

function observeEnd(job: Job, end: End, journal: Journal, wrong: (what: string) => void): void {
  if (job.end === null) {
    job.end = end;
    job.endSeenMs = journal.now();
    const fault = faultOf(job, end);
    if (fault !== null) wrong(fault);
  } else if (JSON.stringify(job.end) !== JSON.stringify(end)) {
    wrong(`ended as ${JSON.stringify(job.end)}, and later as ${JSON.stringify(end)}`);
  }
  if (job.cancelledMs !== NEVER && !isCancelled(end)) {
    wrong(`its cancel was confirmed, and it ended as ${end.status}`);
  }
  if (job.cancelledTooLate && isCancelled(end)) wrong('a cancel came too late, and it is cancelled');
}

/** Judges a reply to `cancel_job`. */
export function observeCancel(job: Job, { answer, from }: Seen, journal: Journal): void {
  const { ok, result, error } = answer.message;
  const status = JSON.stringify(result?.['status']);
  tell(job.lines, journal, from, `cancel: ${ok ? status : error}`);
  const wrong = (what: string) => journal.violate(`${what} (${from})`, job);
  if (!ok) return wrong(`a cancel was refused: ${error}`);
  if (status === '"cancelled"') {
    journal.count('cancels confirmed');
    job.cancelledMs = Math.min(job.cancelledMs, journal.now());
    if (job.end !== null && !isCancelled(job.end)) wrong(`cancelled after it had ended as ${job.end.status}`);
  } else if (status !== '"succeeded"' && status !== '"failed"') {
    wrong(`a cancel left it ${status}`);
  } else {
    journal.count('cancels too late');
    job.cancelledTooLate = true;
    if (job.end !== null && isCancelled(job.end)) wrong(`a cancel left it ${status}, but it was cancelled`);
  }
}

function isCancelled({ error }: End): boolean {
  return error?.startsWith('cancelled:') === true;
}

/** What is wrong with the way that the job ended, if anything is. */
function faultOf(job: Job, end: End): string | null {
  const told = JSON.stringify(end);
  if (isCancelled(end)) return job.cancelAsked ? null : `cancelled, though nobody asked for it: ${told}`;
  if (job.args.how === 'fails') {
    return end.error === `job_failed: ${digestOf(job)}` ? null : `not its own failure: ${told}`;
  }
  if (end.status !== 'done') return `it failed: ${told}`;
  const { digest, fence } = resultOf(end);
  if (digest !== digestOf(job)) return `not its own result: ${told}`;
  return fence < job.fence ? `the result is of fence ${fence}, after progress of fence ${job.fence}` : null;
}

/** Of a job that is done. */
export function resultOf(end: End): { readonly digest: string; readonly fence: number } {
  // The output schema of the tool.
  return end.result as { digest: string; fence: number };
}

/** What only this job can have as its result. */
function digestOf({ args }: Job): string {
  return createHash('sha256').update(args.text).digest('hex');
}
