import { ProtocolError } from '../errors/index.ts';
import type { RecordStore } from '../store/index.ts';
import type { Tool } from '../tools/index.ts';
import type { Call } from './call.ts';
import type { BuiltIn, Registry } from './registry.ts';
import { countCall, daySpent, hasSpentDay, mayCall } from './clients/terms.ts';

declare const authorized: unique symbol;

/** A call that may run. */
export interface Authorized {
  readonly [authorized]: true;
  readonly call: Call;
  readonly tool: Tool | BuiltIn;
}

/**
 * Decides about one call before anything of it runs: return to allow it, throw a `ProtocolError`
 * (`forbidden`, or `rate_limited` with `{retry_after_ms}`) to refuse it.
 */
export type Policy = (call: { readonly clientId: string; readonly tool: string }) => void | Promise<void>;

export interface AuthorizeContext {
  readonly policy: Policy | null;
  readonly registry: Registry;
  readonly store: Pick<RecordStore, 'counters' | 'requests'>;
  readonly now: () => number;
}

/**
 * Step 4: rate, quota and scope of the client, then the policy, then whether there is such a tool
 * (docs/protocol.md §4). Of a tool outside its scopes a client learns nothing, not even that there is none.
 *
 * @param options `counted` false: a look that goes on with a call which was counted
 * @throws ProtocolError `rate_limited`, `forbidden`, `unknown_tool`, and what the policy throws
 */
export async function authorize(
  call: Call,
  { policy, registry, store, now }: AuthorizeContext,
  { counted = true }: { readonly counted?: boolean } = {},
): Promise<Authorized> {
  const { client } = call;
  const { callsPerMinute, jobsPerDay } = client.terms;
  // Asked here too: a client without limits does not wait a turn of the microtask queue for them.
  if (counted && callsPerMinute !== null) await countCall(client, store.counters, now());
  const tool = registry.get(call.tool);
  const isAllowed = mayCall(client, call.tool);
  // Not of a tool outside its scopes: that it is a job would be told.
  if (jobsPerDay !== null && isAllowed && tool !== undefined && tool.job !== null)
    await refuseSpent(call, store, now());
  if (!isAllowed) throw new ProtocolError('forbidden', `your scopes do not include ${call.tool}`);
  if (policy !== null) await policy({ clientId: client.id, tool: call.tool });
  if (tool === undefined) throw new ProtocolError('unknown_tool', `there is no tool ${call.tool}`);
  // The only place that makes an Authorized.
  return { call, tool } as Authorized;
}

/** It is counted when the job is created. A retry of the last job of the day, sent at the same moment, finds it there. */
async function refuseSpent(
  { client, requestId }: Call,
  { counters, requests }: AuthorizeContext['store'],
  nowMs: number,
): Promise<void> {
  if (!(await hasSpentDay(client, counters, nowMs))) return;
  if ((await requests.find(client.id, requestId)) === null) throw daySpent(client, nowMs);
}
