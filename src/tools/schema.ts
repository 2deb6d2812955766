import type { StandardJSONSchemaV1, StandardSchemaV1 } from '@standard-schema/spec';
import { TOOL_LIMITS } from '../limits.ts';

/** A JSON Schema 2020-12 document. */
export type JsonSchema = Readonly<Record<string, unknown>>;

/**
 * Any Standard Schema (https://standardschema.dev). Libraries that also describe themselves as JSON
 * Schema (zod ≥ 4.2, ArkType, …) can be used as they are; for others see {@link withJsonSchema}.
 */
export interface Schema<Input = unknown, Output = unknown> {
  readonly '~standard': StandardSchemaV1.Props<Input, Output> &
    Partial<StandardJSONSchemaV1.Props<Input, Output>>;
}

/** One reason why a value breaks a schema; `path` is like `rows[2].name`, `$` for the whole. */
export interface Issue {
  readonly path: string;
  readonly message: string;
}

export type Checked<T> = { readonly value: T } | { readonly issues: readonly Issue[] };

/** Checks a value; a schema that works asynchronously is awaited. */
export function check<T>(schema: Schema<unknown, T>, value: unknown): Checked<T> | Promise<Checked<T>> {
  const checked = schema['~standard'].validate(value);
  return checked instanceof Promise ? checked.then(readChecked) : readChecked(checked);
}

function readChecked<T>(checked: StandardSchemaV1.Result<T>): Checked<T> {
  // A success may carry `issues` too, as undefined; ours has one member or the other.
  if (!checked.issues) return { value: checked.value };
  const issues = checked.issues.slice(0, TOOL_LIMITS.maxIssues);
  return {
    issues: issues.map(({ path, message }) => ({ path: pathText(path), message: shorten(message) })),
  };
}

function pathText(path: StandardSchemaV1.Issue['path']): string {
  let text = '';
  for (const step of path ?? []) {
    const key = typeof step === 'object' ? step.key : step;
    if (typeof key === 'number') text += `[${key}]`;
    else text += text === '' ? String(key) : `.${String(key)}`;
  }
  // A path of the caller's own names may hold anything a string can; replies hold only well-formed text.
  return text === '' ? '$' : shorten(text);
}

/** Both may quote what was sent, and a reply must be able to carry them. */
function shorten(text: string): string {
  return text.slice(0, TOOL_LIMITS.maxIssueChars).toWellFormed();
}

/**
 * Joins a validator with its JSON Schema, for libraries that cannot print one themselves.
 *
 * @param jsonSchema JSON Schema 2020-12 of what the validator accepts and returns
 */
export function withJsonSchema<Input, Output>(
  schema: Schema<Input, Output>,
  jsonSchema: JsonSchema,
): Schema<Input, Output> {
  const print = () => ({ ...jsonSchema });
  return { '~standard': { ...schema['~standard'], jsonSchema: { input: print, output: print } } };
}

/**
 * The JSON Schema 2020-12 of a schema, for discovery (docs/protocol.md §7).
 *
 * @throws TypeError when the library cannot print one, or when it does not describe an object
 */
export function jsonSchemaOf(schema: Schema, side: 'input' | 'output', where: string): JsonSchema {
  const converter = schema['~standard'].jsonSchema;
  if (converter === undefined) {
    throw new TypeError(
      `${where}: this schema library prints no JSON Schema; wrap it with withJsonSchema(schema, json)`,
    );
  }
  let json: Record<string, unknown>;
  try {
    json = converter[side]({ target: 'draft-2020-12' });
  } catch (error) {
    throw new TypeError(
      `${where}: has no JSON Schema: ${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    );
  }
  if (json['type'] !== 'object') {
    throw new TypeError(`${where}: must describe an object, because args and result are objects`);
  }
  return json;
}
