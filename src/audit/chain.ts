import { randomBytes } from 'node:crypto';
import { sign } from '../wire/ed25519.ts';
import type { AuditKeys } from './keys.ts';
import { type AuditRecord, type EventRecord, type Link, NO_PREV, writeLine } from './record.ts';

/** The records that one process writes, each bound to the one before by its hash. */
export interface Chain {
  readonly id: string;
  /** Adds a record at the present time. */
  add(record: EventRecord): void;
  /** Signs everything so far. */
  head(): void;
  /** The signed end; nothing can be added after it. */
  close(): void;
  /** Records since the last signed one. */
  readonly unsigned: number;
  /** The records that nobody has taken yet, or `null`. Who takes them must write them, and in this order. */
  take(): Batch | null;
}

/** Neighbouring records of one chain, ready to be written. */
export interface Batch {
  readonly fromSeq: number;
  /** Each with a line feed at its end. */
  readonly lines: string;
}

export interface ChainOptions {
  /** A new one if it is not given. */
  readonly id?: string;
  readonly serverId: string;
  readonly key: AuditKeys;
  /** The last record of every other chain of the store. */
  readonly links: readonly Link[];
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/**
 * A new chain with its first record. It does no I/O: what is added in one turn of the event loop is taken and
 * written at once.
 */
export function openChain({ now, serverId, key, links, id = newChainId(now()) }: ChainOptions): Chain {
  let prev = NO_PREV;
  let seq = 0;
  let taken = 0;
  let lines = '';
  let signed = 0;
  let isClosed = false;
  const signature = (text: string) => sign(text, key.privateKey);

  function append(record: AuditRecord): void {
    if (isClosed) throw new Error(`chain ${id} is closed`);
    const line = writeLine(record, { prev, seq, ms: now() });
    lines += `${line.text}\n`;
    prev = line.hash;
    seq++;
  }

  append({ type: 'open', chain: id, serverId, key: key.publicText, links });

  return {
    id,
    add: append,
    head() {
      append({ type: 'head', sign: signature });
      signed = seq;
    },
    close() {
      append({ type: 'close', sign: signature });
      signed = seq;
      isClosed = true;
    },
    get unsigned() {
      return seq - signed;
    },
    take() {
      if (lines === '') return null;
      const batch = { fromSeq: taken, lines };
      taken = seq;
      lines = '';
      return batch;
    },
  };
}

/** Ids in the order of their time of birth, unlike any other, and fit for the name of a file. */
export function newChainId(nowMs: number): string {
  const time = new Date(nowMs).toISOString().replaceAll(/[-:]/g, '');
  return `${time}-${randomBytes(4).toString('hex')}`;
}

const CHAIN_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/;

/** Can this be the id of a chain? It is safe in the name of a file and on a terminal. */
export function isChainId(value: unknown): value is string {
  return typeof value === 'string' && CHAIN_ID.test(value);
}
