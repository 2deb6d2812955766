import { ClientError, type Code, codeOf, ProtocolError } from '../../errors/index.ts';
import type { Explanation } from '../../server/built-in/explanation.ts';
import { DEFAULT_ALGORITHM, type PlacedCredential } from '../../wire/credential.ts';
import type { Probe } from './probe.ts';
import { type Line, line } from './screen.ts';

/** The steps that a sender can see of, in the order of the path of a request (docs/protocol.md §4). */
const SEEN_STEPS = [
  'connection',
  'envelope',
  'signature',
  'server',
  'client',
  'server_id',
  'time',
  'nonce',
  'request_id',
] as const;

type SeenStep = (typeof SEEN_STEPS)[number];

/** Where the server refused the call, or a step of `explain_call` that refused that. */
export type Refusing = SeenStep | 'rate' | 'policy' | 'explain';

const REFUSED_AT: Readonly<Partial<Record<Code, Refusing>>> = {
  bad_envelope: 'envelope',
  too_large: 'envelope',
  unsupported_media_type: 'envelope',
  bad_signature: 'signature',
  busy: 'server',
  internal: 'server',
  wrong_server: 'server_id',
  stale: 'time',
  replayed: 'nonce',
  in_progress: 'request_id',
  request_id_conflict: 'request_id',
  rate_limited: 'rate',
  // Of `explain_call` itself.
  unknown_tool: 'explain',
  invalid_args: 'explain',
};

/** Which step of the path ended the probe; null: it came through. */
export function refusedAt(
  { setback, seen }: Probe,
  { server_id: serverId }: Pick<PlacedCredential, 'server_id'>,
): Refusing | null {
  if (setback === null) return null;
  if (setback instanceof ProtocolError) {
    if (setback.code !== 'forbidden') return REFUSED_AT[setback.code] ?? 'server';
    return ENDED.test(setback.message) ? 'client' : 'policy';
  }
  if (setback.kind !== 'reply_unverified' || seen === null) return 'connection';
  const { message, holds } = seen;
  if (message.signature === '')
    return REFUSED_AT[codeOf(message.error ?? '') ?? 'bad_signature'] ?? 'signature';
  if (!holds) return 'signature';
  return message.server_id === serverId ? 'time' : 'server_id';
}

/** What the server says of a client that was revoked or has expired; all other `forbidden` come later. */
const ENDED = /^this client (was revoked|expired)/;

/**
 * The path up to `request_id` as lines, each with what was seen of it.
 *
 * @param facts what is known of a step beside what its sender sees
 */
export function linesOf(
  probe: Probe,
  credential: PlacedCredential,
  window: Explanation['window'] | null,
  facts: { readonly connection: string },
): readonly Line[] {
  const refusing = refusedAt(probe, credential);
  const passed: Readonly<Record<SeenStep, string>> = {
    connection: facts.connection,
    envelope: 'a well-formed message',
    signature: `of the request and of the reply hold (${credential.algorithm ?? DEFAULT_ALGORITHM})`,
    server: 'takes calls',
    client: `${credential.client_id} is neither revoked nor expired`,
    server_id: credential.server_id,
    time: timeText(probe, window),
    nonce: 'seen for the first time',
    request_id: 'new',
  };
  // A step that is none of these comes after them.
  const end = SEEN_STEPS.findIndex((step) => step === refusing);
  return SEEN_STEPS.map((step, n) => {
    if (end === -1 || n < end) return passedLine(step, passed[step], probe);
    if (n > end) return line(step, 'unknown', 'not reached');
    return line(step, 'refused', refusalText(step, probe, credential));
  });
}

/** A `stale` first message is told of, although the client gets through with the second. */
function passedLine(step: SeenStep, detail: string, { wasStale }: Probe): Line {
  if (step !== 'time' || !wasStale) return line(step, 'ok', detail);
  return line(
    step,
    'warning',
    `${detail}; the first message was stale, the second went by the server's clock: set the clock of this machine`,
  );
}

function timeText({ aheadMs }: Probe, window: Explanation['window'] | null): string {
  if (aheadMs === null) return 'the server has not shown its clock';
  const skew = `this clock is ${Math.abs(aheadMs)} ms ${aheadMs < 0 ? 'behind' : 'ahead of'} the server`;
  if (window === null) return skew;
  return `${skew}, which takes ${window.max_past_ms} ms behind to ${window.max_future_ms} ms ahead`;
}

/** What refused, and what to do about it. */
export function refusalText(step: Refusing, probe: Probe, credential: PlacedCredential): string {
  const { setback, seen } = probe;
  const said = setbackText(setback);
  if (step === 'connection') return `${said}${connectionHint(said, credential.url)}`;
  if (step === 'signature')
    return seen?.message.signature === '' ? badSignature(credential) : `${said}; ${OTHER_KEY}`;
  if (step === 'server_id') {
    const actual = seen?.message.server_id ?? 'another one';
    return `this server is ${actual}, the credential is for ${credential.server_id}: use that of ${actual}, or --url`;
  }
  if (step === 'time') return `${timeText(probe, null)}; ${said}: set the clock of this machine`;
  return `${said}${HINTS[step] ?? ''}`;
}

function setbackText(setback: Probe['setback']): string {
  if (setback === null) return '';
  return setback instanceof ClientError ? setback.message : setback.text;
}

const OTHER_KEY =
  'response_key is not the one that the server has for this client, or another server has answered';

/** One constant for all of these: the server tells strangers nothing (docs/protocol.md §8). */
function badSignature({ client_id: id, algorithm = DEFAULT_ALGORITHM }: PlacedCredential): string {
  return (
    `bad_signature, unsigned: the server has no client ${id}, or another request_key for it, or the previous one ` +
    `was dropped after a rotation, or its record says another algorithm than ${algorithm}; ` +
    `its operator sees which with "waybill clients show ${id}"`
  );
}

const HINTS: Readonly<Partial<Record<Refusing, string>>> = {
  server: '; try again later',
  client: '; ask the operator of the server',
  nonce: '; something on the way sends messages twice',
  policy: '; the server lets this client ask nothing about its calls',
  explain: '; this server cannot explain calls, so what follows is not known',
};

function connectionHint(said: string, url: string): string {
  if (/CERT|SELF_SIGNED|ISSUER|ERR_TLS|VERIFY/.test(said))
    return '; the certificate is not believed: NODE_EXTRA_CA_CERTS names one that is';
  if (/ENOTFOUND|EAI_AGAIN/.test(said))
    return `; the name ${new URL(url).hostname} is not found: is it spelled right?`;
  return said.endsWith('?') ? '' : '; is the server running there? --url names another address';
}
