import type { Client, RequestOptions } from '@modelcontextprotocol/client';
import { z } from 'zod';
import { WRAP_LIMITS } from './limits.ts';
import type { Logger, Progress } from '../../tools/index.ts';
import { connect, type Connection } from './connect.ts';
import { failureOf, NotTaken } from './failure.ts';
import type { ForeignTool } from './foreign-tool.ts';
import { listAll } from './listing.ts';
import type { Sdk } from './sdk.ts';
import type { Target } from './target.ts';

/** What a foreign server answered to a call; the blocks are as it sent them. */
export type CallResult = z.infer<typeof callResult>;

const callResult = z.looseObject({
  content: z.array(z.looseObject({ type: z.string().min(1) })).default([]),
  structuredContent: z.unknown().optional(),
  isError: z.boolean().optional(),
});

export interface CallOptions {
  readonly signal: AbortSignal;
  readonly onProgress: (progress: Progress) => void;
}

/** One life of the foreign server: from its start to its end, or from one handshake to the next. */
export interface Session {
  /** Its tools, as it listed them. */
  readonly listed: readonly unknown[];
  /** Resolves with why it is over, such as `exited with code 1`. */
  readonly ended: Promise<string>;
  isOver(): boolean;
  /**
   * @throws ToolError, ProtocolError; NotTaken when the call has not run because the session is over
   */
  call(tool: ForeignTool, args: object, options: CallOptions): Promise<CallResult>;
  close(): Promise<void>;
}

/** The longest time that the client's timers can hold: calls end by their signals. */
const NEVER_MS = 2 ** 31 - 1;

/**
 * Starts the foreign server, or connects to it, and asks for its tools.
 *
 * @param onRelisted gets its tools again whenever it says that they changed
 * @throws Error that says why it cannot be used
 */
export async function openSession(
  sdk: Sdk,
  target: Target,
  log: Logger,
  signal: AbortSignal,
  onRelisted: (listed: readonly unknown[]) => void,
): Promise<Session> {
  const list = ({ client }: Connection) => listAll(client, { timeout: WRAP_LIMITS.startMs, signal });
  const connection = await connect(sdk, target, log, signal, () => {
    // While it does not answer it may have ended; its tools are asked for again then.
    list(connection).then(onRelisted, () => {});
  });
  try {
    return createSession(sdk, connection, await list(connection));
  } catch (error) {
    await connection.kill();
    throw error;
  }
}

function createSession(sdk: Sdk, connection: Connection, listed: readonly unknown[]): Session {
  const { client, ended, over } = connection;
  /** In the order of their start. */
  const open = new Set<object>();

  /** Over HTTP, calls may outlive what the others have lost. */
  function closeIfDone(): void {
    if (over() !== null && open.size === 0) void connection.close();
  }
  void ended.then(closeIfDone);

  /** A server that was busy with this call alone, and says nothing after it was given up, hangs. */
  async function checkAlive(): Promise<void> {
    try {
      await client.request({ method: 'tools/list', params: {} }, z.unknown(), {
        timeout: WRAP_LIMITS.aliveMs,
      });
    } catch (error) {
      if (isTimeout(error, sdk)) connection.end('did not answer');
    }
  }

  return {
    listed,
    ended,
    isOver: () => over() !== null,
    close: connection.close,
    async call(tool, args, options) {
      if (over() !== null) throw new NotTaken('the session is over');
      const call = {};
      open.add(call);
      try {
        return await send(client, tool, args, options);
      } catch (error) {
        const [oldest] = open;
        if (options.signal.aborted) {
          if (oldest === call) void checkAlive();
          throw options.signal.reason;
        }
        const failure = failureOf(error, sdk, over());
        if (failure instanceof NotTaken) connection.end(`did not take a call: ${failure.message}`);
        throw failure;
      } finally {
        open.delete(call);
        closeIfDone();
      }
    },
  };
}

function isTimeout(error: unknown, { SdkError, SdkErrorCode }: Sdk): boolean {
  return error instanceof SdkError && error.code === SdkErrorCode.RequestTimeout;
}

async function send(
  client: Client,
  { name, inputSchema }: ForeignTool,
  args: object,
  { signal, onProgress }: CallOptions,
): Promise<CallResult> {
  const params = { name, arguments: { ...args } };
  const options: RequestOptions = {
    signal,
    timeout: NEVER_MS,
    onprogress: ({ progress, total, message }) =>
      onProgress({
        completed: progress,
        ...(total !== undefined && { total }),
        ...(message !== undefined && { message }),
      }),
  };
  if (client.getProtocolEra() === 'legacy') {
    return client.request({ method: 'tools/call', params }, callResult, options);
  }
  // 2026-07-28 wants some arguments in headers too, which only this call of the client writes.
  const toolDefinition = { name, inputSchema: { ...inputSchema, type: 'object' as const } };
  return callResult.parse(await client.callTool(params, { ...options, toolDefinition }));
}
