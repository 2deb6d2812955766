/** Where the lines of the audit are kept; what they say, and how they hang together, is not the store's business. */
export interface AuditRecords {
  /**
   * Adds lines to the end of a chain that this process writes; resolves when they survive kill -9.
   *
   * @param fromSeq of the first line
   * @param lines each with a line feed at its end
   * @throws StoreError
   */
  append(chain: string, fromSeq: number, lines: string): Promise<void>;
  /** Ids of all chains, in their order; with `newest` only so many of the last. */
  chains(newest?: number): Promise<readonly string[]>;
  /**
   * The lines of a chain in their order from `fromSeq` on, in pieces of whole lines, each line with its line feed.
   * What a process that died had begun to write is left out.
   */
  read(chain: string, fromSeq?: number): AsyncIterable<string>;
  /** The first line of a chain without its line feed; `null` if there is none that is whole. */
  first(chain: string): Promise<string | null>;
  /** The last whole one. */
  last(chain: string): Promise<string | null>;
}
