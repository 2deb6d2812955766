/** The record of what was done. */
export const AUDIT_LIMITS = {
  // Signed heads: what was cut off after the last one cannot be told from a crash, so they come often; a
  // signature takes 22 µs.
  headMs: 1_000,
  // The same while nothing happens: an auditor sees from it that the process was alive and had nothing to say.
  idleHeadMs: 60_000,
  // Records that no head follows and that lie so far apart were not written by a process of ours: twice the above.
  maxUnsignedMs: 120_000,
  // After a failure calls are refused at once for this long, then one of them tries the store again.
  retryMs: 250,
  // Refusals of one client in one minute with a record of their own; those beyond are counted. 600 take 256 kB,
  // 370 MB a day; a client that tries can be refused as often in 80 seconds.
  refusalsPerMinute: 600,
  // Longest line that a reader takes. Records stay below 2 KiB, the first of a chain below 32 KiB; the last line of
  // a bundle names every chain at 150 bytes: 100 000 of them.
  maxLineBytes: 16_777_216,
} as const;
