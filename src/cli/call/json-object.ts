import { MESSAGE_LIMITS } from '../../limits.ts';
import { canonicalize, isObject, type JsonObject, parseJson } from '../../wire/index.ts';
import { scan } from '../../wire/scan.ts';
import { Failure, wrongUse } from '../exits.ts';

/**
 * A JSON object of the command line.
 *
 * @param what names it in the plural
 * @param example shows one
 * @throws Failure `wrongUse` that quotes nothing of the text
 */
export function parseObject(json: string, what: string, example: string): JsonObject {
  const refuse = (problem: string) => new Failure('wrongUse', 'usage', `the ${what} ${problem}`);
  const like = `give one object, like '${example}'`;
  let value: unknown;
  try {
    value = parseJson(json);
  } catch (error) {
    // The parser's own message quotes the text, which may hold a secret.
    const where = /at position \d+/.exec(String(error))?.[0] ?? 'at its end';
    throw refuse(`are not JSON (${where}): ${like}`);
  }
  if (!isObject(value)) throw refuse(`are not a JSON object: ${like}`);
  if (hasDoubledName(json, value)) throw refuse('name a member twice: give each name once');
  // It has come from JSON.
  return value as JsonObject;
}

/** JSON.parse keeps the last of them; the text has more members than what came of it. */
function hasDoubledName(json: string, args: object): boolean {
  const count = { members: -1 };
  try {
    canonicalize({ args }, count);
  } catch (error) {
    throw wrongUse(error);
  }
  const noLimit = Number.POSITIVE_INFINITY;
  return count.members !== scan(json, { ...MESSAGE_LIMITS, maxDepth: noLimit, maxMembers: noLimit });
}
