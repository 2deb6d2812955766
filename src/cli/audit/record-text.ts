import type { Shown } from './reader.ts';
import { dateText, paint, printable, type Screen } from '../output.ts';

/** Records of the audit, one line each. */

/** What stands in the columns between the time and the place. */
interface Columns {
  readonly client: string;
  readonly what: string;
  readonly outcome: string;
  /** Nothing bad, as far as one record tells. */
  readonly isGood: boolean;
  readonly more: readonly string[];
}

type Members = Shown['members'];

const GOOD: ReadonlySet<string> = new Set(['ok', 'accepted', 'running', 'done', 'queued', 'succeeded']);
/** Enough to tell keys apart. */
const KEY_CHARS = 8;
/** Lines that are printed as they come cannot know how wide the later ones will be. */
const WIDTHS = [12, 18, 12];

const text = (value: unknown): string =>
  typeof value === 'string' || typeof value === 'number' ? printable(String(value)) : '';

const COLUMNS: Readonly<Record<string, (members: Members) => Columns>> = {
  call: ({ client, tool, outcome, job, key }) => ({
    client: text(client),
    what: text(tool),
    outcome: text(outcome),
    isGood: GOOD.has(text(outcome)),
    more: [text(job), `key ${text(key).slice(0, KEY_CHARS)}`],
  }),
  job: ({ client, tool, state, attempt, job }) => ({
    client: text(client),
    what: text(tool),
    outcome: text(state),
    isGood: GOOD.has(text(state)),
    more: [text(job), attempt === undefined ? '' : `attempt ${text(attempt)}`],
  }),
  refusals: ({ client, count }) => ({
    client: text(client),
    what: 'refusals',
    outcome: 'counted',
    isGood: false,
    more: [`${text(count)} without a record of their own`],
  }),
  open: ({ server_id: serverId, links }) => ({
    client: '-',
    what: 'chain opened',
    outcome: '',
    isGood: true,
    more: [`server id ${text(serverId)}`, `links to ${Array.isArray(links) ? links.length : 0}`],
  }),
  close: () => ({ client: '-', what: 'chain closed', outcome: '', isGood: true, more: ['signed'] }),
  head: () => ({ client: '-', what: 'head', outcome: '', isGood: true, more: ['signed'] }),
  damaged: () => ({
    client: '-',
    what: 'not a record',
    outcome: 'damaged',
    isGood: false,
    more: ['see "waybill audit verify"'],
  }),
};

/** One line without its end; coloured on a terminal. */
export function recordText({ chain, seq, ms, type, members }: Shown, screen: Screen): string {
  const columns = COLUMNS[type]?.(members) ?? {
    client: '-',
    what: printable(type),
    outcome: '',
    isGood: true,
    more: [],
  };
  const { client, what, outcome, isGood, more } = columns;
  const [first, second, third] = [client, what, outcome].map((cell, i) => cell.padEnd(WIDTHS[i] ?? 0));
  const cells = [dateText(ms), first, second, isGood ? third : paint(screen, 'red', third ?? '')];
  return [...cells, ...more.filter((cell) => cell !== ''), `${chain}:${seq}`].join('  ');
}
