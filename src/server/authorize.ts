import { ProtocolError } from '../errors/index.ts';
import type { Tool } from '../tools/index.ts';
import type { Fresh } from './admit.ts';
import type { BuiltIn, Registry } from './registry.ts';
import type { Verified } from './verify.ts';

declare const authorized: unique symbol;

/** A call that may run. */
export interface Authorized {
  readonly [authorized]: true;
  readonly message: Verified['message'];
  readonly keys: Verified['keys'];
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
export async function authorize(
  { verified: { message, keys } }: Fresh,
  policy: Policy | null,
  registry: Registry,
): Promise<Authorized> {
  if (policy !== null) await policy({ clientId: message.client_id, tool: message.tool });
  const tool = registry.get(message.tool);
  if (tool === undefined) throw new ProtocolError('unknown_tool', `there is no tool ${message.tool}`);
  // The only place that makes an Authorized.
  return { message, keys, tool } as Authorized;
}
