import { TOOL_LIMITS } from '../limits.ts';
import type { Progress } from '../tools/index.ts';
import type { JsonObject } from '../wire/json.ts';

export type Report = (progress: Progress) => void;

/** Smallest step between two values that differ in nothing but time. */
const STEP = 0.001;

/**
 * Progress as notifications: the value must rise with each (2026-07-28, basic/patterns/progress), so one that
 * stands still, and only says that work goes on, rises by a thousandth.
 */
function progressReporter(token: string | number, send: (params: JsonObject) => void): Report {
  let last: number | null = null;
  return ({ completed, total, message }) => {
    const next: number = last === null ? completed : Math.max(completed, above(last));
    // A direct tool's own numbers: JSON has no word for some of them.
    if (!Number.isFinite(completed) || !Number.isFinite(next)) return;
    last = next;
    send({
      progressToken: token,
      progress: last,
      ...(Number.isFinite(total) && { total: Math.max(Number(total), last) }),
      ...(typeof message === 'string' && { message: shortened(message) }),
    });
  };
}

function shortened(message: string): string {
  return message.slice(0, TOOL_LIMITS.maxMessageChars).toWellFormed();
}

/** The next value: a thousandth more, or what is more at all where a thousandth is lost in rounding. */
function above(value: number): number {
  return value + Math.max(STEP, Math.abs(value) * Number.EPSILON);
}

/** Of one request: silent if it asked for no progress. */
export function reporterFor(
  token: string | number | null,
  notify: (method: string, params: JsonObject) => void,
): Report {
  if (token === null) return silent;
  return progressReporter(token, (params) => notify('notifications/progress', params));
}

function silent(): void {}
