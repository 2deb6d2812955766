import { errorOf } from '../../client/reply.ts';
import { ProtocolError } from '../../errors/index.ts';
import { CONNECT_LIMITS } from '../../limits.ts';
import { BUILT_IN_NAMES } from '../../server/built-in/names.ts';
import type { Annotations } from '../../tools/index.ts';
import { isObject } from '../../wire/json.ts';
import type { ToolInfo } from '../backend.ts';
import type { Ask } from './ask.ts';

/** What is not shown: the file of approvals has tools by their names, and JSON of ours has no such member. */
const HIDDEN: ReadonlySet<string> = new Set([...BUILT_IN_NAMES, '__proto__']);

/** Every tool of the server but those that every server has, in the order of names. @throws ProtocolError */
export async function readTools(ask: Ask): Promise<readonly ToolInfo[]> {
  const tools = new Map<string, ToolInfo>();
  for await (const page of pages(ask, 'list_tools', 'tools')) {
    for (const tool of page.map(toolOf)) {
      // Approvals go by names: of two, one would be shown behind the approval of the other.
      if (tools.has(tool.name))
        throw new ProtocolError('internal', `list_tools has the tool ${tool.name} twice`);
      tools.set(tool.name, tool);
    }
  }
  return [...tools.values()]
    .filter(({ name }) => !HIDDEN.has(name))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** The items of a list that comes in pages. @throws ProtocolError `internal` for a reply that is none */
export async function* pages(
  ask: Ask,
  tool: string,
  member: string,
): AsyncGenerator<readonly unknown[], void, undefined> {
  let cursor: unknown = null;
  for (let nth = 1; nth <= CONNECT_LIMITS.maxPages; nth++) {
    const reply = await ask(tool, typeof cursor === 'string' ? { cursor } : {});
    if (reply.error !== null) throw errorOf(reply);
    const items = reply.result?.[member];
    if (!Array.isArray(items)) throw new ProtocolError('internal', `${tool} was answered without ${member}`);
    yield items;
    cursor = reply.result?.['next_cursor'] ?? null;
    if (cursor === null) return;
  }
  throw new ProtocolError('internal', `${tool} has over ${CONNECT_LIMITS.maxPages} pages`);
}

/** Of a tool (docs/protocol.md §1): another could not be called. */
const NAME = /^[A-Za-z0-9_./-]{1,128}$/;

function toolOf(item: unknown): ToolInfo {
  const { name, description, job, annotations, input_schema, output_schema } = isObject(item) ? item : {};
  if (typeof name !== 'string' || !isObject(input_schema))
    throw new ProtocolError(
      'internal',
      'list_tools was answered with a tool that has no name or input_schema',
    );
  if (!NAME.test(name))
    throw new ProtocolError(
      'internal',
      'list_tools was answered with a tool whose name is not 1-128 of A-Z a-z 0-9 _ - . /',
    );
  return {
    name,
    description: typeof description === 'string' ? description : '',
    annotations: annotationsOf(annotations),
    inputSchema: input_schema,
    outputSchema: isObject(output_schema) ? output_schema : { type: 'object' },
    job: job === true,
    taskSupport: 'optional',
    // A signed call has no place for answers: the server refuses what must be answered before it.
    asks: {},
  };
}

const HINTS = ['readOnlyHint', 'idempotentHint', 'destructiveHint', 'openWorldHint'] as const;

/** The hints that the Model Context Protocol knows, if they are of its types. */
function annotationsOf(value: unknown): Annotations {
  const given = isObject(value) ? value : {};
  const hints: Partial<Record<(typeof HINTS)[number], boolean>> = {};
  for (const hint of HINTS) {
    const set = given[hint];
    if (typeof set === 'boolean') hints[hint] = set;
  }
  const { title } = given;
  return { ...(typeof title === 'string' && { title }), ...hints };
}
