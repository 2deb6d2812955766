import type { AuditRecords } from '../../store/audit-records.ts';
import type { Screen } from '../output.ts';
import { progressView } from '../progress-view.ts';

/** Shows on a terminal how much is done; elsewhere nothing. */
export interface Counter {
  add(count: number): void;
  /** Takes the bar away. */
  end(): void;
}

const NOBODY_LOOKS: Counter = { add() {}, end() {} };
/** Far enough apart to cost nothing. */
const STEPS = 1_000;
const MIB = 1_048_576;

interface Whole {
  readonly total: number;
  readonly unit: 'records' | 'bytes';
}

export function counterOn(stream: Screen, what: string, { total, unit }: Whole): Counter {
  if (!stream.isTTY) return NOBODY_LOOKS;
  const view = progressView(stream);
  const shown = (count: number): number => (unit === 'bytes' ? Math.ceil(count / MIB) : count);
  const message = unit === 'bytes' ? 'MiB' : unit;
  let completed = 0;
  let nextStep = 0;
  const add = (count: number): void => {
    completed += count;
    if (completed < nextStep) return;
    nextStep = completed + total / STEPS;
    view.update(what, { completed: shown(completed), total: shown(total), message });
  };
  add(0);
  return { add, end: () => view.end() };
}

/** How many records a store has now. */
export async function countRecords(audit: AuditRecords): Promise<Whole> {
  const { parseLine } = await import('../../audit/index.ts');
  let total = 0;
  for (const chain of await audit.chains()) {
    const last = parseLine((await audit.last(chain)) ?? '');
    if (typeof last !== 'string') total += last.seq + 1;
  }
  return { total, unit: 'records' };
}

/** As many as the text has line feeds. */
export function countLines(text: string): number {
  let count = 0;
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) count++;
  return count;
}
