import type { KeyObject } from 'node:crypto';
import { AUDIT_LIMITS } from './limits.ts';
import { END } from './bundle.ts';
import { type Finding, finding, type Problem, type Subject, WHOLE } from './finding.ts';
import { auditKeyOf } from './keys.ts';
import { type Damage, looksLikeRecord, NO_PREV, readRecord, type SeenRecord, signatureOf } from './record.ts';
import { type Expected, type LinkFrom, type OpenMembers, openMembersOf, type Survey } from './survey.ts';

/** What was found out about one chain. */
export interface ChainReport {
  readonly chain: string;
  readonly records: number;
  readonly firstMs: number;
  readonly lastMs: number;
  /** The last signed record: copied elsewhere, it holds everything before it fast. */
  readonly head: SignedHead | null;
  /** It ended in order. If not, its process died or still runs. */
  readonly closed: boolean;
  /** Records after the last signed one, which only hashes hold. */
  readonly unsigned: number;
}

export interface SignedHead {
  readonly chain: string;
  readonly seq: number;
  readonly ms: number;
  readonly hash: string;
  readonly signature: string;
}

/** Reads records one after the other and says what the first one is that does not fit. */
export interface Walk {
  readonly survey: Survey;
  /** The public key that every chain must have; `null` until the first chain has said it. */
  key: string | null;
  publicKey: KeyObject | null;
  /** Sees each record that fits. */
  readonly onRecord: ((record: SeenRecord, chain: string) => void) | undefined;
  readonly done: ChainReport[];
  readonly ids: Set<string>;
  current: Current | null;
  doubt: Doubt | null;
  lines: number;
  records: number;
  /** The last line of the bundle has come. */
  ended: boolean;
}

/** The chain whose records are being read. */
interface Current {
  readonly chain: string;
  readonly expected: Expected | undefined;
  readonly links: readonly LinkFrom[];
  nextLink: number;
  /** Of the record that must come next. */
  seq: number;
  /** Of the record before it. */
  hash: string;
  readonly firstMs: number;
  lastMs: number;
  head: SignedHead | null;
  /** How far the records since then are from it, or from the first one. */
  unsignedMs: number;
  closed: boolean;
}

/** A record did not fit: what stands behind it tells why. `null` stands for the end. */
type Doubt = (next: SeenRecord | Damage | null) => Finding | null;

/** The next line. */
export function walkLine(walk: Walk, bytes: Buffer, start: number, end: number): Finding | null {
  walk.lines++;
  const record = readRecord(bytes, start, end);
  if (walk.doubt !== null) return walk.doubt(record);
  if (walk.ended) return finding('wrong_end', WHOLE, walk.lines, 'something stands behind it');
  if (typeof record === 'string') return walkOther(walk, record, bytes.toString('latin1', start, end));
  const { current } = walk;
  const open = record.type === 'open' ? openMembersOf(record) : null;
  if (open !== null) return begin(walk, record, open);
  if (current === null || isFull(current)) return stray(walk, record, current);
  const fits = record.seq === current.seq && record.prev === current.hash;
  return fits ? accept(walk, current, record) : doubtRecord(walk, current, record);
}

/** A line that is no record: the last one of the bundle, or damaged. */
function walkOther(walk: Walk, damage: Damage, text: string): Finding | null {
  const { current, survey, lines } = walk;
  if (text.startsWith(END)) {
    if (current !== null && isShort(current)) return doubtRecord(walk, current, null);
    walk.ended = true;
    return null;
  }
  const isLast = survey.start !== null && lines >= survey.lines - 1 && !looksLikeRecord(text);
  return isLast ? finding('wrong_end', WHOLE, lines) : finding(damage, nextOf(walk), lines);
}

/** Where the next line belongs. */
export function nextOf({ current, survey, done }: Walk): Subject {
  if (current !== null && !isFull(current)) return { chain: current.chain, seq: current.seq };
  const due = survey.expected?.[done.length + (current === null ? 0 : 1)];
  if (due === undefined && survey.expected !== null) return WHOLE;
  return { chain: due?.chain ?? null, seq: 0 };
}

/** All its records are there. */
function isFull({ expected, seq, closed }: Current): boolean {
  return expected?.records === undefined ? closed : seq === expected.records;
}

/** It is known that records of it are still to come. */
function isShort({ expected, seq }: Current): boolean {
  return expected?.records !== undefined && seq < expected.records;
}

function begin(walk: Walk, record: SeenRecord, open: OpenMembers): Finding | null {
  const { survey, done, lines, ids } = walk;
  const { chain } = open;
  const at = { chain, seq: 0 };
  if (ids.has(chain)) return finding('twice', at, lines);
  if (walk.current !== null && isShort(walk.current)) return doubtRecord(walk, walk.current, record);
  const ended = endChain(walk);
  if (ended !== null) return ended;
  const expected = survey.expected?.[done.length];
  if (survey.expected !== null && expected?.chain !== chain) return misplaced(walk, chain, expected);
  if (survey.expected === null && (done.at(-1)?.chain ?? '') > chain)
    return finding('out_of_order', at, lines);
  walk.key ??= open.key;
  walk.publicKey ??= auditKeyOf(open.key);
  if (open.key !== walk.key) return finding('wrong_key', at, lines, `it names ${JSON.stringify(open.key)}`);
  const { start } = survey;
  // Believed only where the signature of the last line holds: it covers the first.
  const isForeign = start !== null && survey.expected !== null && start.serverId !== open.serverId;
  if (isForeign) return finding('wrong_server', at, lines);
  ids.add(chain);
  walk.current = {
    chain,
    expected,
    links: survey.links.get(chain) ?? [],
    nextLink: 0,
    seq: 0,
    hash: NO_PREV,
    firstMs: record.ms,
    lastMs: record.ms,
    head: null,
    unsignedMs: 0,
    closed: false,
  };
  return accept(walk, walk.current, record);
}

/** Another chain begins where one was due. */
function misplaced({ survey, lines }: Walk, chain: string, due: Expected | undefined): Finding {
  const isKnown = survey.expected?.some((each) => each.chain === chain) ?? false;
  if (due === undefined || !isKnown) return finding('added', { chain, seq: null }, lines);
  if (survey.opens.has(due.chain)) return finding('out_of_order', { chain: due.chain, seq: 0 }, lines);
  return finding('missing', { chain: due.chain, seq: null }, lines);
}

function accept(walk: Walk, current: Current, record: SeenRecord): Finding | null {
  const { chain, links, expected } = current;
  const { seq, hash, ms, type } = record;
  const at = (problem: Problem, detail?: string) => finding(problem, { chain, seq }, walk.lines, detail);
  if (current.closed) return at('after_close');
  for (let link = links[current.nextLink]; link?.seq === seq; link = links[++current.nextLink]) {
    if (link.hash !== hash) return at('not_linked', `chain ${link.from} says so`);
  }
  if (expected?.records === seq + 1 && expected.hash !== hash) return at('changed');
  if (type === 'head' || type === 'close') {
    const signature = walk.publicKey === null ? null : signatureOf(record, walk.publicKey);
    if (signature === null) return at('head_signature');
    current.head = { chain, seq, ms, hash, signature };
    current.closed = type === 'close';
    current.unsignedMs = 0;
  } else {
    current.unsignedMs = Math.max(current.unsignedMs, Math.abs(ms - (current.head?.ms ?? current.firstMs)));
  }
  current.seq++;
  current.hash = hash;
  current.lastMs = ms;
  walk.records++;
  walk.onRecord?.(record, chain);
  return null;
}

/** In the middle of a chain stands what does not belong there: `null` for the last line of the bundle. */
function doubtRecord(walk: Walk, current: Current, found: SeenRecord | null): Finding | null {
  const { chain, seq, hash: prev, expected } = current;
  const { lines } = walk;
  const at = { chain, seq };
  const before = { chain, seq: seq - 1 };
  const isSameSeq = found?.seq === seq;
  if (found?.hash === prev) return finding('twice', before, lines);
  // It is the record that it should be: then the one before is not.
  if (isSameSeq && expected?.hash === found.hash) return finding('changed', before, lines);
  let isFirst = true;
  walk.doubt = (next) => {
    if (next === null) return finding(isSameSeq ? 'changed' : 'missing', at, lines);
    const isNext = isFirst;
    isFirst = false;
    if (typeof next === 'string') return null;
    if (next.seq === seq && next.prev === prev) {
      const isExtra = isNext && found !== null && found.seq < seq && found.type !== 'open';
      return isExtra
        ? finding('twice', { chain, seq: found.seq }, lines)
        : finding('out_of_order', at, lines);
    }
    const isBorneOut = isNext && isSameSeq && next.prev === found.hash;
    return isBorneOut ? finding('changed', before, lines) : null;
  };
  return null;
}

/** A record stands where a chain, or the last line, should begin. */
function stray(walk: Walk, record: SeenRecord, current: Current | null): Finding | null {
  const { lines, survey } = walk;
  const { chain, seq } = nextOf(walk);
  if (current !== null) {
    const own = { chain: current.chain, seq: record.seq };
    if (record.hash === current.hash) return finding('twice', own, lines);
    const goesOn = record.seq === current.seq && record.prev === current.hash;
    if (goesOn) return finding(current.closed ? 'after_close' : 'added', own, lines);
    // Nothing else is due.
    if (chain === null) return finding('twice', own, lines);
  }
  const open = chain === null ? undefined : survey.opens.get(chain);
  if (open === undefined) return finding('missing', { chain, seq: seq ?? 0 }, lines);
  if (current === null || record.prev === open) return finding('out_of_order', { chain, seq }, lines);
  walk.doubt = (next) => {
    const isExtra = next !== null && typeof next !== 'string' && next.hash === open;
    if (isExtra) return finding('twice', { chain: current.chain, seq: record.seq }, lines);
    return finding('out_of_order', { chain, seq }, lines);
  };
  return null;
}

/** There is no further record of this chain. */
export function endChain(walk: Walk): Finding | null {
  const { current, doubt, lines } = walk;
  if (doubt !== null) return doubt(null);
  if (current === null) return null;
  const { chain, seq, firstMs, lastMs, head, closed, links, nextLink, unsignedMs } = current;
  const at = { chain, seq };
  const link = links[nextLink];
  if (link !== undefined)
    return finding('missing', at, lines, `chain ${link.from} has seen record ${link.seq}`);
  if (isShort(current)) return finding('missing', at, lines);
  const firstUnsigned = head === null ? 0 : head.seq + 1;
  if (unsignedMs > AUDIT_LIMITS.maxUnsignedMs)
    return finding('unsigned', { chain, seq: firstUnsigned }, lines);
  const unsigned = seq - firstUnsigned;
  walk.done.push({ chain, records: seq, firstMs, lastMs, head, closed, unsigned });
  walk.current = null;
  return null;
}

/** After the last chain: is one missing? */
export function endWalk({ survey, done, lines, ids }: Walk): Finding | null {
  const due = survey.expected?.[done.length];
  if (due !== undefined) return finding('missing', { chain: due.chain, seq: null }, lines);
  for (const [chain, [link]] of survey.links) {
    if (ids.has(chain) || link === undefined) continue;
    return finding('missing', { chain, seq: null }, lines, `chain ${link.from} has seen record ${link.seq}`);
  }
  return null;
}
