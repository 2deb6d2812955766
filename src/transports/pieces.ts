/** A body or a line that comes in pieces. */
export interface Pieces {
  readonly joined: Buffer[];
  loose: Uint8Array[];
}

/** So many are joined: each takes more than a hundred bytes beside its own, which nobody counts. */
const MAX_LOOSE = 1_024;

export function newPieces(): Pieces {
  return { joined: [], loose: [] };
}

export function hold(pieces: Pieces, piece: Uint8Array): void {
  if (pieces.loose.push(piece) < MAX_LOOSE) return;
  pieces.joined.push(Buffer.concat(pieces.loose));
  pieces.loose = [];
}

export function whole({ joined, loose }: Pieces): Uint8Array {
  const [only] = loose;
  if (joined.length === 0 && loose.length === 1 && only !== undefined) return only;
  return Buffer.concat([...joined, ...loose]);
}
