import { ProtocolError } from '../errors/index.ts';
import type { Tool } from '../tools/index.ts';
import type { Call } from './call.ts';
import type { BuiltIn, Registry } from './registry.ts';

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

/**
 * Step 4: rate, quota and scope, as the policy says (docs/protocol.md §4).
 *
 * @throws ProtocolError `unknown_tool`, and what the policy throws
 */
export async function authorize(call: Call, policy: Policy | null, registry: Registry): Promise<Authorized> {
  if (policy !== null) await policy({ clientId: call.clientId, tool: call.tool });
  const tool = registry.get(call.tool);
  if (tool === undefined) throw new ProtocolError('unknown_tool', `there is no tool ${call.tool}`);
  // The only place that makes an Authorized.
  return { call, tool } as Authorized;
}
