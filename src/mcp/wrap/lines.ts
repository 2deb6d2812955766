/** Cuts bytes into lines, and holds no more of one than it may have. */
export interface LineReader {
  push(chunk: Buffer): void;
}

/** Chunks that are joined at once: many tiny ones would take more memory for themselves than for their bytes. */
const MAX_PARTS = 1_024;

const LINE_FEED = 10;

/**
 * @param maxBytes of one line; of a longer one `onLine` gets so much, with `cut`, and the rest is dropped
 * @param onLine gets each line without its line feed
 */
export function createLineReader(maxBytes: number, onLine: (line: string, cut: boolean) => void): LineReader {
  let parts: Buffer[] = [];
  let bytes = 0;
  let dropping = false;

  function hold(part: Buffer): void {
    if (dropping || part.length === 0) return;
    parts.push(part.subarray(0, maxBytes - bytes));
    bytes += part.length;
    if (bytes > maxBytes) {
      hand(true);
      dropping = true;
    } else if (parts.length >= MAX_PARTS) parts = [Buffer.concat(parts)];
  }

  function hand(cut: boolean): void {
    const text = Buffer.concat(parts).toString('utf8');
    parts = [];
    bytes = 0;
    onLine(text.endsWith('\r') ? text.slice(0, -1) : text, cut);
  }

  return {
    push(chunk) {
      let start = 0;
      for (;;) {
        const end = chunk.indexOf(LINE_FEED, start);
        hold(end === -1 ? chunk.subarray(start) : chunk.subarray(start, end));
        if (end === -1) return;
        if (!dropping) hand(false);
        dropping = false;
        start = end + 1;
      }
    },
  };
}
