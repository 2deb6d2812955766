import { randomUUID } from 'node:crypto';
import { newJobId } from '../../src/store/index.ts';
import type { NewJob, NewRequest } from '../../src/store/record-store.ts';
import { START_MS } from '../support/clock.ts';

export function newRequest(members: Partial<NewRequest> = {}): NewRequest {
  return {
    clientId: 'agent-a',
    requestId: randomUUID(),
    digest: 'digest-1',
    deadlineMs: START_MS + 30_000,
    expiresMs: START_MS + 86_400_000,
    ...members,
  };
}

/** A job with the request that starts it. */
export function newJob(members: Partial<NewJob> = {}): NewJob {
  const { request = newRequest(), createdMs = START_MS } = members;
  return {
    id: newJobId(request.clientId, createdMs),
    request,
    tool: 'work',
    args: { n: 1 },
    answers: {},
    attempts: 3,
    backoffMs: 1_000,
    deadlineMs: createdMs + 3_600_000,
    retentionMs: 600_000,
    createdMs,
    maxOpenJobs: 10_000,
    ...members,
  };
}
