import { StoreError } from '../errors/index.ts';
import { AUDIT_LIMITS } from './limits.ts';
import type { AuditRecords } from '../store/audit-records.ts';
import type { Logger } from '../tools/index.ts';
import { type Chain, openChain } from './chain.ts';
import type { AuditKeys } from './keys.ts';
import { openEnds } from './links.ts';
import type { CallRecord, EventRecord } from './record.ts';

export interface WriterOptions {
  readonly records: Pick<AuditRecords, 'append' | 'chains' | 'first' | 'last'>;
  readonly serverId: string;
  readonly keys: AuditKeys;
  readonly log: Logger;
  readonly now: () => number;
}

const CANNOT = 'the audit cannot be written';

/** Puts the records of one process into the store, one write at a time. */
export interface Writer {
  /** Could the last records not be written, and has nothing been since? */
  readonly isDown: boolean;
  /** Is it time to sign, or to try again? */
  readonly isDue: boolean;
  /** @throws StoreError when the records are not written, or only perhaps; all but those of calls are kept for later */
  write(records: readonly EventRecord[]): Promise<void>;
  /** Ends the chain in order. @throws StoreError */
  close(): Promise<void>;
}

/**
 * After a failure nobody knows what the store has kept, and what it may keep later. So that chain is never gone on
 * with: the next write opens a new one that links to what is there, and there is no gap and no fork.
 */
export function createWriter({ records: store, serverId, keys, log, now }: WriterOptions): Writer {
  let chain: Chain | null = null;
  /** By the clock of the process, like all that is waited for. */
  let headMs = 0;
  /** The same by the clock of the records, which goes on while the machine sleeps: see `maxUnsignedMs`. */
  let headClockMs = 0;
  let failedMs: number | null = null;
  /** They say what has happened, whether somebody was told or not. */
  let owed: readonly Exclude<EventRecord, CallRecord>[] = [];

  async function open(): Promise<Chain> {
    const links = await openEnds(store);
    signedNow();
    return openChain({ serverId, key: keys, links, now });
  }

  function isDue(): boolean {
    if (chain === null) return true;
    const waitMs = chain.unsigned > 0 ? AUDIT_LIMITS.headMs : AUDIT_LIMITS.idleHeadMs;
    return performance.now() - headMs >= waitMs || Math.abs(now() - headClockMs) >= waitMs;
  }

  function signedNow(): void {
    headMs = performance.now();
    headClockMs = now();
  }

  async function append(records: readonly EventRecord[], isLast: boolean): Promise<void> {
    const current = (chain ??= await open());
    for (const record of owed) current.add(record);
    for (const record of records) current.add(record);
    if (isLast) {
      current.close();
    } else if (isDue()) {
      current.head();
      signedNow();
    }
    const batch = current.take();
    if (batch !== null) await store.append(current.id, batch.fromSeq, batch.lines);
    owed = [];
  }

  async function write(records: readonly EventRecord[], isLast: boolean): Promise<void> {
    const isTooSoon = failedMs !== null && performance.now() - failedMs < AUDIT_LIMITS.retryMs;
    try {
      if (isTooSoon && !isLast) throw new StoreError(CANNOT);
      await append(records, isLast);
      if (failedMs !== null) log.info({}, 'the audit is written again');
      failedMs = null;
    } catch (error) {
      owed = [...owed, ...records.filter((record) => record.type !== 'call')];
      chain = null;
      // The store was not even asked.
      if (isTooSoon && !isLast) throw error;
      // Once for each outage.
      if (failedMs === null) log.error({ err: error }, 'the audit cannot be written: calls are refused');
      failedMs = performance.now();
      throw new StoreError(CANNOT, { cause: error });
    }
  }

  return {
    get isDown() {
      return chain === null;
    },
    get isDue() {
      return isDue();
    },
    write: (records) => write(records, false),
    // Nothing is owed, and there is nothing to end.
    close: () => (chain === null && owed.length === 0 ? Promise.resolve() : write([], true)),
  };
}
