import { INSTALL_LIMITS } from '../../limits.ts';

/** A value in a JSON text: where it stands. Offsets count UTF-16 units; `end` is behind the last one. */
export interface Span {
  readonly start: number;
  readonly end: number;
  /** Of an object, in the order of the text; of anything else null. */
  readonly members: readonly Member[] | null;
}

export interface Member {
  readonly name: string;
  /** Of the name, with its quotes. */
  readonly start: number;
  readonly value: Span;
}

/** The text is not JSON (RFC 8259); the message says what is wrong and where, and quotes nothing of it. */
export class JsonTextError extends Error {
  override readonly name = 'JsonTextError';
  /** It holds a comment, which some programs allow. */
  readonly isComment: boolean;

  constructor(text: string, at: number, problem: string) {
    const before = text.slice(0, at).split('\n');
    super(`line ${before.length}, column ${(before.at(-1)?.length ?? 0) + 1}: ${problem}`);
    this.isComment = text.startsWith('//', at) || text.startsWith('/*', at);
  }
}

const SPACE = /[ \t\n\r]*/y;
/** All characters but the quote, the backslash and controls. */
const PLAIN = /[ !#-[\]-\u{10ffff}]*/uy;
const ESCAPE = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;
const ATOM = /true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;

/**
 * Finds where each member of each object stands, so that one can be changed and every other byte kept:
 * reading and writing a text anew would lose digits, doubled names and its layout.
 *
 * @throws JsonTextError
 */
export function parseSpans(text: string): Span {
  let at = 0;

  const fail = (problem: string): never => {
    throw new JsonTextError(text, at, at >= text.length ? 'the text ends too early' : problem);
  };
  const skip = (): void => {
    SPACE.lastIndex = at;
    SPACE.exec(text);
    at = SPACE.lastIndex;
  };
  /** The text of a token that stands here; null: something else does. */
  const take = (pattern: RegExp): string | null => {
    pattern.lastIndex = at;
    const found = pattern.exec(text)?.[0] ?? null;
    if (found !== null) at = pattern.lastIndex;
    return found;
  };
  /** The text of a string, with its quotes; not by one pattern, whose stack a long string would overflow. */
  const takeString = (): string | null => {
    const start = at;
    if (text[at] !== '"') return null;
    at++;
    do take(PLAIN);
    while (take(ESCAPE) !== null);
    if (text[at] !== '"') fail('expected the end of a string');
    at++;
    return text.slice(start, at);
  };
  const accept = (character: string): boolean => {
    skip();
    if (text[at] !== character) return false;
    at++;
    return true;
  };

  function value(depth: number): Span {
    if (depth > INSTALL_LIMITS.maxConfigDepth) fail('it is nested too deeply');
    skip();
    const start = at;
    if (accept('{')) return { start, members: members(depth), end: at };
    if (accept('[')) items(depth);
    else if (takeString() === null && take(ATOM) === null) fail('expected a value');
    return { start, members: null, end: at };
  }

  function members(depth: number): readonly Member[] {
    const found: Member[] = [];
    if (accept('}')) return found;
    do {
      skip();
      const start = at;
      const name = takeString() ?? fail('expected a name in double quotes');
      if (!accept(':')) fail('expected a colon');
      // A JSON string by its pattern.
      found.push({ name: JSON.parse(name) as string, start, value: value(depth + 1) });
    } while (accept(','));
    if (!accept('}')) fail('expected a comma or }');
    return found;
  }

  function items(depth: number): void {
    if (accept(']')) return;
    do value(depth + 1);
    while (accept(','));
    if (!accept(']')) fail('expected a comma or ]');
  }

  const root = value(0);
  skip();
  if (at < text.length) fail('something stands behind the value');
  return root;
}
