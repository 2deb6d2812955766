import { setTimeout as sleep } from 'node:timers/promises';
import type { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { WRAP_LIMITS } from './limits.ts';
import type { Logger } from '../../tools/index.ts';
import { packageVersion } from '../../version.ts';
import { createHttpTransport } from './http-transport.ts';
import type { Sdk } from './sdk.ts';
import { createStdioTransport } from './stdio-transport.ts';
import { createTalk, shorten } from './talk.ts';
import type { CommandTarget, Target } from './target.ts';

/** The official client on a transport that knows why it ended. */
export interface Connection {
  readonly client: Client;
  /** Resolves with why it is over. */
  readonly ended: Promise<string>;
  /** Why it is over, `null` while it is not. */
  over(): string | null;
  /** From now on it is over; what runs in it may end, as far as it can. */
  end(why: string): void;
  /** Gives it time to end by itself. */
  close(): Promise<void>;
  kill(): Promise<void>;
}

/** What a connection is told by its transport. */
interface Life {
  over: string | null;
  readonly ended: Promise<string>;
  end(why: string): void;
}

function createLife(): Life {
  let resolve: (why: string) => void;
  const ended = new Promise<string>((give) => {
    resolve = give;
  });
  return {
    over: null,
    ended,
    end(why) {
      this.over ??= why;
      resolve(this.over);
    },
  };
}

/** @throws Error that says why there is no connection */
export async function connect(
  sdk: Sdk,
  target: Target,
  log: Logger,
  signal: AbortSignal,
  onListChanged: () => void,
): Promise<Connection> {
  const openWith = (mode: Mode) =>
    open(sdk, target, log, signal, createClient(sdk, log, mode, onListChanged));
  try {
    return await openWith('auto');
  } catch (error) {
    const { EraNegotiationFailed } = sdk.SdkErrorCode;
    const isEra = error instanceof sdk.SdkError && error.code === EraNegotiationFailed;
    if (!isEra || target.kind !== 'command' || signal.aborted) throw error;
    // Some older servers end at a question before the handshake: they are asked the old way.
    return openWith('legacy');
  }
}

async function open(
  sdk: Sdk,
  target: Target,
  log: Logger,
  signal: AbortSignal,
  client: Client,
): Promise<Connection> {
  const life = createLife();
  const end = life.end.bind(life);
  const transport =
    target.kind === 'command'
      ? createStdioTransport(target, environmentOf(target, sdk), createTalk(log), end)
      : createHttpTransport(sdk, target, () => end(TOO_LARGE));
  const kill = 'kill' in transport ? transport.kill : () => transport.close();
  Object.assign(client, { onclose: () => end('closed the connection') });
  signal.throwIfAborted();
  try {
    await within(client.connect(transport, { timeout: WRAP_LIMITS.startMs }), signal);
  } catch (error) {
    const why = life.over;
    await kill();
    // The client only says that the connection was closed.
    throw isClosed(error, sdk) && why !== null ? new Error(`it ${why}`, { cause: error }) : error;
  }
  return {
    client,
    ended: life.ended,
    over: () => life.over,
    end(why) {
      end(why);
      if (target.kind === 'command') void kill();
    },
    close: 'kill' in transport ? () => transport.close() : () => closeHttp(transport),
    kill,
  };
}

function isClosed(error: unknown, { SdkError, SdkErrorCode }: Sdk): boolean {
  return error instanceof SdkError && error.code === SdkErrorCode.ConnectionClosed;
}

/** A server that keeps sessions is told that this one is over. */
async function closeHttp(transport: StreamableHTTPClientTransport): Promise<void> {
  const told = transport.terminateSession().catch(() => {});
  await Promise.race([told, sleep(WRAP_LIMITS.endMs, undefined, { ref: false })]);
  await transport.close();
}

const TOO_LARGE = `sent a message of more than ${WRAP_LIMITS.maxMessageBytes} bytes`;

/** The variables that every program needs, and those that it is given. */
function environmentOf({ env }: CommandTarget, { getDefaultEnvironment }: Sdk): Record<string, string> {
  return { ...getDefaultEnvironment(), ...env };
}

/** Asks first what the server speaks, or takes it for an older one. */
type Mode = 'auto' | 'legacy';

function createClient(sdk: Sdk, log: Logger, mode: Mode, onListChanged: () => void): Client {
  const client = new sdk.Client(
    { name: 'waybill', version: packageVersion() },
    {
      // No sampling, no elicitation, no roots: nobody is there to answer.
      capabilities: {},
      inputRequired: { autoFulfill: false },
      versionNegotiation: { mode, probe: { timeoutMs: WRAP_LIMITS.probeMs } },
      listChanged: {
        tools: {
          autoRefresh: false,
          debounceMs: WRAP_LIMITS.relistMs,
          onChanged: onListChanged,
        },
      },
    },
  );
  return Object.assign(client, {
    onerror({ message }: Error) {
      log.debug(
        { text: shorten(message, WRAP_LIMITS.maxLineChars) },
        'the wrapped server broke the protocol',
      );
    },
  });
}

/** @throws Error when it takes too long or is aborted; what the work throws */
async function within(work: Promise<void>, signal: AbortSignal): Promise<void> {
  const stop = new AbortController();
  const late = `it was not ready within ${WRAP_LIMITS.startMs} ms`;
  const timer = setTimeout(() => stop.abort(new Error(late)), WRAP_LIMITS.startMs);
  const any = AbortSignal.any([signal, stop.signal]);
  const ended = new Promise<never>((_, reject) => {
    any.addEventListener('abort', () => reject(any.reason), { once: true });
  });
  await Promise.race([work, ended]).finally(() => clearTimeout(timer));
}
