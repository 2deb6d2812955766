import { EXITS, type Exit } from '../exits.ts';
import { paint, print, printable } from '../output.ts';

/** One line of a screen: a step, how it stands, and what there is to say or to do. */
export interface Line {
  readonly step: string;
  readonly state: State;
  readonly detail: string;
}

/** `unknown`: it was not reached, or nothing is told of it. */
export type State = 'ok' | 'warning' | 'refused' | 'unknown';

const SIGNS = {
  ok: ['✓', 'green'],
  warning: ['!', 'yellow'],
  refused: ['✗', 'red'],
  unknown: ['·', 'dim'],
} as const satisfies Record<State, unknown>;

/** What ends within this time is told of as a warning, in milliseconds. */
export const SOON_MS = 7 * 86_400_000;

export const line = (step: string, state: State, detail: string): Line => ({ step, state, detail });

/** Prints the lines, with `json` the document instead, and sets how the process ends. */
export function show(
  lines: readonly Line[],
  verdict: string,
  document: object,
  { json, exit }: { readonly json: boolean | undefined; readonly exit: Exit },
): void {
  const width = Math.max(...lines.map(({ step }) => step.length));
  const rows = lines.map(({ step, state, detail }) => {
    const [sign, style] = SIGNS[state];
    return `${paint(process.stdout, style, sign)} ${step.padEnd(width)}  ${printable(detail)}`;
  });
  print(document, json, [...rows, printable(verdict)].join('\n'));
  process.exitCode = EXITS[exit].exitCode;
}
