import type { ProtocolError } from '../errors/index.ts';
import type { MessageLimits } from '../limits.ts';
import type { Attempt, RecordStore } from '../store/index.ts';
import type { Answers, Logger, Progress, Questions, ToolContext } from '../tools/index.ts';
import { type Asker, createAsker } from './asker.ts';
import type { Verdict } from './dispatcher.ts';
import { createProgressWriter, type ProgressWriter } from './progress.ts';
import { REASONS } from './settle.ts';

export interface AttemptContext {
  readonly store: RecordStore;
  readonly log: Logger;
  readonly now: () => number;
  readonly messageLimits: MessageLimits;
}

/** Deadlines further away are left to the sweeper, which is half a second late and costs a job nothing. */
const MAX_TIMER_MS = 600_000;

/**
 * One attempt that runs in this process, and what its tool is given. A class, because its signal, its
 * progress and its `ask` are made when the tool wants them: 5 µs of the 25 that a small job costs in all.
 */
export class RunningAttempt implements ToolContext {
  readonly attempt: Attempt;
  /** Ends the wait for a tool that has not returned. */
  readonly abandon: (verdict: Verdict) => void;
  /** Why it was aborted; the first reason counts. */
  why: ProtocolError | null = null;
  readonly #context: AttemptContext;
  readonly #controller = new AbortController();
  readonly #deadline: NodeJS.Timeout | null;
  #progress: ProgressWriter | null = null;
  #asker: Asker | null = null;
  #ended = false;

  constructor(attempt: Attempt, context: AttemptContext, abandon: (verdict: Verdict) => void) {
    this.attempt = attempt;
    this.abandon = abandon;
    this.#context = context;
    const leftMs = attempt.deadlineMs - context.now();
    this.#deadline = leftMs > MAX_TIMER_MS ? null : setTimeout(() => this.abort(REASONS.expired), leftMs);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get progress(): (progress: Progress) => void {
    if (this.#progress === null) {
      const { store, now, messageLimits } = this.#context;
      const onFenceLost = () => this.abort(REASONS.takenOver);
      this.#progress = createProgressWriter(store, this.attempt.fence, now, messageLimits, onFenceLost);
      if (this.#ended) this.#progress.stop();
    }
    return this.#progress.report;
  }

  get ask(): (questions: Questions) => Promise<Answers> {
    if (this.#asker === null) {
      const { store, now, messageLimits } = this.#context;
      const onFenceLost = () => this.abort(REASONS.takenOver);
      this.#asker = createAsker(this.attempt, { store, now, messageLimits, onFenceLost });
      if (this.why !== null || this.#ended) this.#asker.stop(this.why ?? REASONS.ended);
    }
    return this.#asker.ask;
  }

  get answers(): Answers {
    return this.attempt.answers;
  }

  get log(): Logger {
    return this.#context.log;
  }

  get clientId(): string {
    return this.attempt.clientId;
  }

  get requestId(): string {
    return this.attempt.requestId;
  }

  abort(reason: ProtocolError): void {
    this.why ??= reason;
    this.#controller.abort(this.why);
    this.#asker?.stop(this.why);
  }

  /** The tool has returned. */
  end(): void {
    this.#ended = true;
    if (this.#deadline !== null) clearTimeout(this.#deadline);
    this.#progress?.stop();
    this.#asker?.stop(REASONS.ended);
  }
}
