import type { Readable, Writable } from 'node:stream';
import { ProtocolError } from '../errors/index.ts';
import { STDIO_LIMITS } from '../limits.ts';
import type { Endpoint } from '../server/index.ts';

const LINE_FEED = 10;

/**
 * Serves one message a line, replies in the order in which they are ready (docs/protocol.md §9).
 * Resolves when the input has ended and every reply is written.
 */
export async function serveStdio(
  server: Endpoint,
  { input, output }: { readonly input: Readable; readonly output: Writable },
): Promise<void> {
  const pending = new Set<Promise<void>>();
  const peer = watch(output);

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

/** Does the other side still read? */
function watch(output: Writable) {
  let waiting: Promise<void> | null = null;
  let wake = (): void => {};
  const peer = {
    gone: false,
    /** Resolves when more can be written, or nothing more ever can. */
    drained(): Promise<void> {
      waiting ??= new Promise((resolve) => {
        wake = resolve;
      });
      return waiting;
    },
  };
  const release = () => {
    waiting = null;
    wake();
  };
  const leave = () => {
    peer.gone = true;
    release();
  };
  output.on('drain', release).on('error', leave).on('close', leave);
  return peer;
}

type Line = { readonly bytes: Uint8Array } | { readonly tooLong: true };

function tooLarge({ maxMessageBytes }: Endpoint): ProtocolError {
  return new ProtocolError('too_large', `a message may have at most ${maxMessageBytes} bytes`);
}

/** Lines without their line feed; empty ones are skipped. No more than `maxBytes` of a line is kept. */
async function* readLines(input: Readable, maxBytes: number): AsyncGenerator<Line> {
  let parts: Buffer[] = [];
  let length = 0;

  function endLine(): Line | null {
    const line: Line | null =
      length > maxBytes ? { tooLong: true } : length > 0 ? { bytes: Buffer.concat(parts, length) } : null;
    parts = [];
    length = 0;
    return line;
  }

  // A stream of bytes: nobody has set an encoding on it.
  for await (const chunk of input as AsyncIterable<Uint8Array>) {
    let rest = Buffer.from(chunk);
    for (;;) {
      const end = rest.indexOf(LINE_FEED);
      const part = end === -1 ? rest : rest.subarray(0, end);
      length += part.length;
      if (length <= maxBytes) parts.push(part);
      else parts = [];
      if (end === -1) break;
      const line = endLine();
      if (line !== null) yield line;
      rest = rest.subarray(end + 1);
    }
  }
  const last = endLine();
  if (last !== null) yield last;
}
