import type { Writable } from 'node:stream';
import { watchPeer } from '../transports/lines.ts';
import type { JsonObject } from '../wire/json.ts';
import { META } from './protocol.ts';
import { notificationText } from './rpc.ts';

/** What goes to one host, a message a line. */
export interface HostOutput {
  /** The host takes nothing any more. */
  readonly gone: boolean;
  answer(text: string): void;
  /** Of a host that does not read, progress is dropped and the newest about each task waits. */
  notify(method: string, params: JsonObject): void;
  /** Resolves when the host has read what waits, or has gone. */
  read(): Promise<void>;
}

export function createHostOutput(output: Writable): HostOutput {
  const peer = watchPeer(output);
  const waiting = new Map<string, string>();

  function write(text: string): void {
    if (!peer.gone) output.write(`${text}\n`);
  }

  output.on('drain', () => {
    for (const [about, text] of waiting) {
      waiting.delete(about);
      write(text);
      if (output.writableNeedDrain) return;
    }
  });

  return {
    get gone() {
      return peer.gone;
    },
    answer: write,
    notify(method, params) {
      const text = notificationText(method, params);
      if (!output.writableNeedDrain) write(text);
      else if (method === 'notifications/tasks') waiting.set(subjectOf(params), text);
      else if (method !== 'notifications/progress') write(text);
    },
    async read() {
      if (output.writableNeedDrain && !peer.gone) await peer.drained();
    },
  };
}

/** Which task a notification tells of, and to which subscription. */
function subjectOf({ taskId, _meta: meta }: JsonObject): string {
  // Made by listen.ts.
  const { [META.subscriptionId]: subscription } = meta as JsonObject;
  return JSON.stringify([subscription, taskId]);
}
