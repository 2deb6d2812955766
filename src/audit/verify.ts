import { createReadStream } from 'node:fs';
import type { ChainSource } from './bundle.ts';
import { type Finding, finding, WHOLE } from './finding.ts';
import { auditKeyOf } from './keys.ts';
import { eachLine, type Rest } from './lines.ts';
import { NO_PREV, type SeenRecord } from './record.ts';
import { type Survey, surveyBundle, surveyStore } from './survey.ts';
import { type ChainReport, endChain, endWalk, nextOf, type Walk, walkLine } from './walk.ts';

/** What holds. */
export interface AuditReport {
  /** The public audit key that everything is signed with; `null` of a store without records. */
  readonly key: string | null;
  readonly records: number;
  readonly chains: readonly ChainReport[];
  /** Of a bundle: whose it is and when it was written. */
  readonly serverId: string | null;
  readonly exportedMs: number | null;
}

export type Verdict =
  | { readonly ok: true; readonly report: AuditReport }
  | {
      readonly ok: false;
      /** The first thing that does not hold. */
      readonly finding: Finding;
      /** Records before it that do. */
      readonly records: number;
      /** The key that the bundle names. */
      readonly key: string | null;
    };

export interface VerifyOptions {
  /** The public audit key as its owner gave it, `wbp_…`; without it anybody's signatures hold. */
  readonly key?: string | undefined;
  /** Sees each record that fits; what it says holds only if the verdict is `ok`. */
  readonly onRecord?: (record: SeenRecord, chain: string) => void;
}

/** A bundle, from its beginning each time it is asked for. */
export type BundleSource = () => AsyncIterable<Uint8Array | string>;

const PIECE_BYTES = 1_048_576;

/** The bundle of a file. Reading it throws what the file system says. */
export function bundleFile(path: string): BundleSource {
  return () => createReadStream(path, { highWaterMark: PIECE_BYTES });
}

/**
 * Does a bundle hold, and if not, which record is the first that does not? It is read twice, and never held in
 * memory.
 *
 * @throws what the source throws
 */
export async function verifyBundle(source: BundleSource, options: VerifyOptions = {}): Promise<Verdict> {
  const survey = await surveyBundle(source());
  const { start } = survey;
  if (start === null) return refused(finding('not_a_bundle', WHOLE, 1), 0, null);
  const isOther = options.key !== undefined && options.key !== start.key;
  if (isOther) return refused(finding('wrong_key', WHOLE, 1, `it names ${start.key}`), 0, start.key);
  const walk = newWalk(survey, start.key, options);
  let found: Finding | null = null;
  const rest = await eachLine(source(), (bytes, from, to) => {
    // The first line is known.
    if (walk.lines === 0) walk.lines++;
    else found = walkLine(walk, bytes, from, to);
    return found === null;
  });
  found ??= restOf(walk, rest) ?? endChain(walk) ?? endWalk(walk);
  if (found === null && survey.expected === null) found = finding('wrong_end', WHOLE, walk.lines);
  if (found !== null) return refused(found, walk.records, start.key);
  const { serverId, key, exportedMs } = start;
  return { ok: true, report: { key, records: walk.records, chains: walk.done, serverId, exportedMs } };
}

/**
 * The same for the chains of a store, which may grow meanwhile.
 *
 * @throws StoreError
 */
export async function verifyStore(source: ChainSource, options: VerifyOptions = {}): Promise<Verdict> {
  const survey = await surveyStore(source);
  const walk = newWalk(survey, options.key ?? null, options);
  let found: Finding | null = null;
  for (const { chain } of survey.expected ?? []) {
    const rest = await eachLine(source.read(chain), (bytes, from, to) => {
      found = walkLine(walk, bytes, from, to);
      return found === null;
    });
    found ??= brokenOff(walk, rest) ?? endChain(walk);
    if (found !== null) break;
  }
  found ??= endWalk(walk);
  const { key, records, done } = walk;
  if (found !== null) return refused(found, records, key);
  return { ok: true, report: { key, records, chains: done, serverId: null, exportedMs: null } };
}

function refused(found: Finding, records: number, key: string | null): Verdict {
  return { ok: false, finding: found, records, key };
}

function newWalk(survey: Survey, key: string | null, { onRecord }: VerifyOptions): Walk {
  return {
    survey,
    key,
    publicKey: auditKeyOf(key),
    onRecord,
    done: [],
    ids: new Set(),
    current: null,
    doubt: null,
    lines: 0,
    records: 0,
    ended: false,
  };
}

/** A bundle must end with its last line and a line feed. */
function restOf(walk: Walk, rest: Rest): Finding | null {
  const broken = brokenOff(walk, rest);
  if (broken !== null || walk.ended || walk.doubt !== null) return broken;
  const { current, lines } = walk;
  const last = current === null ? WHOLE : { chain: current.chain, seq: current.seq - 1 };
  return finding(
    'cut_off',
    last,
    lines,
    'nothing stands behind it, and the last line of the bundle is missing',
  );
}

function brokenOff(walk: Walk, { why, cut }: Rest): Finding | null {
  // What was in doubt before comes first.
  if (walk.doubt !== null) return null;
  const line = walk.lines + 1;
  if (why === 'too_long') return finding('too_long', nextOf(walk), line);
  if (cut === '') return null;
  if (walk.ended || cut.startsWith('{"t')) return finding('cut_off', WHOLE, line, 'its last line has no end');
  const isOpen = cut.startsWith(`{"prev":"${NO_PREV.slice(0, 8)}`);
  return finding('cut_off', isOpen ? { chain: null, seq: 0 } : nextOf(walk), line);
}
