import { type AuditLog, type CallRecord, digestOf } from '../audit/index.ts';
import { busy, codeOf, type ProtocolError } from '../errors/index.ts';
import { SERVER_LIMITS } from '../limits.ts';
import type { Outcome } from '../store/index.ts';
import { isLarge, nextTurn } from '../turns.ts';
import { canonicalize, type JsonObject } from '../wire/index.ts';
import type { KnownClient, WrittenCall } from './calls.ts';
import { refused } from './outcome.ts';
import { isRefusal } from './refusal.ts';
import type { Signed } from './reply.ts';
import type { Verified } from './verify.ts';

/** What is said while the audit cannot be written: nothing is done that would not be in it. */
export function unaudited(): ProtocolError {
  return busy('the audit cannot be written', SERVER_LIMITS.fullRetryMs);
}

/** Before anything of a call is done. @throws ProtocolError `busy` */
export async function refuseUnaudited(audit: AuditLog): Promise<void> {
  await audit.flushed().catch(() => {
    throw unaudited();
  });
}

/**
 * Records a signed reply; it may leave when the promise resolves.
 *
 * @throws StoreError
 */
export function recordReply(
  audit: AuditLog,
  { codec, message, signedText, client, generation }: Verified,
  { outcome, text }: Signed,
): Promise<void> {
  const { request_id: requestId, tool, args } = message;
  return audit.add({
    type: 'call',
    client: client.id,
    // The only version that there is.
    wire: codec.v as CallRecord['wire'],
    key: generation.keyId,
    requestId,
    tool,
    request: digestOf(signedText),
    reply: digestOf(text),
    outcome: codeOfOutcome(outcome),
    job: jobOf(tool, args, outcome),
  });
}

/** The same for another wire, whose messages nobody signs. @throws StoreError */
function recordPlain(
  audit: AuditLog,
  { clientId, keyId }: KnownClient,
  { requestId, tool, args, argsText }: WrittenCall,
  outcome: Outcome,
): Promise<void> {
  const { ok, status, result, error } = outcome;
  const reply = textOf({ error, ok, result, status });
  const added = audit.add({
    type: 'call',
    client: clientId,
    wire: 'mcp',
    key: keyId,
    requestId,
    tool,
    request: digestOf(`{"args":${argsText},"tool":${JSON.stringify(tool)}}`),
    reply: digestOf(reply),
    outcome: codeOfOutcome(outcome),
    job: jobOf(tool, args, outcome),
  });
  // Whoever waits for it will write it once more.
  return isLarge(reply.length) ? added.then(() => nextTurn()) : added;
}

/**
 * Runs a call of another wire and records how it ended before anybody is told.
 *
 * @param outcomeOf what comes of it, as this protocol would say it
 * @throws ProtocolError of the call, and `busy` when it cannot be recorded
 */
export async function recordedRun<T>(
  audit: AuditLog,
  client: KnownClient,
  call: WrittenCall,
  run: () => Promise<T>,
  outcomeOf: (value: T) => Outcome,
): Promise<T> {
  if (audit.isDown) await refuseUnaudited(audit);
  let value: T;
  try {
    value = await run();
  } catch (error) {
    if (isRefusal(error) && !audit.admitsRefusal(client.clientId)) throw error;
    // `run` throws nothing else.
    await recordPlain(audit, client, call, refused(error as ProtocolError)).catch(refuseAll);
    throw error;
  }
  await recordPlain(audit, client, call, outcomeOf(value)).catch(refuseAll);
  return value;
}

function refuseAll(): never {
  throw unaudited();
}

/** What has no canonical form is on this wire all the same, and so in the audit. */
export function textOf(value: JsonObject): string {
  try {
    return canonicalize(value);
  } catch {
    return JSON.stringify(value);
  }
}

/** `ok`, `accepted`, `running`, `done`, or the error code. */
function codeOfOutcome({ status, error }: Outcome): string {
  return error === null ? status : (codeOf(error) ?? 'internal');
}

/** Their `job_id` names a job, if they found it. */
const JOB_TOOLS: ReadonlySet<string> = new Set(['poll_job', 'answer_job', 'cancel_job']);

function jobOf(tool: string, args: JsonObject, { ok, status, result }: Outcome): string | undefined {
  // Only a job of ours has these, and its id beside them.
  const id = status === 'accepted' || status === 'running' ? result?.['job_id'] : undefined;
  if (typeof id === 'string') return id;
  const named = ok && JOB_TOOLS.has(tool) ? args['job_id'] : undefined;
  return typeof named === 'string' ? named : undefined;
}
