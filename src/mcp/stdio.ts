import type { Readable, Writable } from 'node:stream';
import { MESSAGE_LIMITS, STDIO_LIMITS } from '../limits.ts';
import type { Logger } from '../tools/index.ts';
import { type Line, readLines, watchPeer } from '../transports/lines.ts';
import { packageVersion } from '../version.ts';
import { isObject, type JsonObject } from '../wire/json.ts';
import type { Backend } from './backend.ts';
import { type Exchange, whenAborted } from './exchange.ts';
import { type LegacyConnection, openLegacy } from './legacy.ts';
import { answerModern } from './modern/core.ts';
import { isModern, type ModernRequest, readRequest } from './modern/request.ts';
import { parseMessage } from './parse.ts';
import { reporterFor } from './progress.ts';
import {
  asRpcError,
  asRpcId,
  asRpcMessage,
  answerText,
  errorText,
  idOf,
  notificationText,
  RpcError,
  type RpcId,
  type RpcMessage,
} from './rpc.ts';

const TOO_LONG = `a message may have at most ${MESSAGE_LIMITS.maxMessageBytes} bytes`;

export interface McpStdioOptions {
  readonly input: Readable;
  readonly output: Writable;
  /** How long a call to a job waits for hosts without Tasks, in milliseconds. */
  readonly waitMs: number;
  readonly log: Logger;
  /** Aborts when the server shuts down: subscriptions end. */
  readonly draining?: AbortSignal;
}

/**
 * Serves one host over stdio, one message a line, both revisions side by side (2026-07-28, basic/transports/stdio).
 * Resolves when the input has ended and every answer is written.
 */
export async function serveMcpStdio(backend: Backend, options: McpStdioOptions): Promise<void> {
  const { input, output, log, draining = new AbortController().signal } = options;
  const peer = watchPeer(output);
  const pending = new Set<Promise<void>>();
  const host = createHost(backend, { ...options, draining }, (text) => {
    if (!peer.gone) output.write(`${text}\n`);
  });
  for await (const line of readLines(input, MESSAGE_LIMITS.maxMessageBytes)) {
    if (peer.gone) break;
    const taken = host.take(line).finally(() => pending.delete(taken));
    pending.add(taken);
    // A host that does not read its answers is not read from either.
    if (pending.size >= STDIO_LIMITS.maxCallsInFlight) await Promise.race(pending);
    if (output.writableNeedDrain && !peer.gone) await peer.drained();
  }
  host.leave();
  await Promise.all(pending);
  await host.close();
  log.debug({}, 'the host has closed the connection');
}

/** The host at the other end: what it sends is taken line by line, what it gets is written by `write`. */
function createHost(
  backend: Backend,
  { waitMs, draining }: Pick<McpStdioOptions, 'waitMs'> & { readonly draining: AbortSignal },
  write: (text: string) => void,
) {
  const running = new Map<RpcId, AbortController>();
  const serverInfo = { name: backend.name, version: packageVersion() };
  let older: Promise<LegacyConnection> | null = null;

  function exchangeFor(signal: AbortSignal, token: ModernRequest['progressToken'] = null): Exchange {
    const notify: Exchange['notify'] = (method, params) => {
      if (!signal.aborted) write(notificationText(method, params));
    };
    return {
      backend,
      serverInfo,
      waitMs,
      signal,
      get ended() {
        return whenAborted(signal, draining);
      },
      notify,
      progress: reporterFor(token, notify),
      // There are no headers here.
      checkArguments() {},
    };
  }

  /** One that was cancelled gets no answer. */
  async function answer(id: RpcId, message: RpcMessage): Promise<void> {
    const controller = new AbortController();
    running.set(id, controller);
    try {
      const request = readRequest(id, message);
      const result = await answerModern(request, exchangeFor(controller.signal, request.progressToken));
      if (!controller.signal.aborted) write(answerText(id, result));
    } catch (error) {
      if (!controller.signal.aborted) write(errorText(id, asRpcError(error)));
    } finally {
      running.delete(id);
    }
  }

  async function pass(value: unknown): Promise<void> {
    older ??= openLegacy().then((face) =>
      face.connect(exchangeFor(draining), (message) => write(JSON.stringify(message))),
    );
    (await older).receive(value);
  }

  function cancel({ requestId }: JsonObject): boolean {
    const controller = running.get(asRpcId(requestId) ?? '');
    controller?.abort();
    return controller !== undefined;
  }

  return {
    /** Answers one line; never rejects. */
    async take(line: Line): Promise<void> {
      let id: RpcId | null = null;
      try {
        if ('tooLong' in line) throw new RpcError('invalidRequest', TOO_LONG);
        const value = parseMessage(line.bytes);
        id = idOf(value);
        // Answers to what the SDK asks are its own: nothing of ours asks over this wire.
        if (isObject(value) && !('method' in value)) return await pass(value);
        const message = asRpcMessage(value);
        if (message.id !== null && isModern(message)) return await answer(message.id, message);
        if (message.method === 'notifications/cancelled' && cancel(message.params)) return;
        await pass(value);
      } catch (error) {
        write(errorText(id, asRpcError(error)));
      }
    },
    /** The host has gone: nobody waits for what still runs. */
    leave() {
      for (const controller of running.values()) controller.abort();
    },
    async close(): Promise<void> {
      if (older !== null) await (await older).close();
    },
  };
}
