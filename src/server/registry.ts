import type { Outcome } from '../store/index.ts';
import type { JsonSchema, Schema, Tool } from '../tools/index.ts';
import type { Client, Generation } from './clients/key-ring.ts';

/** Who calls, as far as a built-in tool needs to know. */
export interface Caller {
  readonly client: Client;
  /** Whose keys its message was signed with. */
  readonly generation: Generation;
  /** Aborts when the server shuts down: held replies are let go. */
  readonly signal: AbortSignal;
}

/** A tool every server has (docs/protocol.md §7). It gives the whole outcome, not only a result. */
export interface BuiltIn {
  readonly kind: 'built-in';
  readonly name: string;
  readonly description: string;
  readonly annotations: Tool['annotations'];
  readonly input: Schema;
  readonly inputSchema: JsonSchema;
  readonly outputSchema: JsonSchema;
  readonly job: null;
  /** Nothing built in does harm when it runs twice. */
  readonly repeatable: true;
  answer(args: unknown, caller: Caller): Promise<Outcome> | Outcome;
}

export type Registry = ReadonlyMap<string, Tool | BuiltIn>;

/** @param tools with names that differ, as the options are checked for */
export function createRegistry(tools: readonly (Tool | BuiltIn)[]): Registry {
  return new Map(tools.map((tool) => [tool.name, tool]));
}

export function isBuiltIn(tool: Tool | BuiltIn): tool is BuiltIn {
  return 'kind' in tool;
}
