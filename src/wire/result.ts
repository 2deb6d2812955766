import type { MessageLimits } from '../limits.ts';
import { canonicalize } from './canonical-json.ts';
import type { JsonObject } from './json.ts';
import { parseJson } from './parse-json.ts';

/** What a response holds beside its result; its two ids have at most 128 characters each. */
const ENVELOPE_BYTES = 640;
const ENVELOPE_MEMBERS = 8;

const utf8 = new TextEncoder();

/**
 * A copy of a value that can be the `result` of a message: exactly what the other side will read.
 *
 * @throws CanonicalJsonError, RangeError when no message can carry it
 */
export function asResult(value: object, limits: MessageLimits): JsonObject {
  return readResult(resultText(value, limits));
}

/** The first half of `asResult`, for who lets others work in between. @throws CanonicalJsonError, RangeError */
export function resultText(value: object, limits: MessageLimits): string {
  const count = { members: ENVELOPE_MEMBERS };
  // Inside a message it is nested one deeper than by itself.
  const text = canonicalize({ result: value }, count);
  if (count.members > limits.maxMembers)
    throw new RangeError(`it has more than ${limits.maxMembers} members`);
  const maxBytes = limits.maxMessageBytes - ENVELOPE_BYTES;
  // UTF-8 takes at most three bytes for a UTF-16 unit: most results need no count.
  if (text.length * 3 > maxBytes && utf8.encode(text).length > maxBytes) {
    throw new RangeError(`it has more than ${maxBytes} bytes`);
  }
  return text;
}

/** The second half. */
export function readResult(text: string): JsonObject {
  // The text was written from an object with this one member, and canonicalize writes only JSON.
  return (parseJson(text) as { readonly result: JsonObject }).result;
}
