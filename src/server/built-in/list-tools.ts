import { z } from 'zod';
import { MESSAGE_LIMITS, SERVER_LIMITS } from '../../limits.ts';
import type { Tool } from '../../tools/index.ts';
import type { Client } from '../clients/key-ring.ts';
import { completed } from '../outcome.ts';
import type { BuiltIn } from '../registry.ts';
import { mayCall } from '../clients/terms.ts';
import { defineBuiltIn } from './define.ts';

/** `list_tools` (docs/protocol.md §7): every tool that its caller may call, in the order of names, itself included. */
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
    answer: ({ cursor = '' }, { client }) => completed(pageAfter(cursor, entriesFor(client))),
  });
  const all = [...others, self]
    .map(describe)
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map((shown): Entry => ({ shown, size: sizeOf(shown) }));
  /** A client is another object when its record has changed. */
  const ofClients = new WeakMap<Client, readonly Entry[]>();

  function entriesFor(client: Client): readonly Entry[] {
    let entries = ofClients.get(client);
    if (entries === undefined) {
      entries = all.filter(({ shown }) => mayCall(client, shown.name));
      // Most clients may call everything; they share one list.
      if (entries.length === all.length) entries = all;
      ofClients.set(client, entries);
    }
    return entries;
  }

  return self;
}

function pageAfter(cursor: string, entries: readonly Entry[]) {
  const begin = entries.findIndex(({ shown }) => shown.name > cursor);
  if (begin === -1) return { tools: [], next_cursor: null };
  const sizes = entries.slice(begin, begin + SERVER_LIMITS.pageSize).map(({ size }) => size);
  const end = begin + Math.max(1, countThatFit(sizes));
  const last = end < entries.length ? entries[end - 1] : undefined;
  return {
    tools: entries.slice(begin, end).map(({ shown }) => shown),
    next_cursor: last?.shown.name ?? null,
  };
}

interface Entry {
  readonly shown: ReturnType<typeof describe>;
  readonly size: Size;
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
