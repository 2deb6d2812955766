import { ProtocolError } from '../../errors/index.ts';
import { stateOf } from '../../client/job-state.ts';
import { CLIENT_LIMITS } from '../../limits.ts';
import { NONE, type Progress, type Question, type Questions } from '../../tools/index.ts';
import type { ResponseMessage } from '../../wire/envelope.ts';
import { isObject, type JsonObject } from '../../wire/json.ts';
import type { JobView } from '../backend.ts';

/** What one reply says of a job. */
export type JobLook = Pick<JobView, 'state' | 'progress' | 'questions' | 'result' | 'error' | 'pollAfterMs'>;

/** The id of the job that a call became; null for a direct answer. @throws ProtocolError `internal` */
export function acceptedIdOf({ status, result }: ResponseMessage): string | null {
  if (status !== 'accepted' && status !== 'running') return null;
  const id = result?.['job_id'];
  if (typeof id === 'string' && id !== '') return id;
  throw new ProtocolError('internal', 'the server accepted a job without saying its job_id');
}

/** A verified reply of `poll_job`. @throws ProtocolError `internal` for one that says nothing of a job */
export function readJob({ status, result, error }: ResponseMessage): JobLook {
  const state = stateOf({ status, error });
  const open = state === 'queued' || state === 'running';
  const { progress, questions, poll_after_ms: pollAfterMs } = open ? (result ?? {}) : ({} as JsonObject);
  return {
    state,
    progress: isProgress(progress) ? progress : null,
    questions: questionsOf(questions),
    result: state === 'succeeded' ? (result ?? {}) : null,
    error,
    pollAfterMs: typeof pollAfterMs === 'number' && pollAfterMs > 0 ? pollAfterMs : CLIENT_LIMITS.pollAfterMs,
  };
}

function isProgress(value: unknown): value is Progress {
  return isObject(value) && typeof value['completed'] === 'number';
}

function questionsOf(value: unknown): Questions {
  if (!isObject(value)) return NONE;
  return Object.fromEntries(
    Object.entries(value).filter((entry): entry is [string, Question] => isQuestion(entry[1])),
  );
}

function isQuestion(value: unknown): value is Question {
  return isObject(value) && typeof value['message'] === 'string' && isObject(value['schema']);
}
