import { CONNECT_LIMITS } from '../../limits.ts';
import { canonicalize, isObject } from '../../wire/index.ts';
import { type Definitions, isSame } from './definition.ts';

/** How one tool differs from what was approved. */
export interface ToolChange {
  readonly tool: string;
  readonly kind: 'new' | 'changed' | 'removed';
  /** Every member that differs; none of a removed tool. */
  readonly members: readonly MemberChange[];
}

export interface MemberChange {
  /** Names from the definition down, such as `['inputSchema', 'properties', 'numbers']`. */
  readonly path: readonly string[];
  /** Absent: the member is new. */
  readonly old?: unknown;
  /** Absent: the member is gone. */
  readonly new?: unknown;
}

/** What differs, in the order of tools and members. */
export function diff(approved: Definitions, offered: Definitions): readonly ToolChange[] {
  const names = [...new Set([...approved.keys(), ...offered.keys()])].sort();
  return names.flatMap((tool): ToolChange[] => {
    const [before, now] = [approved.get(tool), offered.get(tool)];
    if (now === undefined) return [{ tool, kind: 'removed', members: [] }];
    if (before === undefined) return [{ tool, kind: 'new', members: membersOf({}, now, []) }];
    return isSame(before, now) ? [] : [{ tool, kind: 'changed', members: membersOf(before, now, []) }];
  });
}

function membersOf(before: object, now: object, path: readonly string[]): MemberChange[] {
  const a = new Map<string, unknown>(Object.entries(before));
  const b = new Map<string, unknown>(Object.entries(now));
  const names = [...new Set([...a.keys(), ...b.keys()])].sort();
  return names.flatMap((name) => {
    const here = [...path, name];
    if (!a.has(name)) return [{ path: here, new: b.get(name) }];
    if (!b.has(name)) return [{ path: here, old: a.get(name) }];
    const old = a.get(name);
    const next = b.get(name);
    if (isObject(old) && isObject(next)) return membersOf(old, next, here);
    return textOf(old) === textOf(next) ? [] : [{ path: here, old, new: next }];
  });
}

const MARKS = { new: '+', changed: '~', removed: '-' } as const;

/** The same for a person: a line for each tool and each of its members. Texts are cut around what differs. */
export function diffLines(changes: readonly ToolChange[]): readonly string[] {
  const lines = changes.flatMap(({ tool, kind, members }) => [
    `${MARKS[kind]} ${visible(tool)}: ${kind}`,
    ...members.map((member) => `    ${memberLine(member)}`),
  ]);
  const { maxDiffLines } = CONNECT_LIMITS;
  if (lines.length <= maxDiffLines) return lines;
  return [...lines.slice(0, maxDiffLines), `… and ${lines.length - maxDiffLines} lines more`];
}

function memberLine(change: MemberChange): string {
  const path = shorten(visible(change.path.join('.')), 0);
  if (!('old' in change)) return `${path}: added ${shorten(textOf(change.new), 0)}`;
  if (!('new' in change)) return `${path}: removed ${shorten(textOf(change.old), 0)}`;
  const [old, now] = [textOf(change.old), textOf(change.new)];
  const from = firstDifference(old, now);
  return `${path}: ${shorten(old, from)} → ${shorten(now, from)}`;
}

/** A value in one line in which every character shows: an invisible one may be an instruction to a model. */
function textOf(value: unknown): string {
  return visible(canonicalize(value));
}

/** Control characters, odd spaces, and all that shows as nothing, as `\u{…}`. */
function visible(text: string): string {
  return text.replace(
    /(?! )[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}]/gu,
    (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`,
  );
}

function firstDifference(a: string, b: string): number {
  let at = 0;
  while (at < a.length && a[at] === b[at]) at++;
  return at;
}

/** At most so many characters, beginning a little before the one that matters, with what was left out counted; a pair that is cut shows as U+FFFD. */
function shorten(text: string, from: number): string {
  const { maxDiffChars } = CONNECT_LIMITS;
  if (text.length <= maxDiffChars) return text;
  const begin = Math.max(0, Math.min(from - maxDiffChars / 8, text.length - maxDiffChars));
  const end = begin + maxDiffChars;
  const rest = text.length - end;
  return `${begin > 0 ? `…${begin}…` : ''}${text.slice(begin, end).toWellFormed()}${rest > 0 ? `…${rest} more` : ''}`;
}
