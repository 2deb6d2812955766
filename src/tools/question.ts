import { z } from 'zod';
import { TOOL_LIMITS } from '../limits.ts';
import { check, type Issue, type JsonSchema } from './schema.ts';

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

/** The `ask` of a direct tool: its caller waits for one reply, and nobody can be asked in between. */
export function refuseToAsk(): never {
  throw new TypeError('ask: only jobs can ask while they run; let the tool declare its questions as `asks`');
}

const KEY = /^[A-Za-z0-9_.-]{1,128}$/;

/**
 * A copy of the questions that nobody can change, with the members of a question only.
 *
 * @throws TypeError, RangeError that say which question is wrong and how
 */
export function checkQuestions(questions: Questions, where: string): Questions {
  if (!isObject(questions)) throw new TypeError(`${where}: must be an object of questions by their keys`);
  const checked = Object.entries(questions).map(([key, question]) => {
    if (!KEY.test(key) || key === '__proto__')
      throw new TypeError(`${where}: key ${JSON.stringify(key)} must be 1-128 of A-Z a-z 0-9 _ - .`);
    return [key, checkQuestion(question, `${where}: ${key}`)] as const;
  });
  const text = JSON.stringify(Object.fromEntries(checked));
  const { maxQuestionsBytes } = TOOL_LIMITS;
  if (Buffer.byteLength(text) > maxQuestionsBytes)
    throw new RangeError(`${where}: the questions have more than ${maxQuestionsBytes} bytes`);
  // Written from questions that were checked; read back, it shares nothing with the author's objects.
  return Object.freeze(JSON.parse(text) as Questions);
}

function checkQuestion(question: unknown, where: string): Question {
  if (!isObject(question)) throw new TypeError(`${where}: must be {message, schema}`);
  const { message, schema } = question;
  if (typeof message !== 'string' || message === '') throw new TypeError(`${where}: message is missing`);
  if (!isObject(schema) || schema['type'] !== 'object' || !isObject(schema['properties']))
    throw new TypeError(`${where}: schema must be a JSON Schema of type object with properties`);
  const { properties, required } = schema;
  for (const [name, field] of Object.entries(properties)) {
    if (!isField(field))
      throw new TypeError(`${where}: ${name} must be a string, number, integer, boolean or list of enums`);
  }
  const flat = { type: 'object', properties, ...(required !== undefined && { required }) };
  try {
    validatorOf(flat);
  } catch (error) {
    throw new TypeError(`${where}: schema: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
  return { message, schema: flat };
}

const FIELD_TYPES: ReadonlySet<unknown> = new Set(['string', 'number', 'integer', 'boolean']);

/** What a form can show: nothing nested but a choice of several from a list. */
function isField(field: unknown): boolean {
  if (!isObject(field)) return false;
  if (field['type'] !== 'array') return FIELD_TYPES.has(field['type']);
  const { items } = field;
  return isObject(items) && (Array.isArray(items['enum']) || Array.isArray(items['anyOf']));
}

/**
 * What is wrong with answers to these questions: accepted content that breaks its schema. Keys that are not
 * asked are left alone.
 */
export function answerIssues(questions: Questions, answers: Answers): readonly Issue[] {
  return Object.entries(answers)
    .flatMap(([key, { action, content = {} }]) => {
      if (action !== 'accept' || !Object.hasOwn(questions, key)) return [];
      // A promise only comes of schemas that work asynchronously, which JSON Schema does not.
      const checked = check(validatorOf(questions[key]?.schema ?? {}), content) as Exclude<
        ReturnType<typeof check>,
        Promise<unknown>
      >;
      if ('value' in checked) return [];
      return checked.issues.map(({ path, message }) => ({
        path: path === '$' ? `${key}.content` : `${key}.content.${path}`,
        message,
      }));
    })
    .slice(0, TOOL_LIMITS.maxIssues);
}

/** @throws Error for a schema that is none */
function validatorOf(schema: JsonSchema): z.ZodType {
  return z.fromJSONSchema(schema);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
