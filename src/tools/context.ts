import type { Answers, Questions } from './question.ts';

/** How far a job is; all but `completed` may be left out (docs/protocol.md §6). */
export interface Progress {
  readonly completed: number;
  readonly total?: number;
  readonly message?: string;
  /** What is known of the result so far. */
  readonly partial?: Readonly<Record<string, unknown>>;
}

/** Structured log in the shape of pino and its kin. */
export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** What a tool is given beside its arguments. */
export interface ToolContext {
  /** Aborts at cancel, at the deadline, when another worker took the job over, and at shutdown. */
  readonly signal: AbortSignal;
  /** Reports how far a job is; does nothing for a direct tool. */
  readonly progress: (progress: Progress) => void;
  readonly log: Logger;
  /** To what the tool `asks`, and to what earlier attempts of a job have asked. */
  readonly answers: Answers;
  /**
   * Asks the person behind the caller, and waits until every question is answered; a job only. What was
   * answered before, in this attempt or an earlier one, is not asked again.
   *
   * @throws TypeError in a direct tool and for questions that cannot be asked; the reason of `signal` when it aborts
   */
  readonly ask: (questions: Questions) => Promise<Answers>;
  readonly clientId: string;
  /** Names the logical call; the same on every retry and on every attempt of a job. */
  readonly requestId: string;
}
