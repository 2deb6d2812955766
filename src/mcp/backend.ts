import type { ProtocolError } from '../errors/index.ts';
import type { JobState } from '../store/record-store.ts';
import type { Annotations, Answers, JsonSchema, Progress, Questions } from '../tools/index.ts';
import type { JsonObject } from '../wire/index.ts';

/**
 * What a face of the Model Context Protocol serves to one caller: the tools of this very server, or those of
 * a remote one behind a credential. The faces know nothing else of either.
 */
export interface Backend {
  /** The `server_id`. */
  readonly name: string;
  /** The same for every backend of one caller, whatever key it shows; absent: this is its only one. */
  readonly caller?: object;
  /** Every tool that the caller may see, in the order of names; the tools that every server has are not among them. */
  tools(): Promise<readonly ToolInfo[]>;
  /** Before the list of them is shown to the caller; absent: it may be. @throws ProtocolError */
  mayList?(): Promise<void>;
  /** Why a tool that somebody asks for is not among the last `tools()`; absent or null: it does not exist. */
  whyNot?(tool: string, args?: JsonObject): ProtocolError | null | Promise<ProtocolError | null>;
  /** @throws ProtocolError when the call is refused, and `job_failed` when the tool fails with words for its caller */
  call(call: ToolCall, watch: Watch): Promise<Called>;
  /**
   * How a job stands; with `wait` held until it changes or ends, at most that long.
   *
   * @throws ProtocolError `not_found`, the same for an unknown job and another client's
   */
  job(id: string, wait?: Wait): Promise<JobView>;
  /** Ends a job that has not ended. @throws ProtocolError `not_found` */
  cancel(id: string): Promise<void>;
  /** Answers to what a job asks; keys it does not wait for are ignored. @throws ProtocolError `not_found` */
  answer(id: string, answers: JsonAnswers): Promise<void>;
}

/** Answers that came in a message. */
export type JsonAnswers = Answers & JsonObject;

/** How long to wait for a change of a job, and who ends the wait. */
export interface Wait {
  readonly ms: number;
  readonly signal: AbortSignal;
  /** The revision that was seen last: what changed since is told at once. */
  readonly after?: number | undefined;
}

/** A tool as both revisions of the protocol need it. */
export interface ToolInfo {
  readonly name: string;
  readonly description: string;
  readonly annotations: Annotations;
  readonly inputSchema: JsonSchema;
  readonly outputSchema: JsonSchema;
  /** Its call becomes a job. */
  readonly job: boolean;
  /** `required`: a host of 2026-07-28 without Tasks is refused rather than made to wait. */
  readonly taskSupport: 'optional' | 'required';
  /** What must be answered before the call is taken. */
  readonly asks: Questions;
}

export interface ToolCall {
  /** The same for every retry of one logical call. */
  readonly requestId: string;
  readonly tool: string;
  readonly args: JsonObject;
  readonly answers?: Answers;
}

/** Of a call that runs: how to stop it, and whom to tell how far it is. */
export interface Watch {
  readonly signal?: AbortSignal;
  readonly progress?: (progress: Progress) => void;
}

/** What became of a call: the result of a direct tool, or a job that is durable. */
export type Called =
  | { readonly kind: 'result'; readonly result: JsonObject }
  | { readonly kind: 'job'; readonly job: JobView };

export interface JobView {
  readonly id: string;
  readonly tool: string;
  readonly state: JobState;
  /** Grows with every change, where that is known. */
  readonly revision?: number;
  readonly progress: Progress | null;
  /** What it waits to be answered; empty when it waits for nothing. */
  readonly questions: Questions;
  /** Output of the tool when `succeeded`. */
  readonly result: JsonObject | null;
  /** `code: message` when `failed`, `cancelled` or `expired`. */
  readonly error: string | null;
  /** Milliseconds since 1970. */
  readonly createdMs: number;
  readonly updatedMs: number;
  /** How long after its creation it may be forgotten, in milliseconds; `null` if that is not known. */
  readonly ttlMs: number | null;
  /** When to ask again, in milliseconds. */
  readonly pollAfterMs: number;
}
