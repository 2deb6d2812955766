/** A piece of a body: text as UTF-8, or bytes as hex, written `times` times. */
export interface Part {
  readonly text?: string;
  readonly hex?: string;
  readonly times?: number;
}

/** The bytes of a body, one part after another. */
export function bytesOf(parts: readonly Part[]): Buffer {
  return Buffer.concat(
    parts.map(({ text = '', hex, times = 1 }) =>
      hex === undefined ? Buffer.from(text.repeat(times), 'utf8') : Buffer.from(hex.repeat(times), 'hex'),
    ),
  );
}
