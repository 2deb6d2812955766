import { createClient } from '../../client/index.ts';
import type { Explanation } from '../../server/built-in/explanation.ts';
import { BUILT_IN_NAMES } from '../../server/built-in/names.ts';
import { idlePatterns } from '../../tools/index.ts';
import { fingerprintOf } from '../../wire/algorithms.ts';
import type { PlacedCredential } from '../../wire/credential.ts';
import type { JsonObject } from '../../wire/index.ts';
import { failureOf } from '../exits.ts';
import type { ClientFlags } from '../options.ts';
import { dateText } from '../output.ts';
import { addressLines } from './address.ts';
import { dryRun, type Explained, TIMEOUT_MS } from './explain.ts';
import { probe } from './probe.ts';
import { type Line, line, SOON_MS } from './screen.ts';

/** What a credential can do, and where that ends; asks a few signed calls that run nothing. */
export async function examineClient(flags: ClientFlags, signal: AbortSignal): Promise<Explained> {
  const found = await dryRun({}, flags, signal);
  const { credential } = found;
  if (credential === null) return found;
  const timeoutMs = flags.timeoutMs ?? TIMEOUT_MS;
  const [before, after] = await Promise.all([
    addressLines(new URL(credential.url), timeoutMs),
    found.explanation === null ? [] : serverLines(credential, found.explanation, { timeoutMs, signal }),
  ]);
  const shown = found.lines.filter(isShown).map((each) => timeLine(each, found));
  const [first, ...path] = shown.filter(({ step }) => step !== 'rate');
  const rate = shown.filter(({ step }) => step === 'rate');
  const lines = first === undefined ? [] : [first, ...before, ...path];
  const limits = [...rate, ...jobLines(found.explanation)];
  return { ...found, lines: [...lines, ...standingLines(found), ...limits, ...after] };
}

/** What holds for each message by itself is of interest only where it fails. */
const BY_ITSELF: ReadonlySet<string> = new Set(['envelope', 'server', 'nonce', 'request_id']);
const OWN_LINES: ReadonlySet<string> = new Set(['quota', 'scope', 'policy', 'tool', 'args', 'run']);

function isShown({ step, state }: Line): boolean {
  if (state === 'refused') return true;
  return !BY_ITSELF.has(step) && !OWN_LINES.has(step);
}

/** A clock that is far off works today, and is worth a word. */
function timeLine(each: Line, { probe: seen, explanation }: Explained): Line {
  const aheadMs = seen?.aheadMs ?? null;
  if (each.step !== 'time' || each.state !== 'ok' || explanation === null || aheadMs === null) return each;
  const { max_past_ms, max_future_ms } = explanation.window;
  const isFar = aheadMs > 0 ? aheadMs > max_future_ms / 2 : -aheadMs > max_past_ms / 2;
  return isFar ? line('time', 'warning', `${each.detail}: set the clock of this machine`) : each;
}

/** What the server knows of the client: its keys and its end. */
function standingLines({ explanation, probe: seen }: Explained): readonly Line[] {
  if (explanation === null) return [];
  const serverMs = Date.now() - (seen?.aheadMs ?? 0);
  return [keyLine(explanation), expiryLine(explanation, serverMs)];
}

function keyLine({ key }: Explanation): Line {
  if (key === 'current') return line('key', 'ok', 'current');
  const what = 'previous: ask the operator for the new credential, this one ends with the rotation';
  return line('key', 'warning', what);
}

function expiryLine({ expires_ms: expiresMs }: Explanation, nowMs: number): Line {
  if (expiresMs === null) return line('expiry', 'ok', 'never');
  if (expiresMs - nowMs >= SOON_MS) return line('expiry', 'ok', dateText(expiresMs));
  return line('expiry', 'warning', `${dateText(expiresMs)}, within a week: ask the operator for more time`);
}

function jobLines(explanation: Explanation | null): readonly Line[] {
  if (explanation === null) return [];
  const { jobs_per_day: day, open_jobs: open } = explanation.limits;
  const spent = (used: number, limit: number) => (used < limit ? 'ok' : 'warning');
  return [
    day === null
      ? line('quota', 'ok', 'no limit on the jobs of a day')
      : line(
          'quota',
          spent(day.used, day.limit),
          `${day.used} of ${day.limit} jobs of this day (UTC) are used`,
        ),
    line('open jobs', spent(open.used, open.limit), `${open.used} of ${open.limit} are queued or running`),
  ];
}

interface Asking {
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** Who the server is, and what it offers this client. */
async function serverLines(
  credential: PlacedCredential,
  { scopes }: Explanation,
  asking: Asking,
): Promise<readonly Line[]> {
  const { result } = await probe(credential, 'server_identity', {}, asking);
  const lines = identityLines(result, fingerprintOf(credential.response_key));
  let names: readonly string[];
  try {
    names = (await createClient(credential).tools(asking)).map(({ name }) => name);
  } catch (error) {
    if (asking.signal.aborted) throw error;
    return [...lines, line('tools', 'warning', `the list does not come: ${failureOf(error).text}`)];
  }
  const own = names.filter((name) => !BUILT_IN_NAMES.has(name));
  const idle = idlePatterns(scopes, names);
  const all = scopes.join(', ');
  return [
    ...lines,
    own.length === 0
      ? line('tools', 'warning', 'none that this client may call, but for those of every server')
      : line(
          'tools',
          'ok',
          `${own.length} that this client may call: ${own.slice(0, 10).join(', ')}${own.length > 10 ? ', …' : ''}`,
        ),
    idle.length === 0
      ? line('scopes', 'ok', all)
      : line('scopes', 'warning', `${idle.join(', ')} names no tool of this server (of ${all})`),
  ];
}

function identityLines(identity: JsonObject | null, expected: string): readonly Line[] {
  if (identity === null) return [line('fingerprint', 'warning', 'server_identity was not answered')];
  const { fingerprint, audit_key: auditKey } = identity;
  return [
    fingerprint === expected
      ? line('fingerprint', 'ok', expected)
      : line(
          'fingerprint',
          'refused',
          `is ${JSON.stringify(fingerprint)}, by the response_key it must be ${expected}`,
        ),
    typeof auditKey === 'string'
      ? line('audit key', 'ok', auditKey)
      : line('audit key', 'unknown', 'the server tells none: it records nothing'),
  ];
}
