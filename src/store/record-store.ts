import type { Answers, Questions } from '../tools/index.ts';
import type { JsonObject } from '../wire/index.ts';
import type { AuditRecords } from './audit-records.ts';
import type { ClientRecords } from './client-records.ts';

/**
 * The records are the truth about clients, nonces, requests and jobs. A store keeps them; every store
 * passes the same suite of tests (test/store/record-store.suite.ts).
 *
 * Terms
 * - *fence*: names one attempt of one job. Each attempt gets a higher one, and only the newest may write.
 * - *revision*: grows with every change of a job that a client can see.
 * - *terminal*: a job that has ended and never changes again.
 *
 * Every promise of a write resolves when the write will survive kill -9. Times are milliseconds since 1970.
 */
export interface RecordStore {
  readonly clients: ClientRecords;
  readonly nonces: NonceRecords;
  readonly requests: RequestRecords;
  readonly jobs: JobRecords;
  readonly counters: CounterRecords;
  readonly audit: AuditRecords;
  /** The server this store belongs to; one store serves one `server_id`. */
  readonly serverId: string;
  /** @throws when records cannot be read or written now */
  ping(): Promise<void>;
  /** Writes what is pending and lets go of files and connections. */
  close(): Promise<void>;
}

/** Only the records that people look after, for a program beside a running server. */
export type ClientStore = Pick<RecordStore, 'clients' | 'audit' | 'serverId' | 'close'>;

export interface NonceRecords {
  /**
   * Stores `(clientId, nonce)` if absent. `false`: it was there, the message is a replay.
   *
   * @throws ProtocolError `busy` when the store is full, and after a power cut until the last message that
   * may have been forgotten has left the time window (§5); StoreError when the nonce cannot be written
   */
  claim(clientId: string, nonce: string, tsMs: number): Promise<boolean>;
}

/** What was counted for rates and quotas, in windows that begin at multiples of their length since 1970. */
export interface CounterRecords {
  /** Counts one more in the window of `nowMs`. `false`: there were `limit` in it, and nothing was counted. */
  take(name: string, limit: number, windowMs: number, nowMs: number): Promise<boolean>;
  /** Takes one back that turned out not to count, unless its window is over. */
  giveBack(name: string, windowMs: number, nowMs: number): Promise<void>;
  /** Counted so far in the window of `nowMs`. */
  used(name: string, windowMs: number, nowMs: number): Promise<number>;
}

/** The four members of a response that tell how a request ended. */
export interface Outcome {
  readonly ok: boolean;
  readonly status: 'ok' | 'accepted' | 'running' | 'done' | 'error';
  readonly result: JsonObject | null;
  readonly error: string | null;
}

/** What is known of a request that must not run twice (§5). */
export interface RequestRecord {
  /** Digest of `tool` and `args`: another one under the same `request_id` is a conflict. */
  readonly digest: string;
  /** The job it became, if its tool is one. */
  readonly jobId: string | null;
  /** How a direct call ended; `null` while it runs. */
  readonly outcome: Outcome | null;
  /** By when a direct call without outcome must have ended, or have died with its process. */
  readonly deadlineMs: number;
}

export interface NewRequest {
  readonly clientId: string;
  readonly requestId: string;
  readonly digest: string;
  readonly deadlineMs: number;
  readonly expiresMs: number;
}

export interface RequestRecords {
  find(clientId: string, requestId: string): Promise<RequestRecord | null>;
  /** Atomic. `null`: it is ours to run; otherwise the record that was there first. */
  claim(request: NewRequest): Promise<RequestRecord | null>;
  finish(clientId: string, requestId: string, outcome: Outcome): Promise<void>;
  /** Forgets a claim whose call was refused before it had any effect. */
  release(clientId: string, requestId: string): Promise<void>;
  /** Forgets at most `limit` records that expired; returns how many. */
  sweep(nowMs: number, limit: number): Promise<number>;
}

export type JobState = 'queued' | 'running' | 'succeeded' | 'failed' | 'cancelled' | 'expired';

export type EndState = Exclude<JobState, 'queued' | 'running'>;

export interface JobRecord {
  readonly id: string;
  readonly clientId: string;
  readonly requestId: string;
  readonly tool: string;
  readonly state: JobState;
  readonly revision: number;
  readonly progress: JsonObject | null;
  /** What its attempt asks and nobody has answered; empty when it waits for nothing. */
  readonly questions: Questions;
  /** To all that was asked so far. */
  readonly answers: Answers;
  /** Output of the tool when `succeeded`. */
  readonly result: JsonObject | null;
  /** `code: message` when `failed`, `cancelled` or `expired`. */
  readonly error: string | null;
  readonly createdMs: number;
  readonly updatedMs: number;
}

/** A job in a list: without its result, what it asks, and the `partial` of its progress. */
export type JobSummary = Omit<JobRecord, 'result' | 'questions' | 'answers'>;

export interface NewJob {
  readonly id: string;
  readonly request: NewRequest;
  readonly tool: string;
  readonly args: JsonObject;
  /** Given before the call was taken. */
  readonly answers: Answers;
  readonly attempts: number;
  readonly backoffMs: number;
  /** When it expires if it has not ended by then. */
  readonly deadlineMs: number;
  readonly retentionMs: number;
  readonly createdMs: number;
  /** How many jobs of this client may be open, which is queued or running, this one included. */
  readonly maxOpenJobs: number;
}

/** What became of a new job; nothing was written unless it was created. */
export type Creation =
  | { readonly outcome: 'created'; readonly priority: number }
  | { readonly outcome: 'known'; readonly request: RequestRecord }
  /** The client has as many open jobs as it may have. */
  | { readonly outcome: 'full' };

/** What the queue is told of a job. */
export interface Dispatch {
  readonly id: string;
  readonly tool: string;
  /** Lower ones first. Grows with the open jobs that the client had when it sent this one (see priority.ts). */
  readonly priority: number;
}

/** One attempt of one job: the right to write its record until a newer attempt begins. */
export interface Fence {
  readonly jobId: string;
  readonly number: number;
}

export interface Attempt {
  readonly fence: Fence;
  readonly clientId: string;
  readonly requestId: string;
  readonly tool: string;
  readonly args: JsonObject;
  /** Given before it began. */
  readonly answers: Answers;
  /** 1 for the first; attempts that were given back at shutdown are not counted. */
  readonly attempt: number;
  readonly attempts: number;
  readonly backoffMs: number;
  readonly deadlineMs: number;
}

export interface JobEnd {
  readonly state: EndState;
  readonly result: JsonObject | null;
  readonly error: string | null;
}

export interface JobQuery {
  readonly clientId: string;
  readonly state?: JobState;
  /** Id of the last job of the page before. */
  readonly after?: string;
  readonly limit: number;
}

/** A job whose record wants a look from the sweeper. */
export interface DueJob extends Dispatch {
  /** `late`: past its deadline; `old`: past its retention; `unsure`: open, but perhaps no queue carries it. */
  readonly why: 'late' | 'old' | 'unsure';
}

/** A hint that a job changed: read it again. */
export type JobListener = (id: string, state: JobState) => void;

export interface JobRecords {
  /**
   * Claims the request and creates its job in one step.
   *
   * @throws ProtocolError `invalid_args` when its answers are larger than those of one job may be
   */
  create(job: NewJob): Promise<Creation>;
  get(id: string): Promise<JobRecord | null>;
  /** How many jobs a client has queued or running; `limit`, if there are as many or more. */
  countOpen(clientId: string, limit: number): Promise<number>;
  /** Newest first. */
  list(query: JobQuery): Promise<readonly JobSummary[]>;
  /** Starts an attempt under a new fence; `null` when the job is unknown or terminal. */
  begin(id: string, nowMs: number): Promise<Attempt | null>;
  /** `false`: the fence is lost; stop. */
  progress(fence: Fence, progress: JsonObject, nowMs: number): Promise<boolean>;
  /**
   * Makes those of the questions that have no answer the ones that the job waits for, in the place of those
   * before. They are forgotten when the attempt ends, however it does. `false`: the fence is lost; stop.
   */
  ask(fence: Fence, questions: Questions, nowMs: number): Promise<boolean>;
  /**
   * Keeps answers to what the job waits for and ignores all others; the job's state afterwards, `null` if
   * unknown.
   *
   * @throws ProtocolError `invalid_args`, with nothing written, when the answers of the job become too large
   */
  answer(id: string, answers: Answers, nowMs: number): Promise<JobState | null>;
  /** `false`: the fence is lost or the job has ended; nothing was written. */
  finish(fence: Fence, end: JobEnd, nowMs: number): Promise<boolean>;
  /** Back to `queued`: for a retry, or (`counted` false) because the worker shuts down. */
  release(fence: Fence, counted: boolean, nowMs: number): Promise<boolean>;
  /** Ends a job from outside, whoever runs it; its state afterwards, `null` if unknown. */
  end(id: string, end: JobEnd, nowMs: number): Promise<JobState | null>;
  /** Resolves when the job's revision is above `afterRevision` or the signal aborts; never rejects. */
  changed(id: string, afterRevision: number, signal: AbortSignal): Promise<void>;
  /** Tells of every change, in this process or another, perhaps more than once; returns how to stop. */
  onChange(listener: JobListener): () => void;
  /** Jobs to look at now; of several processes that ask, each gets others. */
  due(nowMs: number, limit: number): Promise<readonly DueJob[]>;
  remove(id: string): Promise<void>;
}

/** Has the job ended for good? */
export function isTerminal(state: JobState): state is EndState {
  return state !== 'queued' && state !== 'running';
}
