import { inspect, styleText } from 'node:util';
import { EXITS, type Failure } from './exits.ts';

type Style = Parameters<typeof styleText>[0];

/** Where text goes that a person may be looking at. */
export type Screen = Pick<NodeJS.WriteStream, 'isTTY' | 'columns' | 'write' | 'hasColors'>;

const DEFAULT_COLUMNS = 96;

/** Colour, only where somebody sees it: not into files and pipes, not with NO_COLOR. */
export function paint(stream: Screen, style: Style, text: string): string {
  return stream.isTTY && stream.hasColors() ? styleText(style, text) : text;
}

/** Width of the terminal; where there is none, or it does not say, what fits most. */
export function columnsOf({ columns }: Screen): number {
  return columns > 0 ? columns : DEFAULT_COLUMNS;
}

/** Text of somebody else, made safe for a terminal: in one line, without control characters. */
export function printable(text: string): string {
  return text
    .replace(/\s+/g, ' ')
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '?')
    .trim();
}

/** The one document of a command on stdout: one line with `--json`, else in a form for people. */
export function print(value: object, json: boolean | undefined, human?: string): void {
  const text = json === true ? JSON.stringify(value) : (human ?? JSON.stringify(value, null, 2));
  process.stdout.write(`${text}\n`);
}

/** A line beside the result, for a person. */
export function note(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** Says why a command failed, in one line, and returns its exit code. */
export function report(failure: Failure, json: boolean): number {
  const { code, message, result, text } = failure;
  if (json) print({ error: { code, message: withoutPasswords(message), result } }, true);
  else note(`${paint(process.stderr, 'red', 'waybill:')} ${withoutPasswords(printable(text))}`);
  if (isDebug()) note(withoutPasswords(inspect(failure.cause ?? failure)));
  return EXITS[failure.exit].exitCode;
}

/** A URL may have been typed where none belongs, and be repeated by whoever refuses it. */
function withoutPasswords(text: string): string {
  return text
    .replace(/\b((?:postgres(?:ql)?|rediss?):\/\/)[^\s'"]*@/gi, '$1…@')
    .replace(/([?&]password=)[^\s'"&]*/gi, '$1…');
}

export function isDebug(): boolean {
  return (process.env['WAYBILL_DEBUG'] ?? '') !== '';
}

/** Why a job ended without success: `code: message` without the code, for its status stands beside it. */
export function reasonText(error: string): string {
  return printable(error.slice(error.indexOf(':') + 1));
}

/** Rows as columns, two spaces apart; the last column is as long as it likes. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) row.forEach((cell, i) => (widths[i] = Math.max(widths[i] ?? 0, cell.length)));
  return rows
    .map((row) =>
      row
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** `1 record`, `2 records`. */
export function countText(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

/** A word as a shell reads it. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

/** A time in milliseconds since 1970, for people. */
export function dateText(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19).replace('T', ' ')} UTC`;
}
