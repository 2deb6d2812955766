import type { KeyObject } from 'node:crypto';
import { StoreError } from '../errors/index.ts';
import type { AuditRecords } from '../store/audit-records.ts';
import { holds, sign } from '../wire/ed25519.ts';
import { isObject } from '../wire/index.ts';
import { isChainId } from './chain.ts';
import { type AuditKeys, auditKeyOf } from './keys.ts';
import { hashOf, type Link, objectOf, parseLine } from './record.ts';

/** The chains of a store, as they are read for a bundle. */
export type ChainSource = Pick<AuditRecords, 'chains' | 'read'>;

/** What the last line says of a chain; `seq` and `hash` are those of its last record. */
export interface ChainEnd extends Link {
  readonly records: number;
}

/** The first line of a bundle. */
export interface BundleStart {
  readonly serverId: string;
  /** The public audit key, as text and to be used. */
  readonly key: string;
  readonly publicKey: KeyObject;
  readonly exportedMs: number;
}

export interface BundleOptions {
  readonly source: ChainSource;
  /** Takes a piece of the bundle; the next one comes when it has settled. */
  readonly write: (piece: string) => void | Promise<void>;
  readonly keys: AuditKeys;
  readonly serverId: string;
  readonly nowMs: number;
}

/**
 * Writes all chains of a store as one file that can be verified without the store, piece by piece. The records are
 * copied as they are: whether they hold is for whoever reads the bundle to find out.
 *
 * @returns how many chains and records it has
 * @throws StoreError, and whatever `write` throws
 */
export async function writeBundle(options: BundleOptions): Promise<{ chains: number; records: number }> {
  const { source, write, keys, serverId, nowMs } = options;
  const start = JSON.stringify({
    type: 'bundle',
    v: 1,
    server_id: serverId,
    key: keys.publicText,
    exported_ms: nowMs,
  });
  await write(`${start}\n`);
  const ends: ChainEnd[] = [];
  for (const chain of await source.chains()) {
    const end = await copyChain(chain, source, write);
    if (end !== null) ends.push(end);
  }
  const end = JSON.stringify({ type: 'end', chains: ends });
  const signature = sign(`${start}\n${end}`, keys.privateKey);
  await write(`${end.slice(0, -1)},"signature":"${signature}"}\n`);
  return { chains: ends.length, records: ends.reduce((sum, { records }) => sum + records, 0) };
}

async function copyChain(
  chain: string,
  source: ChainSource,
  write: BundleOptions['write'],
): Promise<ChainEnd | null> {
  let records = 0;
  let last = '';
  for await (const piece of source.read(chain)) {
    if (piece === '') continue;
    if (!piece.endsWith('\n'))
      throw new StoreError(`chain ${chain} was read in pieces that are not whole lines`);
    await write(piece);
    for (let at = piece.indexOf('\n'); at !== -1; at = piece.indexOf('\n', at + 1)) records++;
    last = piece.slice(piece.lastIndexOf('\n', piece.length - 2) + 1, -1);
  }
  if (records === 0) return null;
  const record = parseLine(last);
  // Damaged: that is said by whoever verifies the bundle, who meets the line before this.
  if (typeof record === 'string') return { chain, records, seq: records - 1, hash: hashOf(last) };
  return { chain, records, seq: record.seq, hash: record.hash };
}

/** Reads the first line of a bundle; `null` if it is none. */
export function parseStart(line: string): BundleStart | null {
  const { type, v, server_id: serverId, key, exported_ms: exportedMs } = objectOf(line) ?? {};
  const publicKey = auditKeyOf(key);
  if (type !== 'bundle' || v !== 1 || publicKey === null || typeof key !== 'string') return null;
  if (typeof serverId !== 'string' || typeof exportedMs !== 'number') return null;
  return { serverId, key, publicKey, exportedMs };
}

/** What the last line of a bundle begins with. */
export const END = '{"type":"end"';

const SIGNATURE = /,"signature":"([^"]*)"\}$/;

/**
 * The chains that a bundle had when it was written, from its last line; `null` if the line is none, or if its
 * signature does not hold.
 */
export function parseEnd(line: string, startLine: string, publicKey: KeyObject): readonly ChainEnd[] | null {
  const [tail, signature] = SIGNATURE.exec(line) ?? [];
  if (tail === undefined || signature === undefined) return null;
  const signed = `${startLine}\n${line.slice(0, -tail.length)}}`;
  if (!holds(signed, signature, publicKey)) return null;
  const chains = objectOf(line)?.['chains'];
  return Array.isArray(chains) && chains.every(isChainEnd) ? chains : null;
}

function isChainEnd(value: unknown): value is ChainEnd {
  return isLink(value) && 'records' in value && Number.isSafeInteger(value.records);
}

/** Is this a reference to a record? */
export function isLink(value: unknown): value is Link {
  if (!isObject(value)) return false;
  const { chain, seq, hash } = value;
  return isChainId(chain) && typeof seq === 'number' && Number.isSafeInteger(seq) && typeof hash === 'string';
}
