import { MCP_LIMITS } from '../limits.ts';
import { isContentOutput, type JsonSchema } from '../tools/index.ts';
import type { JsonObject } from '../wire/json.ts';
import type { ToolInfo } from './backend.ts';
import { JOB_TOOLS } from './job-tools.ts';
import { type HeaderRule, headerRules } from './param-headers.ts';
import { RpcError } from './rpc.ts';

/** The tools of one backend as the protocol lists them. */
export interface Catalog {
  find(name: string): ToolInfo | undefined;
  /** Which arguments of a tool must stand in headers too. */
  headersOf(name: string): readonly HeaderRule[];
  /** In the order of names. @throws RpcError `invalidParams` for a cursor that is none of ours */
  page(cursor: string | undefined): { readonly tools: readonly JsonObject[]; readonly nextCursor?: string };
}

const catalogs = new WeakMap<readonly ToolInfo[], Catalog>();
/** What a list was made from by leaving tools out. */
const wholes = new WeakMap<readonly ToolInfo[], readonly ToolInfo[]>();

/** The tools that a caller may see. Cursors of the whole stay good, also those that name one of the others. */
export function narrowed(
  whole: readonly ToolInfo[],
  isSeen: (tool: ToolInfo) => boolean,
): readonly ToolInfo[] {
  const part = whole.filter(isSeen);
  if (part.length === whole.length) return whole;
  wholes.set(part, whole);
  return part;
}

/** The same list gives the same catalog: a server's own tools never change. */
export function catalogOf(tools: readonly ToolInfo[]): Catalog {
  const known = catalogs.get(tools);
  if (known !== undefined) return known;
  const catalog = createCatalog(tools);
  catalogs.set(tools, catalog);
  return catalog;
}

function createCatalog(tools: readonly ToolInfo[]): Catalog {
  const byName = new Map(tools.map((tool) => [tool.name, tool]));
  const rules = new Map(tools.map((tool) => [tool.name, rulesOf(tool)]));
  const helpers = tools.some(({ job }) => job) ? JOB_TOOLS : [];
  const listings = [...tools.map((tool) => ({ name: tool.name, listing: listingOf(tool) })), ...helpers];
  listings.sort((a, b) => (a.name < b.name ? -1 : 1));
  const pages = pagesOf(listings);

  /** Behind a name at which no page of ours ends, since the caller saw others when it was given. */
  function pageBehind(cursor: string): Page | undefined {
    const names = [...(wholes.get(tools) ?? tools), ...JOB_TOOLS].map(({ name }) => name);
    if (!names.includes(cursor)) return undefined;
    return pagesOf(listings.filter(({ name }) => name > cursor)).get(undefined);
  }

  return {
    find: (name) => byName.get(name),
    headersOf: (name) => rules.get(name) ?? [],
    page(cursor) {
      const page = pages.get(cursor) ?? (cursor === undefined ? undefined : pageBehind(cursor));
      if (page === undefined) throw new RpcError('invalidParams', 'cursor is none of this server');
      return page;
    },
  };
}

type Page = ReturnType<Catalog['page']>;

/** Cut once, by number and by bytes; the cursor of a page is the last name of the one before. */
function pagesOf(
  listings: readonly { readonly name: string; readonly listing: JsonObject }[],
): ReadonlyMap<string | undefined, Page> {
  const pages = new Map<string | undefined, Page>();
  let cursor: string | undefined;
  let tools: JsonObject[] = [];
  let bytes = 0;
  for (const [i, { name, listing }] of listings.entries()) {
    const size = Buffer.byteLength(JSON.stringify(listing));
    if (tools.length > 0 && (tools.length === MCP_LIMITS.pageSize || bytes + size > MCP_LIMITS.pageBytes)) {
      const nextCursor = listings[i - 1]?.name ?? name;
      pages.set(cursor, { tools, nextCursor });
      cursor = nextCursor;
      tools = [];
      bytes = 0;
    }
    tools.push(listing);
    bytes += size;
  }
  return pages.set(cursor, { tools });
}

/** None for a remote server's tool whose marks are wrong: there are no headers on the way to it. */
function rulesOf(tool: ToolInfo): readonly HeaderRule[] {
  try {
    return checkedRules(tool);
  } catch (error) {
    if (error instanceof TypeError) return [];
    throw error;
  }
}

/** @throws TypeError for a tool that cannot be listed, because of the headers that it wants */
export function checkedRules({
  name,
  inputSchema,
}: Pick<ToolInfo, 'name' | 'inputSchema'>): readonly HeaderRule[] {
  try {
    return headerRules(inputSchema);
  } catch (error) {
    if (error instanceof TypeError) error.message = `tool ${name}: ${error.message}`;
    throw error;
  }
}

function listingOf(tool: ToolInfo): JsonObject {
  const { name, description, annotations, inputSchema } = tool;
  const outputSchema = outputSchemaOf(tool);
  return {
    name,
    ...(annotations.title !== undefined && { title: annotations.title }),
    description,
    // Schemas are JSON: they were printed as such, or came over a wire.
    inputSchema: inputSchema as JsonObject,
    ...(outputSchema !== null && { outputSchema: outputSchema as JsonObject }),
    ...(Object.keys(annotations).length > 0 && { annotations: { ...annotations } }),
  };
}

/** What `structuredContent` will fit, or null if nothing can be promised. */
function outputSchemaOf({ outputSchema, job }: ToolInfo): JsonSchema | null {
  const schema = isContentOutput(outputSchema) ? structuredOf(outputSchema) : outputSchema;
  return schema === null || !job ? schema : orHandle(schema);
}

function structuredOf(outputSchema: JsonSchema): JsonSchema | null {
  // contentOutput put it there, if its tool promises any.
  const { structuredContent } = (outputSchema['properties'] ?? {}) as { structuredContent?: JsonSchema };
  return structuredContent ?? null;
}

const HANDLE: JsonSchema = {
  type: 'object',
  properties: { job_id: { type: 'string' }, status: { type: 'string' } },
  required: ['job_id', 'status'],
};

/** A host without Tasks may get the id of the job in place of its result, which must fit the schema as well. */
function orHandle(schema: JsonSchema): JsonSchema | null {
  // References are counted from the root, which moves; those into $defs move with it.
  if (/"\$ref":"#(?!\/\$defs\/)/.test(JSON.stringify(schema))) return null;
  const { $defs, $schema, ...own } = schema;
  return {
    ...($schema !== undefined && { $schema }),
    type: 'object',
    ...($defs !== undefined && { $defs }),
    anyOf: [own, HANDLE],
  };
}
