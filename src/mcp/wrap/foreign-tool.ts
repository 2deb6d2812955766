import { MESSAGE_LIMITS } from '../../limits.ts';
import { WRAP_LIMITS } from './limits.ts';
import { BUILT_IN_NAMES } from '../../server/built-in/names.ts';
import {
  type Annotations,
  contentOutput,
  type JsonSchema,
  type Schema,
  withJsonSchema,
} from '../../tools/index.ts';
import { asResult, canonicalize, isObject } from '../../wire/index.ts';
import { headerRules } from '../param-headers.ts';
import { shorten } from './talk.ts';

/** A tool of the foreign server, as far as it can be served. */
export interface ForeignTool {
  readonly name: string;
  readonly description: string;
  readonly annotations: Annotations;
  readonly inputSchema: JsonSchema;
  /** What its `structuredContent` is, if it promises one that is an object. */
  readonly outputSchema?: JsonSchema;
  /** The same as long as its schemas are. */
  readonly fingerprint: string;
}

/** A tool that cannot be served, and why. */
export interface LeftOut {
  readonly name: string;
  readonly why: string;
}

export interface Sorted {
  readonly served: ReadonlyMap<string, ForeignTool>;
  readonly leftOut: readonly LeftOut[];
}

/** Sorts what a foreign server lists into what Waybill can serve and what it cannot. */
export function sortTools(listed: readonly unknown[]): Sorted {
  const served = new Map<string, ForeignTool>();
  const leftOut: LeftOut[] = [];
  for (const each of listed) {
    const tool = readTool(each);
    if ('why' in tool) leftOut.push(tool);
    else if (served.has(tool.name)) leftOut.push({ name: tool.name, why: 'another tool has the same name' });
    else served.set(tool.name, tool);
  }
  return { served, leftOut };
}

const NAME = /^[A-Za-z0-9_./-]{1,128}$/;

function readTool(value: unknown): ForeignTool | LeftOut {
  if (!isObject(value) || typeof value['name'] !== 'string') return { name: '', why: 'it has no name' };
  const { name, inputSchema, outputSchema } = value;
  const no = (why: string): LeftOut => ({ name: shorten(name, 128), why });
  if (!NAME.test(name)) return no('its name is not 1-128 of A-Z a-z 0-9 _ - . /');
  if (BUILT_IN_NAMES.has(name)) return no('every Waybill server has a tool of this name');
  if (isObject(value['execution']) && value['execution']['taskSupport'] === 'required')
    return no('it wants to be called as a task of 2025-11-25, which was an experiment');
  if (!isObject(inputSchema) || inputSchema['type'] !== 'object')
    return no('its inputSchema does not say "type": "object"');
  const mark = whyNotMarked(inputSchema);
  if (mark !== null) return no(mark);
  const annotations = annotationsOf(value);
  const tool = {
    name,
    description: descriptionOf(value['description'], annotations.title, name),
    annotations,
    inputSchema,
    // A result of Waybill holds objects only: of other kinds of structure the text of the blocks tells.
    ...(isObject(outputSchema) && outputSchema['type'] === 'object' && { outputSchema }),
  };
  const why = whyTooMuch(tool);
  if (why !== null) return no(`a message cannot carry it: ${why}`);
  return { ...tool, fingerprint: canonicalize([inputSchema, tool.outputSchema ?? null]) };
}

/** A mark of a header that the specification forbids makes the whole tool one that hosts must leave out. */
function whyNotMarked(inputSchema: JsonSchema): string | null {
  try {
    headerRules(inputSchema);
    return null;
  } catch (error) {
    if (error instanceof TypeError) return error.message;
    throw error;
  }
}

/** Those that mean something here; a title may stand beside them too. */
function annotationsOf({ title, annotations }: Record<string, unknown>): Annotations {
  const given = isObject(annotations) ? annotations : {};
  const { readOnlyHint, idempotentHint, destructiveHint, openWorldHint } = given;
  const first = [given['title'], title].find((each) => typeof each === 'string' && each !== '');
  return {
    ...(typeof first === 'string' && { title: first }),
    ...(typeof readOnlyHint === 'boolean' && { readOnlyHint }),
    ...(typeof idempotentHint === 'boolean' && { idempotentHint }),
    ...(typeof destructiveHint === 'boolean' && { destructiveHint }),
    ...(typeof openWorldHint === 'boolean' && { openWorldHint }),
  };
}

function descriptionOf(description: unknown, title: string | undefined, name: string): string {
  return typeof description === 'string' && description !== '' ? description : (title ?? name);
}

const LIMITS = {
  ...MESSAGE_LIMITS,
  maxMessageBytes: WRAP_LIMITS.maxToolBytes,
  maxMembers: WRAP_LIMITS.maxToolMembers,
};

/** Why list_tools could not show it, as deep as it stands there; one such tool would hide all others. */
function whyTooMuch(tool: Omit<ForeignTool, 'fingerprint'>): string | null {
  const entry = { ...tool, outputSchema: jsonSchemaOf(outputOf(tool)) };
  try {
    asResult({ tools: [entry] }, LIMITS);
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** The foreign server checks arguments itself; its schema is passed on as it is. */
export function inputOf({ inputSchema }: Pick<ForeignTool, 'inputSchema'>): Schema<unknown, object> {
  const any: Schema<unknown, object> = {
    '~standard': {
      version: 1,
      vendor: 'waybill',
      validate: (value) =>
        isObject(value) ? { value } : { issues: [{ message: 'must be an object', path: [] }] },
    },
  };
  return withJsonSchema(any, inputSchema);
}

export function outputOf({ outputSchema }: Pick<ForeignTool, 'outputSchema'>) {
  return contentOutput(outputSchema);
}

function jsonSchemaOf(schema: Schema): JsonSchema {
  return schema['~standard'].jsonSchema?.output({ target: 'draft-2020-12' }) ?? {};
}
