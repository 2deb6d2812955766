import type { Readable, Writable } from 'node:stream';
import { hold, newPieces, whole } from './pieces.ts';

const LINE_FEED = 10;

/** Does the other side still read? */
export function watchPeer(output: Writable) {
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

/** A line, or word of one that was too long. */
export type Line = { readonly bytes: Uint8Array } | { readonly tooLong: true };

/** Lines without their line feed; empty ones are skipped. No more than `maxBytes` of a line is kept. */
export async function* readLines(input: Readable, maxBytes: number): AsyncGenerator<Line> {
  let pieces = newPieces();
  let length = 0;

  function endLine(): Line | null {
    const line: Line | null =
      length > maxBytes ? { tooLong: true } : length > 0 ? { bytes: whole(pieces) } : null;
    pieces = newPieces();
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
      if (length <= maxBytes) hold(pieces, part);
      else pieces = newPieces();
      if (end === -1) break;
      const line = endLine();
      if (line !== null) yield line;
      rest = rest.subarray(end + 1);
    }
  }
  const last = endLine();
  if (last !== null) yield last;
}
