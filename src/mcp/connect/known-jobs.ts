import { CLIENT_LIMITS, CONNECT_LIMITS } from '../../limits.ts';
import { NONE } from '../../tools/index.ts';
import { isObject } from '../../wire/json.ts';
import type { JobView } from '../backend.ts';
import type { Ask } from './ask.ts';
import type { JobLook } from './read-job.ts';
import { pages } from './read-tools.ts';

/** What `poll_job` does not say of a job: which tool it is of, and since when it stands as it does. */
interface Known {
  readonly tool: string;
  readonly createdMs: number;
  readonly updatedMs: number;
  /** How it stood then, as text. */
  readonly standing: string;
}

export interface Seen {
  readonly view: JobView;
  /** It stands otherwise than when it was last seen. */
  readonly news: boolean;
}

export interface KnownJobs {
  /** A job that was accepted just now. */
  started(id: string, tool: string, nowMs: number): JobView;
  /** A job as a reply of that time shows it; of one from another process its tool is asked. */
  see(id: string, look: JobLook, nowMs: number): Promise<Seen>;
}

/** Remembers the jobs of this process, the ones that were seen last. */
export function createKnownJobs(ask: Ask): KnownJobs {
  const jobs = new Map<string, Known>();

  function remember(id: string, known: Known): void {
    jobs.delete(id);
    jobs.set(id, known);
    // A Map hands out its entries in the order in which they came.
    const [oldest] = jobs.keys();
    if (jobs.size > CONNECT_LIMITS.maxKnownJobs && oldest !== undefined) jobs.delete(oldest);
  }

  return {
    started(id, tool, nowMs) {
      const look = { state: 'queued', progress: null, questions: NONE, result: null, error: null } as const;
      const known = { tool, createdMs: createdMsOf(id, nowMs), updatedMs: nowMs, standing: standingOf(look) };
      remember(id, known);
      return viewOf(id, { ...look, pollAfterMs: CLIENT_LIMITS.pollAfterMs }, known);
    },

    async see(id, look, nowMs) {
      const before = jobs.get(id) ?? (await find(ask, id, nowMs));
      const standing = standingOf(look);
      const news = standing !== before.standing;
      // The first look at a job of another process finds it as the list had it.
      const known = {
        ...before,
        standing,
        updatedMs: news && before.standing !== '' ? nowMs : before.updatedMs,
      };
      remember(id, known);
      return { view: viewOf(id, look, known), news };
    },
  };
}

function standingOf({ state, progress, questions }: Omit<JobLook, 'pollAfterMs'>): string {
  return JSON.stringify([state, progress, Object.keys(questions)]);
}

function viewOf(id: string, look: JobLook, { tool, createdMs, updatedMs }: Known): JobView {
  // How long it is kept the server does not say.
  return { id, tool, ...look, createdMs, updatedMs, ttlMs: null };
}

/** A job of another process, in the list of the client's jobs, the newest first. */
async function find(ask: Ask, id: string, nowMs: number): Promise<Known> {
  for await (const page of pages(ask, 'list_jobs', 'jobs')) {
    const job = page.find((each) => isObject(each) && each['job_id'] === id);
    if (!isObject(job)) continue;
    const { tool, created_ms: createdMs, updated_ms: updatedMs } = job;
    return {
      tool: typeof tool === 'string' ? tool : '',
      createdMs: typeof createdMs === 'number' ? createdMs : createdMsOf(id, nowMs),
      updatedMs: typeof updatedMs === 'number' ? updatedMs : nowMs,
      standing: '',
    };
  }
  return { tool: '', createdMs: createdMsOf(id, nowMs), updatedMs: nowMs, standing: '' };
}

/** Ids of a Waybill carry their time, 12 hex digits behind 8 of the client; of others the time of first sight does. */
function createdMsOf(id: string, nowMs: number): number {
  const [, hex] = /^job_[0-9a-f]{8}([0-9a-f]{12})/.exec(id) ?? [];
  const ms = hex === undefined ? Number.NaN : Number.parseInt(hex, 16);
  return ms > 0 && ms <= nowMs ? ms : nowMs;
}
