import type { JsonSchema } from '../tools/index.ts';
import { isObject, type JsonObject, type JsonValue } from '../wire/json.ts';

/** An argument that arrives as `Mcp-Param-*` too (2026-07-28, basic/transports, “Custom Headers”). */
export interface HeaderRule {
  /** In lower case. */
  readonly header: string;
  readonly path: readonly string[];
}

const ANNOTATION = 'x-mcp-header';
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const PRIMITIVES: ReadonlySet<unknown> = new Set(['string', 'integer', 'boolean']);

/**
 * The arguments of a tool that are marked with `x-mcp-header`.
 *
 * @throws TypeError for a mark that the specification forbids
 */
export function headerRules(inputSchema: JsonSchema): readonly HeaderRule[] {
  // Most tools have none, and none of their schemas need be walked.
  if (!JSON.stringify(inputSchema).includes(`"${ANNOTATION}"`)) return [];
  const rules: HeaderRule[] = [];
  collect(inputSchema, [], true, rules);
  const names = rules.map(({ header }) => header);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw new TypeError(`${ANNOTATION}: two parameters share the header ${twice}`);
  return rules;
}

/** @param reachable are we on a chain of nothing but `properties`? */
function collect(schema: unknown, path: readonly string[], reachable: boolean, rules: HeaderRule[]): void {
  if (Array.isArray(schema)) for (const each of schema) collect(each, path, false, rules);
  if (!isObject(schema)) return;
  const name = schema[ANNOTATION];
  if (name !== undefined) rules.push(ruleOf(name, schema, path, reachable));
  for (const [key, value] of Object.entries(schema)) {
    if (key !== 'properties' || !isObject(value)) {
      collect(value, path, false, rules);
      continue;
    }
    for (const [property, each] of Object.entries(value))
      collect(each, [...path, property], reachable, rules);
  }
}

function ruleOf(name: unknown, schema: object, path: readonly string[], reachable: boolean): HeaderRule {
  const where = `${ANNOTATION} of ${path.join('.') || 'the whole'}`;
  if (typeof name !== 'string' || !TOKEN.test(name))
    throw new TypeError(`${where}: must be a name that HTTP headers may have`);
  if (!reachable || path.length === 0)
    throw new TypeError(`${where}: may only stand below a chain of properties`);
  const type = 'type' in schema ? schema.type : undefined;
  if (!PRIMITIVES.has(type))
    throw new TypeError(`${where}: only strings, integers and booleans may have one`);
  return { header: `mcp-param-${name.toLowerCase()}`, path };
}

/** Why headers and arguments do not agree, or null. */
export function paramMismatch(
  rules: readonly HeaderRule[],
  args: JsonObject,
  header: (name: string) => string | undefined,
): string | null {
  for (const { header: name, path } of rules) {
    const problem = mismatch(name, valueAt(args, path), header(name));
    if (problem !== null) return problem;
  }
  return null;
}

function mismatch(name: string, value: JsonValue | undefined, raw: string | undefined): string | null {
  if (value === undefined || value === null)
    return raw === undefined ? null : `${name} is there, and its argument is not`;
  if (raw === undefined) return `${name} is missing`;
  const text = headerText(raw);
  if (text === null) return `${name} holds characters that a header may not`;
  // 42 and 42.0 are one number; 0x2a is none. Of all others the text is what JSON writes, a string unquoted.
  const plain = typeof value === 'string' ? value : JSON.stringify(value);
  const same = typeof value === 'number' ? DECIMAL.test(text) && Number(text) === value : text === plain;
  return same ? null : `${name} differs from its argument`;
}

const DECIMAL = /^-?\d+(\.\d+)?$/;

function valueAt(args: JsonObject, path: readonly string[]): JsonValue | undefined {
  let value: JsonValue | undefined = args;
  for (const step of path) {
    if (!isObject(value) || !Object.hasOwn(value, step)) return undefined;
    value = value[step];
  }
  return value;
}

const ENCODED = /^=\?base64\?([A-Za-z0-9+/]*={0,2})\?=$/;

/** The value of a header, decoded if it is Base64 between its marks; null if it is neither that nor plain. */
export function headerText(raw: string): string | null {
  const encoded = ENCODED.exec(raw)?.[1];
  if (encoded === undefined) {
    if (raw.startsWith('=?base64?') && raw.endsWith('?=')) return null;
    return /^[\t\x20-\x7e]*$/.test(raw) ? raw : null;
  }
  const bytes = Buffer.from(encoded, 'base64');
  if (bytes.toString('base64') !== encoded) return null;
  const text = bytes.toString('utf8');
  return Buffer.from(text, 'utf8').equals(bytes) ? text : null;
}
