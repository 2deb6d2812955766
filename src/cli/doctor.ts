import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import type { Command } from 'commander';
import { BUILT_IN_NAMES } from '../server/built-in/names.ts';
import type { Explanation } from '../server/built-in/explanation.ts';
import type { JsonObject } from '../wire/index.ts';
import type { PlacedCredential } from './connect.ts';
import type { Explained } from './explain.ts';
import { type Exit, failureOf } from './exits.ts';
import { type ClientFlags, credentialOption, jsonOption, timeoutOption, urlOption } from './options.ts';
import { addPlaceOptions, type ClientsPlace, clientsPlace } from './client-store.ts';
import { dateText } from './output.ts';
import { type Line, line, show, SOON_MS } from './screen.ts';
import { interruptible } from './signals.ts';
import { addVerb } from './verb.ts';

const TIMEOUT_MS = 10_000;

export function addDoctor(program: Command): void {
  const command = addVerb(program, 'doctor', {
    summary:
      'Check what a credential can do, or the store of a server: one line for each thing that could be wrong.',
    detail:
      'With --credential it asks the server a few signed calls that run nothing; of one call in particular ' +
      '"waybill call --explain" tells more. With --data or --store it looks at the records of a server, which ' +
      'may be running.',
    examples: [
      'doctor --credential alice.json',
      'doctor --credential alice.json --json',
      'doctor --data .waybill',
    ],
  })
    .addOption(credentialOption())
    .addOption(urlOption('where the server listens (default: url of the credential)'))
    .addOption(timeoutOption());
  addPlaceOptions(command)
    .addOption(jsonOption())
    .action((flags: Partial<ClientFlags>) => {
      const { credential } = flags;
      return isOfStore(command) || credential === undefined
        ? doctorOfStore(clientsPlace(command), flags.json)
        : doctorOfClient({ ...flags, credential });
    });
}

/** Is it the store that is to be looked at? A flag wins over the variables. */
function isOfStore(command: Command): boolean {
  const places = ['data', 'store', 'storeFile'];
  const isFrom = (source: string) => (name: string) => command.getOptionValueSource(name) === source;
  const [flag, variable] = [places.some(isFrom('cli')), places.some(isFrom('env'))];
  if (isFrom('cli')('credential') && flag)
    command.error('a credential and a store are both named: name one of the two');
  if (isFrom('cli')('credential') || flag) return flag;
  if (isFrom('env')('credential') || variable) return !isFrom('env')('credential');
  return command.error('name --credential of a client, or --data or --store of a server');
}

async function doctorOfStore(place: ClientsPlace, json: true | undefined): Promise<void> {
  const { storeLines } = await import('./doctor-store.ts');
  const lines = await storeLines(place);
  const exit = lines.some(({ state }) => state === 'refused') ? 'wrongUse' : 'ok';
  conclude(lines, { good: 'the store is in order', exit, error: null, json });
}

async function doctorOfClient(flags: ClientFlags): Promise<void> {
  const [{ dryRun }, { credentialOf }] = await Promise.all([import('./explain.ts'), import('./connect.ts')]);
  await interruptible(
    () => 'nothing was run',
    async (signal) => {
      const found = await dryRun({}, flags, signal);
      if (found.probe === null) return end(found, found.lines, flags);
      const credential = credentialOf(flags);
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
      end(found, [...lines, ...standingLines(found), ...limits, ...after], flags);
    },
  );
}

/** What holds for each message by itself is of interest only where it fails. */
const BY_ITSELF: ReadonlySet<string> = new Set(['envelope', 'server', 'nonce', 'request_id']);
const OWN_LINES: ReadonlySet<string> = new Set(['quota', 'scope', 'policy', 'tool', 'args', 'run']);

function isShown({ step, state }: Line): boolean {
  if (state === 'refused') return true;
  return !BY_ITSELF.has(step) && !OWN_LINES.has(step);
}

function end({ refusedBy, exit, error }: Explained, lines: readonly Line[], { json }: ClientFlags): void {
  const isWrong = lines.some(({ state }) => state === 'refused');
  const how: Exit = refusedBy !== null ? exit : isWrong ? 'refused' : 'ok';
  conclude(lines, { good: 'calls with this credential are taken', exit: how, error, json });
}

interface Conclusion {
  /** What is said if nothing is to mend. */
  readonly good: string;
  readonly exit: Exit;
  readonly error: Explained['error'];
  readonly json: true | undefined;
}

function conclude(lines: readonly Line[], { good, exit, error, json }: Conclusion): void {
  const names = (state: Line['state']) =>
    lines
      .filter((each) => each.state === state)
      .map(({ step }) => step)
      .join(', ');
  const [wrong, warnings] = [names('refused'), names('warning')];
  const verdict = `${wrong === '' ? good : `to mend: ${wrong}`}${warnings === '' ? '' : `; to look at: ${warnings}`}`;
  show(lines, verdict, { ok: exit === 'ok', error, checks: lines }, { json, exit });
}

/** The way to the server, below the messages. */
async function addressLines(url: URL, timeoutMs: number): Promise<readonly Line[]> {
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const lines: Line[] = [];
  let isLocal = false;
  try {
    const found = isIP(host) === 0 ? await lookup(host, { all: true }) : [{ address: host }];
    const addresses = found.map(({ address }) => address);
    isLocal = addresses.every((address) => /^127\.|^::1$/.test(address));
    lines.push(line('address', 'ok', isIP(host) === 0 ? `${host} is ${addresses.join(', ')}` : host));
  } catch (error) {
    lines.push(line('address', 'refused', `${host} is not found (${codeOf(error)}): is it spelled right?`));
  }
  if (url.protocol === 'https:') return [...lines, await certificateLine(url, timeoutMs)];
  const plain = isLocal ? 'plain HTTP, on this machine' : 'plain HTTP: who is on the way reads every call';
  return [...lines, line('tls', isLocal ? 'ok' : 'warning', plain)];
}

async function certificateLine(url: URL, timeoutMs: number): Promise<Line> {
  const { certificateOf } = await import('./certificate.ts');
  try {
    const { validToMs, problem } = await certificateOf(url, timeoutMs);
    const until = `valid until ${dateText(validToMs)}`;
    if (problem !== null)
      return line('tls', 'refused', `the certificate is not believed: ${problem}; ${until}`);
    const isSoon = validToMs - Date.now() < SOON_MS;
    return line(
      'tls',
      isSoon ? 'warning' : 'ok',
      `certificate ${until}${isSoon ? ': it must be renewed' : ''}`,
    );
  } catch (error) {
    return line('tls', 'refused', `no handshake of TLS: ${codeOf(error)}`);
  }
}

function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return 'code' in error && typeof error.code === 'string' ? error.code : error.message;
}

/** A clock that is far off works today, and is worth a word. */
function timeLine(each: Line, { probe, explanation }: Explained): Line {
  const aheadMs = probe?.aheadMs ?? null;
  if (each.step !== 'time' || each.state !== 'ok' || explanation === null || aheadMs === null) return each;
  const { max_past_ms, max_future_ms } = explanation.window;
  const isFar = aheadMs > 0 ? aheadMs > max_future_ms / 2 : -aheadMs > max_past_ms / 2;
  return isFar ? line('time', 'warning', `${each.detail}: set the clock of this machine`) : each;
}

/** What the server knows of the client: its keys and its end. */
function standingLines({ explanation, probe }: Explained): readonly Line[] {
  if (explanation === null) return [];
  const serverMs = Date.now() - (probe?.aheadMs ?? 0);
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
  const [{ probe }, { createClient }, { fingerprintOf }, { matcherOf }] = await Promise.all([
    import('./probe.ts'),
    import('../client/index.ts'),
    import('../wire/algorithms.ts'),
    import('../server/terms.ts'),
  ]);
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
  const idle = scopes.filter((pattern) => pattern !== '*' && !names.some(matcherOf(pattern)));
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
