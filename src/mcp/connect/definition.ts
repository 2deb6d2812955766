import type { Annotations, JsonSchema } from '../../tools/index.ts';
import { canonicalize, isObject } from '../../wire/index.ts';
import type { ToolInfo } from '../backend.ts';

/** What a person approves of a tool: all that its host and the model behind it read of it. */
export interface Definition {
  readonly description: string;
  readonly annotations: Annotations;
  readonly inputSchema: JsonSchema;
  readonly outputSchema: JsonSchema;
}

/** By the names of the tools. */
export type Definitions = ReadonlyMap<string, Definition>;

export function definitionsOf(tools: readonly ToolInfo[]): Definitions {
  return new Map(tools.map((tool) => [tool.name, definitionOf(tool)]));
}

function definitionOf({ description, annotations, inputSchema, outputSchema }: ToolInfo): Definition {
  return { description, annotations, inputSchema, outputSchema };
}

/** Is this what {@link definitionOf} gives, having gone through JSON? */
export function isDefinition(value: unknown): value is Definition {
  if (!isObject(value) || Object.keys(value).length !== 4) return false;
  const { description, annotations, inputSchema, outputSchema } = value;
  return typeof description === 'string' && [annotations, inputSchema, outputSchema].every(isObject);
}

/** The order of members says nothing. */
export function isSame(a: Definition, b: Definition): boolean {
  return canonicalize(a) === canonicalize(b);
}
