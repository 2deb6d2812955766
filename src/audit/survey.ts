import {
  type BundleStart,
  type ChainEnd,
  type ChainSource,
  END,
  isLink,
  parseEnd,
  parseStart,
} from './bundle.ts';
import { isChainId } from './chain.ts';
import { eachLine } from './lines.ts';
import { type Link, NO_PREV, readMembers, readRecord, type SeenRecord } from './record.ts';

/** What is known of the chains before their records are read one by one. */
export interface Survey {
  /** `null` for what is no bundle. */
  readonly start: BundleStart | null;
  /** Lines of the bundle. */
  readonly lines: number;
  /** The chains that must come, in this order; `null` if nothing that can be believed says so. */
  readonly expected: readonly Expected[] | null;
  /** Of each chain that is there, the hash of its first record. */
  readonly opens: ReadonlyMap<string, string>;
  /** Of each chain, what others say of its records, in the order of `seq`. */
  readonly links: ReadonlyMap<string, readonly LinkFrom[]>;
}

/** Its `records` are not known where no bundle counted them. */
export type Expected = Pick<ChainEnd, 'chain'> & Partial<ChainEnd>;

export interface LinkFrom extends Link {
  /** The chain that says it. */
  readonly from: string;
}

/** What every first record begins with. */
const OPEN_START = Buffer.from(`{"prev":"${NO_PREV}"`);
const END_START = Buffer.from(END);

/**
 * Reads a bundle for its first and last line and for the first records of its chains. A chain may link to one that
 * stands before it, so that all links must be known before the records are.
 */
export async function surveyBundle(pieces: AsyncIterable<Uint8Array | string>): Promise<Survey> {
  const collector = createCollector();
  let startLine: string | null = null;
  let endLine: string | null = null;
  let lines = 0;
  await eachLine(pieces, (bytes, start, end) => {
    lines++;
    if (startLine === null) startLine = bytes.toString('latin1', start, end);
    else if (begins(bytes, start, end, OPEN_START)) collector.add(bytes, start, end);
    else if (begins(bytes, start, end, END_START)) endLine = bytes.toString('latin1', start, end);
    return true;
  });
  const start = startLine === null ? null : parseStart(startLine);
  const isSigned = startLine !== null && endLine !== null && start !== null;
  const expected = isSigned ? parseEnd(endLine ?? '', startLine ?? '', start.publicKey) : null;
  return { start, lines, expected, ...collector.found() };
}

/** The same for the chains of a store, each of which must be there. One that has no whole record yet is left out. */
export async function surveyStore(source: ChainSource): Promise<Survey> {
  const collector = createCollector();
  const expected: Expected[] = [];
  for (const chain of await source.chains()) {
    await eachLine(source.read(chain), (bytes, start, end) => {
      expected.push({ chain });
      collector.add(bytes, start, end);
      return false;
    });
  }
  return { start: null, lines: 0, expected, ...collector.found() };
}

/** Do the bytes between `start` and `end` begin with this text? */
function begins(bytes: Buffer, start: number, end: number, text: Buffer): boolean {
  // Most lines differ in these: `{"p` or `{"t`, then the first two characters of a hash.
  if (bytes[start + 2] !== text[2] || bytes[start + 9] !== text[9] || bytes[start + 10] !== text[10])
    return false;
  return end - start >= text.length && bytes.compare(text, 0, text.length, start, start + text.length) === 0;
}

/** What the first record of a chain says, apart from what every record does. */
export interface OpenMembers {
  readonly chain: string;
  readonly serverId: string;
  readonly key: string;
  readonly links: readonly Link[];
}

/** `null`: the record is not the first one of a chain. */
export function openMembersOf(record: SeenRecord): OpenMembers | null {
  const { type, seq, prev } = record;
  if (type !== 'open' || seq !== 0 || prev !== NO_PREV) return null;
  const { chain, server_id: serverId, key, links } = readMembers(record);
  if (!isChainId(chain) || typeof serverId !== 'string' || typeof key !== 'string') return null;
  return Array.isArray(links) && links.every(isLink) ? { chain, serverId, key, links } : null;
}

function createCollector() {
  const opens = new Map<string, string>();
  const links = new Map<string, LinkFrom[]>();
  const known = new Set<string>();

  return {
    add(bytes: Buffer, start: number, end: number): void {
      const record = readRecord(bytes, start, end);
      const open = typeof record === 'string' ? null : openMembersOf(record);
      // What is damaged says nothing here; whoever reads the records will name it.
      if (typeof record === 'string' || open === null) return;
      if (!opens.has(open.chain)) opens.set(open.chain, record.hash);
      for (const { chain, seq, hash } of open.links) {
        const same = `${chain} ${seq} ${hash}`;
        if (known.has(same)) continue;
        known.add(same);
        const others = links.get(chain) ?? [];
        others.push({ chain, seq, hash, from: open.chain });
        links.set(chain, others);
      }
    },
    found() {
      for (const each of links.values()) each.sort((a, b) => a.seq - b.seq);
      return { opens, links };
    },
  };
}
