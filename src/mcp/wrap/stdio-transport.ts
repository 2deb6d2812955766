import type { JSONRPCMessage, Transport } from '@modelcontextprotocol/client';
import { WRAP_LIMITS } from './limits.ts';
import { isObject, parseJson } from '../../wire/index.ts';
import { type Child, startChild } from './child.ts';
import { createLineReader } from './lines.ts';
import type { Talk } from './talk.ts';
import type { CommandTarget } from './target.ts';

/**
 * One message a line on the stdin and stdout of a process. In place of the official one for its bounds: on a
 * message, on what the process does not read, on what it writes beside messages; and it ends the whole group.
 */
export interface StdioTransport extends Transport {
  /** These two tell the official client that silence is no outage, but an older server. */
  readonly pid: number | null;
  readonly stderr: null;
  /** Ends it without waiting for it to end by itself. */
  kill(): Promise<void>;
}

/** What a client without capabilities is told; all others only cost the time to read them. */
const NOTIFICATIONS: ReadonlySet<unknown> = new Set([
  'notifications/progress',
  'notifications/tools/list_changed',
  'notifications/subscriptions/acknowledged',
  'notifications/cancelled',
]);

/** @param onEnd is told once why there will be no more messages, before `onclose` is */
export function createStdioTransport(
  target: CommandTarget,
  env: Readonly<Record<string, string>>,
  talk: Talk,
  onEnd: (why: string) => void,
): StdioTransport {
  let child: Child | null = null;
  let ended = false;

  function end(why: string): void {
    if (ended) return;
    ended = true;
    onEnd(why);
    void child?.kill();
    transport.onclose?.();
  }

  const output = createLineReader(WRAP_LIMITS.maxMessageBytes, (line, cut) => {
    if (ended) return;
    if (cut) end(`sent a message of more than ${WRAP_LIMITS.maxMessageBytes} bytes`);
    else receive(line);
  });
  const errors = createLineReader(WRAP_LIMITS.maxLineChars, (line) => {
    if (line.trim() !== '') talk.say('info', line, 'the wrapped server writes to its stderr');
  });

  function receive(line: string): void {
    const message = parse(line);
    if (message === null) {
      if (line.trim() !== '') talk.say('warn', line, 'the wrapped server wrote a line that is no message');
    } else if (isOfUse(message)) hand(message);
  }

  /** Nested deep enough, a message overflows the stack of whoever looks into it. */
  function hand(message: JSONRPCMessage): void {
    try {
      transport.onmessage?.(message);
    } catch {
      end('sent a message that cannot be read');
    }
  }

  const transport: StdioTransport = {
    stderr: null,
    get pid() {
      return child?.pid ?? null;
    },
    async start() {
      child = await startChild(target, env, {
        onOutput: output.push,
        onErrorOutput: errors.push,
        onEnd: end,
      });
      // Closed while it was started.
      if (ended) await child.kill();
    },
    async send(message) {
      if (child === null || ended) throw new Error('not connected');
      child.write(`${JSON.stringify(message)}\n`);
      if (child.unreadBytes() > WRAP_LIMITS.maxUnreadBytes) end('does not read what it is sent');
    },
    async close() {
      if (!ended) {
        ended = true;
        onEnd('was closed');
        transport.onclose?.();
      }
      await child?.end();
    },
    async kill() {
      end('was closed');
      await child?.kill();
    },
  };
  return transport;
}

/** `null` for what is no message. */
function parse(line: string): JSONRPCMessage | null {
  try {
    const value: unknown = parseJson(line);
    // The client sorts messages by their members, and reports what is none.
    return isObject(value) && value['jsonrpc'] === '2.0' ? (value as JSONRPCMessage) : null;
  } catch {
    return null;
  }
}

function isOfUse(message: JSONRPCMessage): boolean {
  return 'id' in message || !('method' in message) || NOTIFICATIONS.has(message.method);
}
