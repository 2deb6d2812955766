import type { Readable, Writable } from 'node:stream';
import { ProtocolError } from '../errors/index.ts';
import { STDIO_LIMITS } from '../limits.ts';
import type { Endpoint } from '../server/index.ts';
import { type Line, readLines, watchPeer } from './lines.ts';

/**
 * Serves one message a line, replies in the order in which they are ready (docs/protocol.md §9).
 * Resolves when the input has ended and every reply is written.
 */
export async function serveStdio(
  server: Endpoint,
  { input, output }: { readonly input: Readable; readonly output: Writable },
): Promise<void> {
  const pending = new Set<Promise<void>>();
  const peer = watchPeer(output);

  async function write(text: string): Promise<void> {
    if (peer.gone || output.write(`${text}\n`)) return;
    await peer.drained();
  }

  async function answer(line: Line): Promise<void> {
    const { body } = 'tooLong' in line ? server.refuse(tooLarge(server)) : await server.handle(line.bytes);
    await write(body);
  }

  for await (const line of readLines(input, server.maxMessageBytes)) {
    if (peer.gone) break;
    const answered = answer(line).finally(() => pending.delete(answered));
    pending.add(answered);
    // A peer that does not read its replies is not read from either.
    if (pending.size >= STDIO_LIMITS.maxCallsInFlight) await Promise.race(pending);
  }
  await Promise.all(pending);
}

function tooLarge({ maxMessageBytes }: Endpoint): ProtocolError {
  return new ProtocolError('too_large', `a message may have at most ${maxMessageBytes} bytes`);
}
