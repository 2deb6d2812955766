import { isObject } from './json.ts';
import { endOfString } from './scan.ts';

const TAB = 9;
const LINE_FEED = 10;
const RETURN = 13;
const SPACE = 32;
const COLON = 58;

/**
 * JSON.parse, for texts whose names others choose. V8 13.6 (Node 24.21) may read a name with an escape as another one
 * that objects seen before had in its place, if that one begins with the same characters as the text: once `{"\\":1}`
 * was read, `{"\u0062":1}` has a member `\` and none named `b`. Texts with such names are read with numbers in place
 * of all names.
 *
 * @throws SyntaxError
 */
export function parseJson(text: string): unknown {
  if (!hasEscapedName(text)) return JSON.parse(text);
  const names: string[] = [];
  let numbered: unknown;
  try {
    numbered = JSON.parse(withNumbers(text, names));
  } catch {
    // Its error speaks of the text itself.
    return JSON.parse(text);
  }
  return named(numbered, names);
}

function hasEscapedName(text: string): boolean {
  let escape = text.indexOf('\\');
  while (escape !== -1) {
    // What is escaped is no end.
    const end = endOfString(text, escape + 1);
    if (isName(text, end)) return true;
    escape = text.indexOf('\\', end);
  }
  return false;
}

function withNumbers(text: string, names: string[]): string {
  let numbered = '';
  let copied = 0;
  let start = text.indexOf('"');
  while (start !== -1) {
    const end = endOfString(text, start);
    if (isName(text, end)) {
      numbered += `${text.slice(copied, start)}"${names.length}"`;
      copied = end + 1;
      // A text between two quotes, or no JSON.
      names.push(JSON.parse(text.slice(start, copied)) as string);
    }
    start = text.indexOf('"', end + 1);
  }
  return numbered + text.slice(copied);
}

function isName(text: string, end: number): boolean {
  for (let at = end + 1; ; at++) {
    const code = text.charCodeAt(at);
    if (code !== SPACE && code !== LINE_FEED && code !== RETURN && code !== TAB) return code === COLON;
  }
}

/** Changes arrays where they are: nobody else has them. */
function named(value: unknown, names: readonly string[]): unknown {
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) {
      const item: unknown = value[i];
      if (typeof item === 'object') value[i] = named(item, names);
    }
    return value;
  }
  if (!isObject(value)) return value;
  const members = Object.entries(value);
  // Members are counted before a text is parsed, objects without any are not.
  if (members.length === 0) return value;
  return Object.fromEntries(members.map(([number, member]) => [names[Number(number)], named(member, names)]));
}
