import { setTimeout as sleep } from 'node:timers/promises';
import { Client as Connection } from 'pg';
import type { Journal, Story } from './journal.ts';

/** A job as the database has it. */
export interface Row {
  readonly id: string;
  readonly client_id: string;
  readonly request_id: string;
  readonly state: string;
  readonly open: boolean;
  readonly revision: number;
  readonly fence: number;
  readonly attempt: number;
  readonly updated_ms: number;
  readonly partial: { readonly fence: number } | null;
  readonly result: unknown;
  readonly error: string | null;
}

/** Reads the records behind the servers' backs, during the run too. */
export interface Audit {
  /** Stops looking, and reads every job once more. */
  end(): Promise<readonly Row[]>;
}

/** How often the jobs are looked at that are open or have changed lately. */
const LOOK_MS = 700;
const LATELY_MS = 15_000;
const ANSWER_MS = 5_000;

const COLUMNS =
  'id, client_id, request_id, state, open, revision, fence, attempt, partial, result, error, updated_ms';

export function startAudit(url: string, journal: Journal, over: AbortSignal): Audit {
  const known = new Map<string, Row>();
  let stopped = false;

  async function look(where: string, values: unknown[] = []): Promise<Row[]> {
    const connection = new Connection({
      connectionString: url,
      query_timeout: ANSWER_MS,
      connectionTimeoutMillis: ANSWER_MS,
    });
    // It may break while nobody asks.
    connection.on('error', () => {});
    try {
      await connection.connect();
      const sql = `SELECT ${COLUMNS} FROM waybill.requests WHERE id IS NOT NULL AND ${where}`;
      const { rows } = await connection.query(sql, values);
      return rows.map(toRow);
    } finally {
      // One that hangs is not waited for.
      await Promise.race([connection.end().catch(() => {}), sleep(1_000)]);
    }
  }

  async function lookOn(): Promise<void> {
    while (!stopped && !over.aborted) {
      const lately = Date.now() - LATELY_MS;
      // The database may be gone.
      const rows = await look('(open OR updated_ms > $1)', [lately]).catch(() => []);
      for (const row of rows) compare(row);
      journal.count('looks at the records');
      await sleep(LOOK_MS);
    }
  }

  function compare(row: Row): void {
    const before = known.get(row.id);
    known.set(row.id, row);
    const faults = faultsOf(row, before);
    const lines = [before, row].flatMap((each) => (each === undefined ? [] : [shown(each)]));
    const story: Story = { requestId: row.request_id, jobId: row.id, lines };
    for (const fault of faults) journal.violate(`the record: ${fault}`, story);
  }

  const looking = lookOn();
  return {
    async end() {
      stopped = true;
      await looking;
      const rows = await look('true');
      for (const row of rows) compare(row);
      const found = new Set(rows.map(({ id }) => id));
      for (const id of known.keys()) {
        if (!found.has(id)) journal.violate('a record is gone', { requestId: '', jobId: id, lines: [] });
      }
      return rows;
    },
  };
}

/** What may not be, whatever happens. */
function faultsOf(row: Row, before: Row | undefined): string[] {
  const from = row.partial?.fence ?? 0;
  const rules: readonly (readonly [boolean, string])[] = [
    [from <= row.fence, `progress of fence ${from}, the record is at ${row.fence}`],
    [row.open === (row.state === 'queued' || row.state === 'running'), `open is ${row.open}`],
    ...(before === undefined ? [] : rulesOfChange(row, before)),
  ];
  return rules.flatMap(([holds, fault]) => (holds ? [] : [fault]));
}

function rulesOfChange(row: Row, before: Row): (readonly [boolean, string])[] {
  const from = row.partial?.fence ?? 0;
  const fromBefore = before.partial?.fence ?? 0;
  return [
    [before.open || shown(row) === shown(before), 'it changed after it had ended'],
    [row.revision >= before.revision, 'its revision went back'],
    [row.fence >= before.fence, 'its fence went back'],
    [from >= fromBefore, `progress of fence ${from} after progress of fence ${fromBefore}`],
    [row.revision > before.revision || shown(row) === shown(before), 'it changed, and its revision did not'],
  ];
}

function shown(row: Row): string {
  return JSON.stringify(row);
}

/** JSON is text in the records. */
function toRow({ partial, result, error, updated_ms, ...row }: Record<string, unknown>): Row {
  const parsed = (text: unknown): unknown => (typeof text === 'string' ? JSON.parse(text) : null);
  // As selected; `partial` is kept as {"partial": …}.
  return {
    ...row,
    updated_ms: Number(updated_ms),
    partial: (parsed(partial) as { partial: unknown } | null)?.partial ?? null,
    result: parsed(result),
    error: parsed(error),
  } as unknown as Row;
}
