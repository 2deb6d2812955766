import type { Readable, Writable } from 'node:stream';
import { MESSAGE_LIMITS, STDIO_LIMITS } from '../limits.ts';
import type { Logger } from '../tools/index.ts';
import { within } from '../server/within.ts';
import { type Line, readLines } from '../transports/lines.ts';
import { packageVersion } from '../version.ts';
import { isObject, type JsonObject } from '../wire/json.ts';
import type { Backend } from './backend.ts';
import { type Exchange, whenAborted } from './exchange.ts';
import { isNotification, type LegacyConnection, openLegacy } from './legacy.ts';
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
  RpcError,
  type RpcId,
  type RpcMessage,
} from './rpc.ts';
import { createHostOutput, type HostOutput } from './stdio-output.ts';

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
  const out = createHostOutput(output);
  const pending = new Set<Promise<void>>();
  const host = createHost({ ...options, backend, draining }, out);
  for await (const line of readLines(input, MESSAGE_LIMITS.maxMessageBytes)) {
    if (out.gone) break;
    const taken = host.take(line).finally(() => pending.delete(taken));
    pending.add(taken);
    // A host that does not read its answers is not read from either.
    if (pending.size >= STDIO_LIMITS.maxCallsInFlight) await Promise.race(pending);
    await out.read();
  }
  await host.ready();
  await within(STDIO_LIMITS.lastAnswersMs, Promise.all(pending));
  await host.leave();
  await Promise.all(pending);
  log.debug({}, 'the host has closed the connection');
}

interface HostContext extends Pick<McpStdioOptions, 'waitMs' | 'log'> {
  readonly backend: Backend;
  readonly draining: AbortSignal;
}

type ExchangeFor = (signal: AbortSignal, token: ModernRequest['progressToken']) => Exchange;

function createExchanges(
  { backend, waitMs, log, draining }: HostContext,
  { notify: tell }: HostOutput,
): ExchangeFor {
  const serverInfo = { name: backend.name, version: packageVersion() };
  return (signal, token) => {
    const notify: Exchange['notify'] = (method, params) => {
      if (!signal.aborted) tell(method, params);
    };
    return {
      backend,
      serverInfo,
      log,
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
  };
}

/** The host at the other end: what it sends is taken line by line. */
function createHost(context: HostContext, output: HostOutput) {
  const { log, draining } = context;
  const { answer: write } = output;
  const running = new Map<RpcId, AbortController>();
  const exchangeFor = createExchanges(context, output);

  /** One that was cancelled gets no answer. */
  async function answer(id: RpcId, message: RpcMessage): Promise<void> {
    const controller = new AbortController();
    const { signal } = controller;
    running.set(id, controller);
    try {
      const request = readRequest(id, message);
      const result = await answerModern(request, exchangeFor(signal, request.progressToken));
      if (!signal.aborted) write(answerText(id, result));
    } catch (error) {
      if (!signal.aborted) write(errorText(id, asRpcError(error, log)));
    } finally {
      if (running.get(id) === controller) running.delete(id);
      // What the tool still tells of comes too late.
      controller.abort();
    }
  }

  const older = createOlder(() => exchangeFor(draining, null), output);

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
        // An answer to what the SDK asked.
        if (isObject(value) && !('method' in value)) return await older.pass(value, null);
        const message = asRpcMessage(value);
        if (message.id !== null && isModern(message)) return await answer(message.id, message);
        const isCancel = message.method === 'notifications/cancelled';
        if (isCancel && cancel(message.params)) return;
        await older.pass(value, message.id);
        if (isCancel) older.release(asRpcId(message.params['requestId']));
      } catch (error) {
        write(errorText(id, asRpcError(error, log)));
      }
    },
    /** Resolves when what was said has been heard: to load the SDK takes longer than most answers. */
    ready: older.ready,
    /** The host has gone: nobody waits for what still runs. */
    leave(): Promise<void> {
      for (const controller of running.values()) controller.abort();
      return older.close();
    },
  };
}

/** The side of the older revisions: the SDK has the connection, and we wait for what it answers. */
function createOlder(exchange: () => Exchange, { answer: write, notify: tell }: HostOutput) {
  /** Requests that the SDK has, and how to stop waiting for its answer. */
  const passed = new Map<RpcId, () => void>();
  let opened: Promise<LegacyConnection> | null = null;

  function release(id: RpcId | null): void {
    if (id === null) return;
    passed.get(id)?.();
    passed.delete(id);
  }

  function send(message: object): void {
    if (isNotification(message)) return tell(message.method, message.params);
    write(JSON.stringify(message));
    release(idOf(message));
  }

  return {
    release,
    /** Resolves when a request is answered, or will not be. @throws RpcError, SetupError */
    async pass(value: unknown, id: RpcId | null): Promise<void> {
      opened ??= openLegacy().then((face) => face.connect(exchange(), send));
      const connection = await opened;
      // An id that comes twice is the host's mistake; nobody waits for ever because of it.
      release(id);
      const done = id === null ? null : new Promise<void>((resolve) => passed.set(id, resolve));
      try {
        connection.receive(value);
      } catch (error) {
        release(id);
        throw error;
      }
      await done;
    },
    async ready(): Promise<void> {
      await opened?.catch(() => null);
    },
    async close(): Promise<void> {
      // Without the SDK it was never open.
      const connection = await opened?.catch(() => null);
      await connection?.close();
      for (const id of passed.keys()) release(id);
    },
  };
}
