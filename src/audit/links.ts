import type { AuditRecords } from '../store/audit-records.ts';
import { type Link, parseLine } from './record.ts';
import { openMembersOf } from './survey.ts';

/** Chains that are looked at, the newest first. Older ones are seen through the links of these. */
const NEWEST = 128;
/** A line of so many links stays far below `AUDIT_LIMITS.maxLineBytes`; more are left to the next process. */
const MAX_LINKS = 256;

/**
 * The last records of the chains that no other one holds fast yet, for the first record of a new chain: a chain that
 * goes missing afterwards, or its end, is missed by whoever reads the link. A chain that goes on after it was linked
 * to is linked to again.
 *
 * @throws StoreError
 */
export async function openEnds(records: Pick<AuditRecords, 'chains' | 'first' | 'last'>): Promise<Link[]> {
  const newest = await records.chains(NEWEST);
  const linked = new Map<string, number>();
  for (const line of await Promise.all(newest.map((chain) => records.first(chain)))) {
    const record = line === null ? null : parseLine(line);
    // What is damaged is named by whoever verifies; here it just says nothing.
    const links = record === null || typeof record === 'string' ? [] : (openMembersOf(record)?.links ?? []);
    for (const { chain, seq } of links) linked.set(chain, Math.max(seq, linked.get(chain) ?? 0));
  }
  const looked = [...new Set([...linked.keys(), ...newest])].sort();
  const ends = await Promise.all(looked.map((chain) => endOf(chain, records)));
  const open = ends.flatMap((end) => (end === null || linked.get(end.chain) === end.seq ? [] : [end]));
  return open.slice(-MAX_LINKS);
}

async function endOf(chain: string, records: Pick<AuditRecords, 'last'>): Promise<Link | null> {
  const line = await records.last(chain);
  const record = line === null ? null : parseLine(line);
  return record === null || typeof record === 'string' ? null : { chain, seq: record.seq, hash: record.hash };
}
