import { JOB_LIMITS } from '../limits.ts';

/**
 * The place in the queue of a client's next job: the fewer jobs it has open, the sooner. So the first job of
 * one client does not wait for the thousand of another, and while nobody has many all is first come, first served.
 */
export function priorityOf(openJobs: number): number {
  return Math.floor(openJobs / JOB_LIMITS.priorityStep);
}
