import { AUDIT_LIMITS } from './limits.ts';

const LINE_FEED = 0x0a;

/** What stood behind the last line that was read. */
export interface Rest {
  /** `stopped`: `onLine` has seen enough. */
  readonly why: 'end' | 'too_long' | 'stopped';
  /** The beginning of a line without its end; empty unless `why` is `end`. */
  readonly cut: string;
}

/**
 * Hands out the lines of a text that comes in pieces of any size, one after the other, without keeping it.
 *
 * @param onLine gets the bytes and where in them a line begins and ends (without its line feed); they are good
 * until it returns. `false` ends the reading
 */
export async function eachLine(
  pieces: AsyncIterable<Uint8Array | string>,
  onLine: (bytes: Buffer, start: number, end: number) => boolean,
): Promise<Rest> {
  /** The beginning of a line whose end is still to come. */
  let carry: Buffer[] = [];
  let carried = 0;
  for await (const piece of pieces) {
    const bytes = bufferOf(piece);
    let start = 0;
    for (let end = bytes.indexOf(LINE_FEED); end !== -1; end = bytes.indexOf(LINE_FEED, start)) {
      if (carried + end - start > AUDIT_LIMITS.maxLineBytes) return { why: 'too_long', cut: '' };
      const goesOn = carried === 0 ? onLine(bytes, start, end) : onJoined(bytes.subarray(0, end));
      if (!goesOn) return { why: 'stopped', cut: '' };
      start = end + 1;
    }
    // A copy: the piece may be written over before the next one comes.
    if (start < bytes.length) carry.push(Buffer.from(bytes.subarray(start)));
    carried += bytes.length - start;
    if (carried > AUDIT_LIMITS.maxLineBytes) return { why: 'too_long', cut: '' };
  }
  return { why: 'end', cut: Buffer.concat(carry).toString('latin1') };

  function onJoined(end: Buffer): boolean {
    const line = Buffer.concat([...carry, end]);
    carry = [];
    carried = 0;
    return onLine(line, 0, line.length);
  }
}

function bufferOf(piece: Uint8Array | string): Buffer {
  if (typeof piece === 'string') return Buffer.from(piece);
  return Buffer.isBuffer(piece) ? piece : Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength);
}
