import { z } from 'zod';
import { MESSAGE_LIMITS, SERVER_LIMITS } from '../../limits.ts';
import type { Tool } from '../../tools/index.ts';
import { completed } from '../outcome.ts';
import type { BuiltIn } from '../registry.ts';
import { defineBuiltIn } from './define.ts';

/** `list_tools` (docs/protocol.md §7): every tool in the order of names, itself included. */
export function listTools(others: readonly (Tool | BuiltIn)[]): BuiltIn {
  const self: BuiltIn = defineBuiltIn({
    name: 'list_tools',
    description: 'The tools of this server with the JSON Schema of what they take and give.',
    annotations: { title: 'List tools', readOnlyHint: true },
    input: z.strictObject({ cursor: z.string().optional().describe('next_cursor of the page before') }),
    output: z.strictObject({
      tools: z.array(
        z.strictObject({
          name: z.string(),
          description: z.string(),
          job: z.boolean().describe('true: the tool answers with a job_id to poll'),
          annotations: z.looseObject({}),
          input_schema: z.looseObject({}),
          output_schema: z.looseObject({}),
        }),
      ),
      next_cursor: z.string().nullable(),
    }),
    answer: ({ cursor = '' }) => completed(pageAfter(cursor)),
  });
  const entries = [...others, self].map(describe).sort((a, b) => (a.name < b.name ? -1 : 1));
  const sizes = entries.map(sizeOf);

  function pageAfter(cursor: string) {
    const begin = entries.findIndex(({ name }) => name > cursor);
    if (begin === -1) return { tools: [], next_cursor: null };
    const end = begin + Math.max(1, countThatFit(sizes.slice(begin, begin + SERVER_LIMITS.pageSize)));
    const last = end < entries.length ? entries[end - 1] : undefined;
    return { tools: entries.slice(begin, end), next_cursor: last?.name ?? null };
  }

  return self;
}

interface Size {
  readonly bytes: number;
  readonly members: number;
}

function sizeOf(entry: object): Size {
  let members = 0;
  const count = (_name: string, value: unknown): unknown => {
    members++;
    return value;
  };
  return { bytes: Buffer.byteLength(JSON.stringify(entry, count)), members };
}

/** How many of them go into one page: no more than half of what a message may have. */
function countThatFit(sizes: readonly Size[]): number {
  let bytes = 0;
  let members = 0;
  const first = sizes.findIndex((size) => {
    bytes += size.bytes;
    members += size.members;
    return bytes > SERVER_LIMITS.pageBytes || members > MESSAGE_LIMITS.maxMembers / 2;
  });
  return first === -1 ? sizes.length : first;
}

function describe({ name, description, job, annotations, inputSchema, outputSchema }: Tool | BuiltIn) {
  return {
    name,
    description,
    job: job !== null,
    annotations,
    input_schema: inputSchema,
    output_schema: outputSchema,
  };
}
