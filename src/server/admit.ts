import { digestOf } from '../audit/index.ts';
import { ProtocolError } from '../errors/index.ts';
import type { Dispatcher } from '../jobs/index.ts';
import { SERVER_LIMITS, type TimeWindow } from '../limits.ts';
import type { Outcome, RecordStore, RequestRecord } from '../store/index.ts';
import { NONE } from '../tools/index.ts';
import { type Call, provenCall } from './call.ts';
import { accepted } from './outcome.ts';
import { mayCall, refuseEnded } from './clients/terms.ts';
import type { Registry } from './registry.ts';
import type { Verified } from './verify.ts';

/** A verified message for this server, in time, seen for the first time. */
export interface Fresh {
  readonly call: Call;
  /** How the call ended when its `request_id` was first used; nothing is run again. */
  readonly known: Outcome | null;
}

export interface AdmitContext {
  readonly serverId: string;
  readonly window: TimeWindow;
  readonly store: RecordStore;
  readonly dispatcher: Dispatcher;
  readonly registry: Registry;
  readonly now: () => number;
}

/**
 * Step 3: server, time window, nonce, request_id (docs/protocol.md §5). The first step to touch state.
 *
 * @throws ProtocolError `forbidden` for a client that was revoked or has expired, `wrong_server`, `stale`, `replayed`, `busy`, `in_progress`, `request_id_conflict`
 */
export async function admit(verified: Verified, context: AdmitContext): Promise<Fresh> {
  const { message, client } = verified;
  const { store, dispatcher, registry, window, now } = context;
  refuseEnded(client, now());
  if (message.server_id !== context.serverId) {
    throw new ProtocolError('wrong_server', `this is ${context.serverId}`);
  }
  const aheadMs = message.ts_ms - now();
  if (aheadMs > window.maxFutureMs)
    throw new ProtocolError('stale', `ts_ms is ${aheadMs} ms ahead of this server`);
  if (aheadMs < -window.maxPastMs)
    throw new ProtocolError('stale', `ts_ms is ${-aheadMs} ms behind this server`);
  if (!(await store.nonces.claim(message.client_id, message.nonce, message.ts_ms))) {
    throw new ProtocolError('replayed', 'this nonce was used before');
  }
  const argsText = verified.codec.argsText(verified.signedText);
  const asked = registry.get(message.tool);
  let known: Outcome | null = null;
  // Of a tool outside its scopes a client learns nothing, not even that this request_id was used before.
  if (asked !== undefined && !asked.repeatable && mayCall(client, message.tool)) {
    const record = await store.requests.find(message.client_id, message.request_id);
    if (record !== null) {
      known = outcomeOf(record, digestOfRequest({ tool: message.tool, argsText }), now());
      // `accepted` says that the job is queued: what told the queue at the first time may have failed.
      if (record.jobId !== null)
        await dispatcher.push({ id: record.jobId, tool: message.tool, priority: 0 }, now());
    }
  }
  const { request_id: requestId, tool, args } = message;
  const { generation } = verified;
  // This wire has no way to answer what a tool asks before it runs.
  const answers = NONE;
  // After all its checks.
  const call = provenCall({ client, requestId, tool, args, argsText, answers, mayRepeat: true, generation });
  return { call, known };
}

/** Names what a request asks for: the same digest under the same `request_id` is an honest retry. */
export function digestOfRequest({ tool, argsText }: Pick<Call, 'tool' | 'argsText'>): string {
  return digestOf(`${tool}\n${argsText}`);
}

/**
 * The outcome of a request that was there before.
 *
 * @throws ProtocolError `request_id_conflict`, `in_progress`, `internal` when its process died over it
 */
export function outcomeOf(record: RequestRecord, digest: string, nowMs: number): Outcome {
  if (record.digest !== digest) {
    throw new ProtocolError(
      'request_id_conflict',
      'this request_id was used with another tool or other args',
    );
  }
  if (record.jobId !== null) return accepted(record.jobId);
  if (record.outcome !== null) return record.outcome;
  if (nowMs < record.deadlineMs) {
    const retryAfterMs = Math.min(SERVER_LIMITS.pollAfterMs, record.deadlineMs - nowMs);
    throw new ProtocolError('in_progress', 'this request is still running', { retry_after_ms: retryAfterMs });
  }
  throw new ProtocolError('internal', 'the first run was interrupted; whether it took effect is not known');
}
