import type * as Sdk from '@modelcontextprotocol/server';
import { SetupError } from '../errors/index.ts';
import type { JsonObject } from '../wire/json.ts';
import { type Catalog, catalogOf } from './catalog.ts';
import type { Exchange } from './exchange.ts';
import { handleOf } from './job-tools.ts';
import { INSTRUCTIONS } from './protocol.ts';
import { reporterFor } from './progress.ts';
import { asRpcError, RpcError, type RpcMessage } from './rpc.ts';
import { resultOfWait, runJobTool, startTool } from './run-tool.ts';
import type { CallToolResult } from './tool-result.ts';

/** Revisions that begin with `initialize`, up to 2025-11-25: the official SDK speaks them, our tools answer. */
export interface LegacyFace {
  /** One message of a host that keeps no connection, as over HTTP; the response as JSON. */
  answer(message: RpcMessage, exchange: Exchange): Promise<object>;
  /** A connection that stays, as over stdio; `send` is given all that goes to the host. */
  connect(exchange: Exchange, send: (message: object) => void): Promise<LegacyConnection>;
}

export interface LegacyConnection {
  /** A message as it came; it was parsed, and nothing else. @throws RpcError for one that is none of theirs */
  receive(message: unknown): void;
  close(): Promise<void>;
}

/** @throws SetupError when the SDK is not installed */
export async function openLegacy(): Promise<LegacyFace> {
  const sdk = await loadSdk();

  async function connect(exchange: Exchange, send: (message: object) => void): Promise<LegacyConnection> {
    const wire = createWire(send);
    const server = createSdkServer(sdk, exchange);
    await server.connect(wire);
    return {
      receive(message) {
        // The SDK drops what it does not know, and whoever sent it would wait for an answer.
        if (
          !sdk.isJSONRPCRequest(message) &&
          !sdk.isJSONRPCNotification(message) &&
          !sdk.isJSONRPCResponse(message)
        )
          throw new RpcError('invalidRequest', 'not a message of the revisions before 2026-07-28');
        wire.onmessage?.(message);
      },
      close: () => server.close(),
    };
  }

  return {
    connect,
    async answer(message, exchange) {
      let answered = (_response: object) => {};
      const response = new Promise<object>((resolve) => {
        answered = resolve;
      });
      const connection = await connect(exchange, (sent) => {
        if (isNotification(sent)) exchange.notify(sent.method, sent.params);
        else answered(sent);
      });
      try {
        connection.receive({ jsonrpc: '2.0', ...message });
        return await response;
      } finally {
        await connection.close();
      }
    },
  };
}

/** All that we send beside responses is notifications, and those have params. */
export function isNotification(
  sent: object,
): sent is { readonly method: string; readonly params: JsonObject } {
  return 'method' in sent;
}

type SdkModule = Pick<
  typeof Sdk,
  'McpServer' | 'isJSONRPCRequest' | 'isJSONRPCNotification' | 'isJSONRPCResponse'
>;

async function loadSdk(): Promise<SdkModule> {
  try {
    return await import('@modelcontextprotocol/server');
  } catch (error) {
    throw new SetupError(
      'hosts that speak MCP before 2026-07-28 need a package: npm install @modelcontextprotocol/server',
      { cause: error },
    );
  }
}

/** The SDK's end of a connection whose other end is ours. */
function createWire(send: (message: object) => void): Sdk.Transport {
  const wire: Sdk.Transport = {
    async start() {},
    async send(message) {
      send(message);
    },
    async close() {
      wire.onclose?.();
    },
  };
  return wire;
}

function createSdkServer({ McpServer }: Pick<typeof Sdk, 'McpServer'>, exchange: Exchange): Sdk.McpServer {
  const face = new McpServer(
    { ...exchange.serverInfo },
    { capabilities: { tools: { listChanged: false } }, instructions: INSTRUCTIONS },
  );
  const catalog = async () => catalogOf(await exchange.backend.tools());
  // Below the SDK's own registry of tools: ours has the schemas and the jobs.
  const { server } = face;
  server.setRequestHandler('tools/list', async ({ params }) => {
    return known(exchange, async () => {
      await exchange.backend.mayList?.();
      // Listings are made as the protocol wants them; the SDK types them member by member.
      return (await catalog()).page(params?.cursor) as never;
    });
  });
  server.setRequestHandler('tools/call', async ({ params: { name, arguments: args = {} } }, context) => {
    const call = within(exchange, context);
    try {
      // What was parsed from JSON is JSON; as above.
      return await known(
        exchange,
        async () => callTool(name, args as JsonObject, await catalog(), call) as never,
      );
    } finally {
      call.end();
    }
  });
  return face;
}

/** What goes wrong, as the SDK passes it on: an error with a number. */
async function known<T>({ log }: Exchange, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw asRpcError(error, log);
  }
}

/** The exchange of one request of a connection: the SDK knows when it is cancelled, and where its progress goes. */
function within(exchange: Exchange, { mcpReq }: Sdk.ServerContext): Exchange & { readonly end: () => void } {
  const { backend, serverInfo, log, waitMs, checkArguments } = exchange;
  let over = false;
  const notify: Exchange['notify'] = (method, params) => {
    if (!over && !mcpReq.signal.aborted) mcpReq.notify({ method, params }).catch(() => {});
  };
  const { _meta: meta } = mcpReq;
  const progress = reporterFor(meta?.progressToken ?? null, notify);
  return {
    backend,
    serverInfo,
    log,
    waitMs,
    checkArguments,
    notify,
    progress,
    signal: mcpReq.signal,
    end() {
      over = true;
    },
    // Made when it is asked for: it listens to the end of the server.
    get ended() {
      return exchange.ended;
    },
  };
}

async function callTool(
  name: string,
  args: JsonObject,
  catalog: Catalog,
  exchange: Exchange,
): Promise<CallToolResult> {
  const tool = catalog.find(name);
  if (tool === undefined) return runJobTool(name, args, catalog, exchange);
  if (Object.keys(tool.asks).length > 0)
    throw new RpcError('invalidParams', `${name} asks first, which takes a host that speaks 2026-07-28`);
  const started = await startTool(tool, { args, answers: {} }, exchange);
  if (started.kind === 'result') return started.result;
  // There are no tasks here: what must not be waited for is told of at once.
  if (tool.taskSupport === 'required') return handleOf(started.job);
  return resultOfWait(started.job, catalog, exchange);
}
