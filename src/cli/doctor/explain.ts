import { ProtocolError } from '../../errors/index.ts';
import { EXPLAINED_STEPS, EXPLANATION, type Explanation } from '../../server/built-in/explanation.ts';
import type { JsonObject } from '../../wire/index.ts';
import type { PlacedCredential } from '../../wire/credential.ts';
import { credentialOf } from '../client.ts';
import { type Exit, type Failure, failureOf } from '../exits.ts';
import type { ClientFlags } from '../options.ts';
import { linesOf, refusalText, refusedAt } from './pipeline.ts';
import { type Probe, probe } from './probe.ts';
import { type Line, line, show } from './screen.ts';
import { interruptible } from '../signals.ts';

/** Time for the call that asks, when none is given: somebody looks at the screen. */
export const TIMEOUT_MS = 10_000;

/** What a dry run has found. */
export interface Explained {
  readonly lines: readonly Line[];
  /** What was asked with, and what came of it; both null where the credential cannot be used. */
  readonly credential: PlacedCredential | null;
  readonly probe: Probe | null;
  /** Of a server that has answered, and in a way that is understood. */
  readonly explanation: Explanation | null;
  /** The first step that refuses; null: the call would be accepted. */
  readonly refusedBy: string | null;
  /** What the refused call would end with. */
  readonly exit: Exit;
  readonly error: { readonly code: string; readonly message: string } | null;
}

/** `waybill call --explain`: what would become of the call, step by step. */
export async function explain(tool: string, args: JsonObject, flags: ClientFlags): Promise<void> {
  const found = await interruptible(
    () => 'nothing was run',
    (signal) => dryRun({ tool, args }, flags, signal),
  );
  const { lines, probe: seen, explanation, refusedBy, exit, error } = found;
  const verdict =
    refusedBy === null
      ? `the call would be accepted: ${lines.at(-1)?.detail}`
      : `the call would be refused by ${refusedBy}, with ${error?.code}`;
  const document = {
    tool,
    accepted: refusedBy === null,
    refused_by: refusedBy,
    error,
    clock_ahead_ms: seen?.aheadMs ?? null,
    key: explanation?.key ?? null,
    expires_ms: explanation?.expires_ms ?? null,
    steps: lines,
  };
  show(lines, verdict, document, { json: flags.json, exit });
}

/**
 * Asks the server what would become of a call; without a tool, of any.
 *
 * @throws Failure for arguments that no message can carry; the reason of `signal`
 */
export async function dryRun(
  call: { readonly tool: string; readonly args: JsonObject } | object,
  flags: Pick<ClientFlags, 'credential' | 'url' | 'timeoutMs'>,
  signal: AbortSignal,
): Promise<Explained> {
  let credential: PlacedCredential;
  try {
    credential = credentialOf(flags);
  } catch (error) {
    return withoutCredential(failureOf(error));
  }
  const { timeoutMs = TIMEOUT_MS } = flags;
  const seen = await probe(credential, 'explain_call', { ...call }, { timeoutMs, signal });
  const { data = null } = EXPLANATION.safeParse(seen.result);
  const first = line('credential', 'ok', credentialText(flags.credential, credential));
  const path = linesOf(seen, credential, data?.window ?? null, { connection: credential.url });
  const base = { credential, probe: seen, explanation: data };
  const at = seen.setback === null && data === null ? 'explain' : refusedAt(seen, credential);
  if (at === null && data !== null) {
    const lines = [first, ...path, ...data.steps.map(lineOf)];
    return { ...base, lines, refusedBy: data.refused_by, ...endOf(data) };
  }
  const { exit, code, message } = failureOf(seen.setback ?? NOT_UNDERSTOOD);
  const rest = EXPLAINED_STEPS.map((step) =>
    step === at
      ? line(step, 'refused', refusalText(step, seen, credential))
      : line(step, 'unknown', UNTOLD[at ?? ''] ?? 'not reached'),
  );
  return { ...base, lines: [first, ...path, ...rest], refusedBy: at, exit, error: { code, message } };
}

/** Why nothing is said of the steps behind, where the call that asked was refused among them. */
const UNTOLD: Readonly<Record<string, string>> = {
  rate: 'not told',
  policy: 'not told',
  explain: 'this server cannot explain calls',
};

/** By a later version, perhaps. */
const NOT_UNDERSTOOD = new ProtocolError('internal', 'this version does not read what explain_call answered');

function withoutCredential({ exit, code, message }: Failure): Explained {
  const steps = [line('credential', 'refused', message)];
  return {
    lines: steps,
    credential: null,
    probe: null,
    explanation: null,
    refusedBy: 'credential',
    exit,
    error: { code, message },
  };
}

function credentialText(path: string, { client_id, server_id }: PlacedCredential): string {
  return `${path}: client ${client_id} of server ${server_id}`;
}

function lineOf({ step, ok, code, detail }: Explanation['steps'][number]): Line {
  if (ok === false) return line(step, 'refused', `${code}: ${detail}`);
  return line(step, ok === null ? 'unknown' : 'ok', detail);
}

function endOf({ refused_by: by, steps }: Explanation): Pick<Explained, 'exit' | 'error'> {
  const step = steps.find((each) => each.step === by);
  if (step === undefined) return { exit: 'ok', error: null };
  return { exit: 'refused', error: { code: step.code ?? 'internal', message: step.detail } };
}
