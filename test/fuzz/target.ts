/** One transmission: made, sent, and looked at. */
export interface Input {
  readonly bytes: Uint8Array;
  /** It gets past the part that strangers reach. */
  readonly isDeep: boolean;
  /** Sends it; rejects only if what is tested does. */
  run(): Promise<void>;
  /** What is wrong with the reply, or null; may throw, which is a problem too. */
  problem(): string | null;
  /** In a word, for the count. */
  outcome(): string;
  /** The reply. */
  shown(): string;
}

/** What is tested. */
export interface Target {
  readonly folder: 'call' | 'mcp';
  prepare(template: Uint8Array): Input;
  /** The clock has been moved past the time window. */
  forget(): void;
}
