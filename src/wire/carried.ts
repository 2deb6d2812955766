import { MESSAGE_LIMITS } from '../limits.ts';
import { canonicalize } from './canonical-json.ts';

/**
 * Can a message carry this value? The rules of the canonical form, at a fraction of its cost: for wires whose
 * messages are not signed, so that their tools take and give what they would on mcp/0.1.
 *
 * @throws CanonicalJsonError that says where and why not
 */
export function checkCarried(value: unknown): void {
  // It writes the whole value to say the same, and where.
  if (!isCarried(value, MESSAGE_LIMITS.maxDepth)) canonicalize(value);
}

function isCarried(value: unknown, depthLeft: number): boolean {
  switch (typeof value) {
    case 'string':
      return value.isWellFormed();
    case 'number':
      return Number.isFinite(value);
    case 'boolean':
      return true;
    case 'object':
      if (value === null) return true;
      if (depthLeft === 0) return false;
      return Array.isArray(value) ? isArray(value, depthLeft - 1) : isMembers(value, depthLeft - 1);
    default:
      return false;
  }
}

function isArray(array: readonly unknown[], depthLeft: number): boolean {
  // Neither with `every`, which passes over holes, nor with an iterator: a million empty arrays would make as many.
  for (let i = 0; i < array.length; i++) if (!isCarried(array[i], depthLeft)) return false;
  return true;
}

function isMembers(object: object, depthLeft: number): boolean {
  const prototype: unknown = Object.getPrototypeOf(object);
  if (prototype !== Object.prototype && prototype !== null) return false;
  for (const name of Object.keys(object)) {
    if (name === '__proto__' || !name.isWellFormed()) return false;
    // Reading a name that Object.keys has just listed.
    if (!isCarried((object as Record<string, unknown>)[name], depthLeft)) return false;
  }
  return true;
}
