import { parseLine } from '../../audit/record.ts';
import type { AuditRecords } from '../../store/audit-records.ts';

/** Reads the newest records of all chains, and what comes after them. */

type Source = Pick<AuditRecords, 'chains' | 'read' | 'last'>;

/** A record as it is shown, or a line that is none any more. */
export interface Shown {
  readonly chain: string;
  readonly seq: number;
  readonly ms: number;
  /** `damaged` for a line that no longer is a record. */
  readonly type: string;
  /** All that stands in the record. */
  readonly members: Readonly<Record<string, unknown>>;
}

export type Filter = (record: Shown) => boolean;

/** How far a chain has been read. */
interface Mark {
  nextSeq: number;
  lastMs: number;
  isClosed: boolean;
}

export interface Tail {
  /** The newest records that the filter wants, the oldest first. */
  readonly records: readonly Shown[];
  readonly marks: Map<string, Mark>;
}

/** By time; records of the same time stay together by chain and in its order. */
function byTime(a: Shown, b: Shown): number {
  return a.ms - b.ms || (a.chain < b.chain ? -1 : a.chain > b.chain ? 1 : a.seq - b.seq);
}

/** The last `count` records of all chains; reads only as much of each chain as that needs. */
export async function readTail(source: Source, count: number, filter: Filter): Promise<Tail> {
  const marks = new Map<string, Mark>();
  for (const chain of await source.chains()) marks.set(chain, await markOf(source, chain));
  let records: Shown[] = [];
  if (count === 0) return { records, marks };
  for (const [chain, { nextSeq, lastMs }] of [...marks].sort(([, a], [, b]) => b.lastMs - a.lastMs)) {
    const oldest = records.length < count ? undefined : records[0];
    // Its newest record, and so all of the chains that follow, is older than what there is.
    if (oldest !== undefined && lastMs < oldest.ms) break;
    records.push(...(await lastOf(source, chain, nextSeq, count, filter)));
    records = records.sort(byTime).slice(-count);
  }
  return { records, marks };
}

async function markOf(source: Source, chain: string): Promise<Mark> {
  const line = await source.last(chain);
  if (line === null) return { nextSeq: 0, lastMs: 0, isClosed: false };
  let last = shown(line, chain, { seq: 0, ms: 0 });
  if (last.type === 'damaged') for await (const record of recordsFrom(source, chain, 0)) last = record;
  return { nextSeq: last.seq + 1, lastMs: last.ms, isClosed: last.type === 'close' };
}

/** The last records of one chain before `nextSeq`: from further back each time until there are enough. */
async function lastOf(
  source: Source,
  chain: string,
  nextSeq: number,
  count: number,
  filter: Filter,
): Promise<readonly Shown[]> {
  for (let lines = 2 * count + 16; ; lines *= 8) {
    const from = Math.max(0, nextSeq - lines);
    let found: Shown[] = [];
    for await (const record of recordsFrom(source, chain, from)) {
      // What is newer than the mark is for who follows.
      if (record.seq >= nextSeq) break;
      if (filter(record)) found.push(record);
      if (found.length > 2 * count) found = found.slice(-count);
    }
    if (found.length >= count || from === 0) return found.slice(-count);
  }
}

/** A chain without a record for so long has no process any more: a live one signs a head every minute. */
const DEAD_MS = 600_000;

/**
 * The records that came since, of all chains, and moves the marks behind them.
 *
 * @param isThorough looks also at chains whose process seems dead: their number only grows
 */
export async function readNew(
  source: Source,
  marks: Map<string, Mark>,
  filter: Filter,
  isThorough: boolean,
): Promise<readonly Shown[]> {
  const found: Shown[] = [];
  for (const chain of await source.chains()) {
    const mark = marks.get(chain) ?? { nextSeq: 0, lastMs: Date.now(), isClosed: false };
    marks.set(chain, mark);
    if (mark.isClosed || (!isThorough && mark.lastMs < Date.now() - DEAD_MS)) continue;
    for await (const record of recordsFrom(source, chain, mark.nextSeq)) {
      mark.nextSeq = record.seq + 1;
      mark.lastMs = record.ms;
      mark.isClosed = record.type === 'close';
      if (filter(record)) found.push(record);
    }
  }
  return found.sort(byTime);
}

async function* recordsFrom(source: Source, chain: string, fromSeq: number): AsyncGenerator<Shown> {
  // For a line that does not tell: behind the one before it.
  let place = { seq: fromSeq, ms: 0 };
  for await (const piece of source.read(chain, fromSeq)) {
    for (const line of piece.split('\n')) {
      if (line === '') continue;
      const record = shown(line, chain, place);
      yield record;
      place = { seq: record.seq + 1, ms: record.ms };
    }
  }
}

function shown(line: string, chain: string, otherwise: { readonly seq: number; readonly ms: number }): Shown {
  const record = parseLine(line);
  if (typeof record === 'string') return { chain, ...otherwise, type: 'damaged', members: {} };
  const { seq, ms, type, members } = record;
  return { chain, seq, ms, type, members };
}
