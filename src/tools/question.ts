import type { JsonSchema } from './schema.ts';

/** What a tool asks of the person behind its caller; an elicitation of the Model Context Protocol. */
export interface Question {
  readonly message: string;
  /** A flat object of strings, numbers, booleans and enums. */
  readonly schema: JsonSchema;
}

export interface Answer {
  readonly action: 'accept' | 'decline' | 'cancel';
  /** Fits the question's schema when accepted. */
  readonly content?: Readonly<Record<string, unknown>>;
}

/** By keys of the tool's own choice, which name one question for the whole life of a job. */
export type Questions = Readonly<Record<string, Question>>;
export type Answers = Readonly<Record<string, Answer>>;
