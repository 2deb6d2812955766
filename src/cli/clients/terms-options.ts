import { type Command, InvalidArgumentError, Option } from 'commander';
import { TERMS_LIMITS } from '../../limits.ts';
import type { ClientTerms } from '../../store/index.ts';
import { filled } from '../options.ts';
import { dateText } from '../output.ts';

/** What a client may do, and until when, as a command line says it. */

/** Not `null`: commander takes that for an option without a value. */
const NONE = 'none';
const NEVER = 'never';

export interface TermsFlags {
  readonly scope?: readonly string[];
  readonly callsPerMinute?: number | typeof NONE;
  readonly maxOpenJobs?: number | typeof NONE;
  readonly jobsPerDay?: number | typeof NONE;
  readonly expires?: number | typeof NEVER;
  readonly note?: string;
}

/** The last moment that a date of JavaScript has. */
const LAST_MS = 8.64e15;

export function addTermsOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        '--scope <pattern>',
        'tools that it may call; * is any run of characters; may be repeated (default: all)',
      ).argParser(collectScope),
    )
    .addOption(limitOption('--calls-per-minute <number>', 'calls that it may make in each minute'))
    .addOption(limitOption('--max-open-jobs <number>', 'jobs that it may have queued or running'))
    .addOption(limitOption('--jobs-per-day <number>', 'jobs that it may start on each day, in UTC'))
    .addOption(
      new Option(
        '--expires <when>',
        'refused from then on: 2027-01-31, 2027-01-31T12:00:00Z, 90d, 12h or never (default: never)',
      ).argParser((text) => expiry(text, Date.now())),
    )
    .addOption(new Option('--note <text>', 'words of your own, for the list').argParser(noteText));
}

function limitOption(flags: string, help: string): Option {
  return new Option(flags, `${help}, or none (default: none)`).argParser(limit);
}

/** Only what was said. */
export function termsOf(flags: TermsFlags): Partial<ClientTerms> {
  const { scope, callsPerMinute, maxOpenJobs, jobsPerDay, expires, note } = flags;
  return {
    ...(scope !== undefined && { scopes: scope }),
    ...(callsPerMinute !== undefined && { callsPerMinute: orNull(callsPerMinute) }),
    ...(maxOpenJobs !== undefined && { maxOpenJobs: orNull(maxOpenJobs) }),
    ...(jobsPerDay !== undefined && { jobsPerDay: orNull(jobsPerDay) }),
    ...(expires !== undefined && { expiresMs: orNull(expires) }),
    ...(note !== undefined && { note }),
  };
}

function orNull(value: number | string): number | null {
  return typeof value === 'number' ? value : null;
}

function collectScope(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, filled(text)];
}

function limit(text: string): number | typeof NONE {
  if (text === NONE) return NONE;
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (value >= 1 && value <= TERMS_LIMITS.maxQuantity) return value;
  throw new InvalidArgumentError(`It must be a whole number from 1 to ${TERMS_LIMITS.maxQuantity}, or none.`);
}

function noteText(text: string): string {
  if (text.length <= TERMS_LIMITS.maxNoteChars && text.isWellFormed()) return text;
  throw new InvalidArgumentError(`It must be text of at most ${TERMS_LIMITS.maxNoteChars} characters.`);
}

const UNITS_MS: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000 };

/** From a date, a time with its zone, or a span from now. @throws InvalidArgumentError */
export function expiry(text: string, nowMs: number): number | typeof NEVER {
  if (text === NEVER) return NEVER;
  const [, count, unit = ''] = /^(\d+)([mhd])$/.exec(text) ?? [];
  const ms = count === undefined ? dateMs(text) : nowMs + Number(count) * (UNITS_MS[unit] ?? Number.NaN);
  if (!(ms <= LAST_MS))
    throw new InvalidArgumentError(
      'It must be a date or time, as 2027-01-31T12:00:00Z, 90d, 12h, 30m, or never.',
    );
  if (ms <= nowMs) throw new InvalidArgumentError(`It must be in the future, and ${dateText(ms)} is not.`);
  return ms;
}

/** A date is its first moment in UTC. `NaN` for anything else, such as the 30th of February. */
function dateMs(text: string): number {
  const [, date, time] =
    /^(\d{4}-\d\d-\d\d)(T\d\d:\d\d(?::\d\d(?:\.\d{1,3})?)?(?:Z|[+-]\d\d:\d\d))?$/.exec(text) ?? [];
  if (date === undefined) return Number.NaN;
  const midnight = Date.parse(`${date}T00:00:00Z`);
  // Node takes the 30th of February for the 1st or 2nd of March.
  if (Number.isNaN(midnight) || new Date(midnight).toISOString().slice(0, 10) !== date) return Number.NaN;
  return time === undefined ? midnight : Date.parse(text);
}
