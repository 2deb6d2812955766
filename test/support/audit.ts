import { createHash, createSecretKey } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { auditKeys, verifyStore } from '../../src/audit/index.ts';
import type { AuditRecords } from '../../src/store/audit-records.ts';

/** One line of the audit, as JSON.parse has it. */
export type AuditLine = Readonly<Record<string, unknown>>;

/** The text of each chain in a data folder, by its id. */
export function chainFiles(dir: string): ReadonlyMap<string, string> {
  const folder = join(dir, 'audit');
  return new Map(
    readdirSync(folder)
      .sort()
      .map((name) => [name.replace(/\.jsonl$/, ''), readFileSync(join(folder, name), 'utf8')]),
  );
}

/** All whole lines of all chains in a data folder, in their order. */
export function linesIn(dir: string): AuditLine[] {
  return [...chainFiles(dir).values()].flatMap(linesOf);
}

function linesOf(text: string): AuditLine[] {
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as AuditLine);
}

/** The same from any store. */
export async function readAll(records: Pick<AuditRecords, 'chains' | 'read'>): Promise<AuditLine[][]> {
  const chains: AuditLine[][] = [];
  for (const chain of await records.chains()) {
    let text = '';
    for await (const piece of records.read(chain)) text += piece;
    chains.push(linesOf(text));
  }
  return chains;
}

/** SHA-256 as the audit writes it, without the code under test. */
export function digest(text: string): string {
  return createHash('sha256').update(text).digest('base64url');
}

export const TEST_KEYS = auditKeys(createSecretKey(Buffer.from('a master key that only tests have')));

/** @throws with what is wrong, unless every chain holds */
export async function expectVerified(
  records: Pick<AuditRecords, 'chains' | 'read'>,
  key?: string,
): Promise<number> {
  const verdict = await verifyStore(records, { key });
  if (!verdict.ok) throw new Error(verdict.finding.message);
  return verdict.report.records;
}
