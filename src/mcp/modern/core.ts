import { MCP_LIMITS } from '../../limits.ts';
import type { JsonObject } from '../../wire/json.ts';
import { type Catalog, catalogOf } from '../catalog.ts';
import { type Implementation, INSTRUCTIONS, LEGACY, META, MODERN, TASKS } from '../protocol.ts';
import { RpcError, sendable } from '../rpc.ts';
import { callTool } from './call.ts';
import type { Exchange } from '../exchange.ts';
import { listenTo } from './listen.ts';
import { type ModernRequest, requireTasks } from './request.ts';
import { detailedTask, taskIdOf, updateTask } from './tasks.ts';

type Method = (
  request: ModernRequest,
  catalog: Catalog,
  exchange: Exchange,
) => JsonObject | Promise<JsonObject>;

const ACKNOWLEDGED = { resultType: 'complete' } as const;

/** The methods of a server with tools and tasks (2026-07-28, server; Tasks). */
const METHODS: ReadonlyMap<string, Method> = new Map<string, Method>([
  ['server/discover', discover],
  [
    'tools/list',
    async ({ params }, catalog, { backend }) => {
      await backend.mayList?.();
      return { resultType: 'complete', ...catalog.page(cursorOf(params)), ...CACHEABLE };
    },
  ],
  ['tools/call', callTool],
  [
    'tasks/get',
    async (request, catalog, { backend }) => {
      requireTasks(request);
      const job = await backend.job(taskIdOf(request.params));
      return { resultType: 'complete', ...detailedTask(job, catalog.find(job.tool)) };
    },
  ],
  [
    'tasks/update',
    async (request, _catalog, { backend }) => {
      requireTasks(request);
      await updateTask(backend, request.params);
      return ACKNOWLEDGED;
    },
  ],
  [
    'tasks/cancel',
    async (request, _catalog, { backend }) => {
      requireTasks(request);
      await backend.cancel(taskIdOf(request.params));
      return ACKNOWLEDGED;
    },
  ],
  ['subscriptions/listen', listenTo],
]);

/** The set of tools may come to depend on who asks: nobody but who asked may keep it. */
const CACHEABLE = { ttlMs: MCP_LIMITS.listTtlMs, cacheScope: 'private' } as const;

/**
 * Answers one request of revision 2026-07-28: every one stands for itself, no session, no state.
 *
 * @returns the `result` of its response, as JSON text
 * @throws RpcError, ProtocolError
 */
export async function answerModern(request: ModernRequest, exchange: Exchange): Promise<string> {
  const method = METHODS.get(request.method);
  if (method === undefined) throw new RpcError('methodNotFound', `there is no method ${request.method}`);
  const catalog = catalogOf(await exchange.backend.tools());
  const result = await method(request, catalog, exchange);
  const text = sendable(JSON.stringify(result));
  // What has a `_meta` of its own is the end of a subscription.
  return '_meta' in result ? text : `${text.slice(0, -1)},"_meta":${metaText(exchange.serverInfo)}}`;
}

const metaTexts = new WeakMap<Implementation, string>();

/** The same for every answer of a server, and written once. */
function metaText(serverInfo: Implementation): string {
  const known = metaTexts.get(serverInfo);
  if (known !== undefined) return known;
  const text = JSON.stringify({ [META.serverInfo]: serverInfo });
  metaTexts.set(serverInfo, text);
  return text;
}

function discover(): JsonObject {
  return {
    resultType: 'complete',
    supportedVersions: [MODERN, ...LEGACY],
    capabilities: { tools: {}, extensions: { [TASKS]: {} } },
    instructions: INSTRUCTIONS,
    ...CACHEABLE,
  };
}

function cursorOf({ cursor }: JsonObject): string | undefined {
  if (cursor === undefined || typeof cursor === 'string') return cursor;
  throw new RpcError('invalidParams', 'cursor must be a string');
}
