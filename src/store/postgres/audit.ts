import type { AuditRecords } from '../audit-records.ts';
import type { Database } from './database.ts';

/** Rows that are looked at for one page, and about how long it may become. */
const PAGE_ROWS = 500;
const PAGE_CHARS = 1_048_576;

/** The primary key decides: two processes cannot go on with one chain, nor one twice. */
const INSERT = {
  name: 'waybill-audit-insert',
  text: 'INSERT INTO waybill.audit (chain, seq, lines) VALUES ($1, $2, $3)',
};
/** From one id to the one before by the index, as far as is asked; DISTINCT would walk over every row. */
const CHAINS = {
  name: 'waybill-audit-chains',
  text: `
    WITH RECURSIVE found AS (
      (SELECT chain FROM waybill.audit ORDER BY chain DESC LIMIT 1)
      UNION ALL
      SELECT (SELECT a.chain FROM waybill.audit a WHERE a.chain < found.chain ORDER BY a.chain DESC LIMIT 1)
      FROM found WHERE found.chain IS NOT NULL
    )
    SELECT chain FROM found WHERE chain IS NOT NULL LIMIT $1`,
};
/** From the row on that holds the line; at least one row. */
const PAGE = {
  name: 'waybill-audit-page',
  text: `
    SELECT seq, lines FROM (
      SELECT seq, lines, sum(length(lines)) OVER (ORDER BY seq) - length(lines) AS before FROM (
        SELECT seq, lines FROM waybill.audit
        WHERE chain = $1 AND seq >= coalesce(
          (SELECT seq FROM waybill.audit WHERE chain = $1 AND seq <= $2 ORDER BY seq DESC LIMIT 1), 0)
        ORDER BY seq LIMIT ${PAGE_ROWS}
      ) AS rows
    ) AS sized
    WHERE before < ${PAGE_CHARS} ORDER BY seq`,
};
const FIRST = {
  name: 'waybill-audit-first',
  text: 'SELECT lines FROM waybill.audit WHERE chain = $1 ORDER BY seq LIMIT 1',
};
const LAST = {
  name: 'waybill-audit-last',
  text: 'SELECT lines FROM waybill.audit WHERE chain = $1 ORDER BY seq DESC LIMIT 1',
};

export function createAuditRecords(db: Database): AuditRecords {
  async function* read(chain: string, fromSeq = 0): AsyncGenerator<string> {
    for (let next = fromSeq; ; ) {
      const before = next;
      for (const row of await db.query(PAGE, [chain, next])) {
        const text = String(row['lines']);
        const lines = linesFrom(text, next - Number(row['seq']));
        next = Math.max(next, Number(row['seq']) + countLines(text));
        if (lines !== '') yield lines;
      }
      if (next === before) return;
    }
  }

  /** The lines that were written together first, or last. */
  async function edge(statement: typeof FIRST, chain: string): Promise<readonly string[]> {
    const lines = (await db.query(statement, [chain]))[0]?.['lines'];
    return lines === undefined ? [] : String(lines).trimEnd().split('\n');
  }

  return {
    async append(chain, fromSeq, lines) {
      await db.query(INSERT, [chain, fromSeq, lines]);
    },
    async chains(newest) {
      // No limit is LIMIT NULL.
      const rows = await db.query(CHAINS, [newest ?? null]);
      return rows.map((row) => String(row['chain'])).toReversed();
    },
    read,
    first: async (chain) => (await edge(FIRST, chain))[0] ?? null,
    last: async (chain) => (await edge(LAST, chain)).at(-1) ?? null,
  };
}

function countLines(text: string): number {
  let count = 0;
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) count++;
  return count;
}

/** Without the first `count` lines. */
function linesFrom(text: string, count: number): string {
  let at = 0;
  for (let n = 0; n < count && at !== text.length; n++) at = text.indexOf('\n', at) + 1;
  return text.slice(at);
}
