import { type Code, codeOf, ProtocolError } from '../errors/index.ts';
import type { ResponseMessage, Status } from '../wire/envelope.ts';

export type JobState = 'queued' | 'running' | 'succeeded' | 'failed' | 'cancelled' | 'expired';

/** The table of docs/protocol.md §6, read backwards. */
const STATES: Readonly<Partial<Record<Status, JobState>>> = {
  accepted: 'queued',
  running: 'running',
  done: 'succeeded',
};

const ENDS: Readonly<Partial<Record<Code, JobState>>> = {
  cancelled: 'cancelled',
  deadline_exceeded: 'expired',
};

/** The state of the job that a reply tells of. @throws ProtocolError `internal` for one that tells of none */
export function stateOf({ status, error }: Pick<ResponseMessage, 'status' | 'error'>): JobState {
  const state = error === null ? STATES[status] : (ENDS[codeOf(error) ?? 'job_failed'] ?? 'failed');
  if (state !== undefined) return state;
  throw new ProtocolError('internal', `poll_job was answered with status ${status}`);
}

const ALL: ReadonlySet<unknown> = new Set([...Object.values(STATES), ...Object.values(ENDS), 'failed']);

export function isState(value: unknown): value is JobState {
  return ALL.has(value);
}
