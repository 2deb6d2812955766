import { ClientError, ProtocolError } from '../errors/index.ts';
import { CLIENT_LIMITS } from '../limits.ts';
import type { ResponseMessage } from '../wire/envelope.ts';
import { isObject, type JsonObject } from '../wire/json.ts';
import type { Clock } from './clock.ts';
import type { Exchange, ExchangeOptions } from './exchange.ts';
import { isState, type JobState, stateOf } from './job-state.ts';
import { errorOf } from './reply.ts';

/** How far a job is (docs/protocol.md §6). */
export interface JobProgress {
  readonly completed: number;
  readonly total?: number;
  readonly message?: string;
  /** What is known of the result so far. */
  readonly partial?: JsonObject;
}

/** What a job asks of the person behind its caller. */
export interface JobQuestion {
  readonly message: string;
  /** JSON Schema of a flat object: what an answer that accepts holds as `content`. */
  readonly schema: JsonObject;
}

export interface JobAnswer {
  readonly action: 'accept' | 'decline' | 'cancel';
  /** Fits the question's schema; with `accept` only. */
  readonly content?: JsonObject;
}

/** A job at one moment. */
export interface JobUpdate {
  readonly state: JobState;
  /** null: none was reported, or the job has ended. */
  readonly progress: JobProgress | null;
  /** What it waits to be answered, by the keys to answer by; empty when it waits for nothing. */
  readonly questions: Readonly<Record<string, JobQuestion>>;
  /** Output of the tool once `succeeded`. */
  readonly result: JsonObject | null;
  /** Why it `failed`, was `cancelled` or `expired`. */
  readonly error: ProtocolError | null;
}

export interface WaitOptions extends ExchangeOptions {
  /** Called at every change of the progress. */
  readonly onProgress?: ((progress: JobProgress) => void) | undefined;
}

/**
 * A job on the server. It goes on whether or not somebody looks; from another process `client.job(id)`
 * finds it again. `timeoutMs` bounds each request to the server, never the wait for the job: that ends
 * with the job's own deadline or with `signal`.
 */
export interface JobHandle {
  readonly id: string;
  /** The job as it is now. @throws ProtocolError `not_found`; ClientError */
  poll(options?: ExchangeOptions): Promise<JobUpdate>;
  /** Waits for the end. @throws ProtocolError of a job that did not succeed; ClientError */
  result<Result = JsonObject>(options?: WaitOptions): Promise<Result>;
  /** The job as it is now, then every change seen; the last one has ended. @throws like `poll` */
  updates(options?: ExchangeOptions): AsyncGenerator<JobUpdate, void, undefined>;
  /**
   * Answers what the job asks, by the keys of its questions; its state afterwards. Keys that it does not wait
   * for are ignored.
   *
   * @throws ProtocolError `invalid_args` for content that breaks its schema; else like `poll`
   */
  answer(answers: Readonly<Record<string, JobAnswer>>, options?: ExchangeOptions): Promise<JobState>;
  /** Ends the job; its state afterwards: `cancelled`, unless it had ended before. @throws like `poll` */
  cancel(options?: ExchangeOptions): Promise<JobState>;
}

/** One poll and what it says about the next. */
interface Polled {
  readonly update: JobUpdate;
  readonly ended: boolean;
  readonly pollAfterMs: number;
}

/** How a handle is made: by an answer of the server, or from an id that somebody kept. */
export interface Origin {
  readonly exchange: Exchange;
  readonly clock: Clock;
  /** Of one request, when the caller names none. */
  readonly timeoutMs: number;
  /** The server has just accepted this job: it is worth being patient with. */
  readonly accepted: boolean;
}

export function createJobHandle(id: string, { exchange, clock, timeoutMs, accepted }: Origin): JobHandle {
  let answered = accepted;

  async function poll(waitMs: number, persistent: boolean, options: ExchangeOptions): Promise<Polled> {
    const args = waitMs === 0 ? { job_id: id } : { job_id: id, wait_ms: waitMs };
    try {
      const polled = readPoll(await exchange('poll_job', args, { ...options, persistent }));
      answered = true;
      return polled;
    } catch (error) {
      if (!(error instanceof ClientError)) throw error;
      const message = `${error.message}; the job may still run: client.job("${id}") finds it`;
      throw new ClientError(error.kind, message, { cause: error });
    }
  }

  /** Every change until the end; for a watcher beginning with how the job stands now. */
  async function* changes(
    watched: boolean,
    options: ExchangeOptions,
  ): AsyncGenerator<JobUpdate, void, undefined> {
    const longestMs = watched ? CLIENT_LIMITS.watchMs : CLIENT_LIMITS.waitMs;
    // A held reply must come well within the time for one request.
    const holdMs = Math.min(longestMs, Math.floor((options.timeoutMs ?? timeoutMs) / 2));
    let waitMs = watched ? 0 : holdMs;
    let before = '';
    for (;;) {
      const askedAt = performance.now();
      const { update, ended, pollAfterMs } = await poll(waitMs, answered, options);
      const now = JSON.stringify([update.state, update.progress, update.questions]);
      if (now !== before) yield update;
      if (ended) return;
      // A server that holds replies is asked again at once; one that does not, when it said.
      const pauseMs = pollAfterMs - (performance.now() - askedAt);
      if (now === before && pauseMs > 0) await clock.sleep(pauseMs, options.signal);
      before = now;
      waitMs = holdMs;
    }
  }

  return {
    id,
    poll: async (options = {}) => (await poll(0, false, options)).update,
    updates: (options = {}) => changes(true, options),
    async result<Result = JsonObject>(options: WaitOptions = {}): Promise<Result> {
      const { onProgress, ...rest } = options;
      for await (const { progress, state, result, error } of changes(onProgress !== undefined, rest)) {
        if (progress !== null) onProgress?.(progress);
        if (error !== null) throw error;
        // The type is the caller's claim about the tool; the server holds the tool to its schema.
        if (state === 'succeeded') return (result ?? {}) as Result;
      }
      throw new ProtocolError('internal', 'the job ended without an outcome');
    },
    answer: async (answers, options = {}) =>
      stateAfter('answer_job', await exchange('answer_job', { job_id: id, answers }, options)),
    cancel: async (options = {}) =>
      stateAfter('cancel_job', await exchange('cancel_job', { job_id: id }, options)),
  };
}

function readPoll(reply: ResponseMessage): Polled {
  const state = stateOf(reply);
  const body = reply.result ?? {};
  const ended = state !== 'queued' && state !== 'running';
  const { progress, questions, poll_after_ms } = body;
  return {
    update: {
      state,
      progress: !ended && isProgress(progress) ? progress : null,
      questions: !ended && isQuestions(questions) ? questions : {},
      result: state === 'succeeded' ? body : null,
      error: reply.error === null ? null : errorOf(reply),
    },
    ended,
    pollAfterMs:
      typeof poll_after_ms === 'number' && poll_after_ms > 0 ? poll_after_ms : CLIENT_LIMITS.pollAfterMs,
  };
}

function stateAfter(tool: string, reply: ResponseMessage): JobState {
  const state = reply.result?.['status'];
  if (isState(state)) return state;
  throw new ProtocolError('internal', `${tool} was answered without a state`);
}

function isProgress(value: unknown): value is JobProgress {
  return isObject(value) && typeof value['completed'] === 'number';
}

function isQuestions(value: unknown): value is JobUpdate['questions'] {
  return isObject(value) && Object.values(value).every(isQuestion);
}

function isQuestion(value: unknown): value is JobQuestion {
  return isObject(value) && typeof value['message'] === 'string' && isObject(value['schema']);
}
