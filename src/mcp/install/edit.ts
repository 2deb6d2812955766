import { SetupError } from '../../errors/index.ts';
import { isOurs } from './entry.ts';
import { JsonTextError, type Member, parseSpans, type Span } from './json-text.ts';

/** What is wanted of one entry: to be there with this value, or to be gone. */
export interface Wish {
  /** Member of the configuration that holds the entries. */
  readonly member: string;
  readonly name: string;
  /** null: it is to be removed. */
  readonly entry: object | null;
  /** Also an entry of this name that does not start waybill. */
  readonly replace: boolean;
}

export interface Edit {
  /** The whole text afterwards, the same where nothing is to be done. */
  readonly text: string;
  readonly action: 'add' | 'replace' | 'remove' | 'none';
  /** What stood there before, as it was written; null: nothing. */
  readonly before: string | null;
}

/**
 * Changes one entry of a configuration and keeps every other character of it.
 *
 * @param text `''` for a file that does not exist
 * @param file its path, for messages
 * @throws SetupError when the text is no JSON object, has comments, or has another's entry of that name
 */
export function editConfig(text: string, file: string, wish: Wish): Edit {
  const { member, name, entry } = wish;
  const bom = text.startsWith('\ufeff') ? '\ufeff' : '';
  const body = text.trim() === '' ? '{}' : text.slice(bom.length);
  const style = styleOf(text.trim() === '' ? '\n' : body);
  const group = only(objectOf(parse(body, file, wish), file).members, member, file);
  const done = (changed: string, action: Edit['action'], before: string | null): Edit => ({
    text: bom + changed + (text.trim() === '' ? '\n' : ''),
    action,
    before,
  });
  if (group === undefined) {
    if (entry === null) return { text, action: 'none', before: null };
    const root = parseSpans(body);
    return done(insert(body, root, member, { [name]: entry }, 1, style), 'add', null);
  }
  const entries = objectOf(group.value, file, member);
  const found = only(entries.members, name, file);
  if (found === undefined) {
    if (entry === null) return { text, action: 'none', before: null };
    return done(insert(body, entries, name, entry, 2, style), 'add', null);
  }
  const before = body.slice(found.value.start, found.value.end);
  const value: unknown = JSON.parse(before);
  if (entry !== null && JSON.stringify(value) === JSON.stringify(entry))
    return { text, action: 'none', before };
  if (!isOurs(value) && !wish.replace) {
    throw new SetupError(
      `${file} has an entry ${name} that does not start waybill: choose another --name, or add --replace`,
    );
  }
  if (entry === null) return done(remove(body, entries.members, found), 'remove', before);
  const { start, end } = found.value;
  return done(body.slice(0, start) + printed(entry, 2, style) + body.slice(end), 'replace', before);
}

function parse(text: string, file: string, { member, name, entry }: Wish): Span {
  try {
    return parseSpans(text);
  } catch (error) {
    if (!(error instanceof JsonTextError)) throw error;
    if (!error.isComment)
      throw new SetupError(`${file} is not valid JSON, ${error.message}`, { cause: error });
    const what =
      entry === null ? `remove ${name} from` : `add ${JSON.stringify({ [name]: entry }).slice(1, -1)} to`;
    throw new SetupError(
      `${file} has comments, which waybill does not edit (${error.message}): ${what} "${member}" by hand`,
      { cause: error },
    );
  }
}

type ObjectSpan = Span & { readonly members: readonly Member[] };

function objectOf(span: Span, file: string, member?: string): ObjectSpan {
  const { members } = span;
  if (members !== null) return { ...span, members };
  const what =
    member === undefined ? 'is JSON, but not an object' : `has a member ${member} that is not an object`;
  throw new SetupError(`${file} ${what}: correct it first`);
}

/** @throws SetupError for a name that stands there twice: which of the two counts nobody knows */
function only(members: readonly Member[], name: string, file: string): Member | undefined {
  const [first, second] = members.filter((each) => each.name === name);
  if (second === undefined) return first;
  throw new SetupError(`${file} has the member ${name} twice: take one of the two away`);
}

/** How a text is laid out; `null`: all in one line. */
interface Style {
  readonly newline: string;
  readonly indent: string;
}

function styleOf(text: string): Style | null {
  if (!text.includes('\n')) return null;
  return { newline: text.includes('\r\n') ? '\r\n' : '\n', indent: /\n([ \t]+)"/.exec(text)?.[1] ?? '  ' };
}

function printed(value: unknown, depth: number, style: Style | null): string {
  if (style === null) return JSON.stringify(value);
  const lines = JSON.stringify(value, null, style.indent).split('\n');
  return lines.join(style.newline + style.indent.repeat(depth));
}

/** Puts a member behind the last one of an object. */
function insert(
  text: string,
  { end, members }: Span,
  name: string,
  value: unknown,
  depth: number,
  style: Style | null,
): string {
  const last = members?.at(-1)?.value.end;
  const colon = style === null ? ':' : ': ';
  const member = `${JSON.stringify(name)}${colon}${printed(value, depth, style)}`;
  const line = style === null ? '' : style.newline + style.indent.repeat(depth);
  if (last !== undefined) return `${text.slice(0, last)},${line}${member}${text.slice(last)}`;
  // An empty object: what stood between its braces was space.
  const open = text.lastIndexOf('{', end - 1);
  const close = style === null ? '' : style.newline + style.indent.repeat(depth - 1);
  return `${text.slice(0, open + 1)}${line}${member}${close}${text.slice(end - 1)}`;
}

/** Takes a member away, with the comma that it needed. */
function remove(text: string, members: readonly Member[], gone: Member): string {
  const at = members.indexOf(gone);
  const [previous, next] = [members[at - 1], members[at + 1]];
  if (next !== undefined) return text.slice(0, gone.start) + text.slice(next.start);
  if (previous !== undefined) return text.slice(0, previous.value.end) + text.slice(gone.value.end);
  const open = text.lastIndexOf('{', gone.start);
  return text.slice(0, open + 1) + text.slice(text.indexOf('}', gone.value.end));
}
