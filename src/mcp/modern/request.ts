import { isObject, type JsonObject } from '../../wire/json.ts';
import { LEGACY, META, MODERN, TASKS } from '../protocol.ts';
import { RpcError, type RpcId, type RpcMessage } from '../rpc.ts';

/** A request whose `_meta` is complete: it says all that is needed to answer it. */
export interface ModernRequest {
  readonly id: RpcId;
  readonly method: string;
  readonly params: JsonObject;
  /** The client drives tasks. */
  readonly tasks: boolean;
  /** The client can ask its person by a form. */
  readonly elicitation: boolean;
  readonly progressToken: string | number | null;
}

/** Does a message claim to be of a revision without `initialize`? */
export function isModern({ params }: Pick<RpcMessage, 'params'>): boolean {
  const meta = params['_meta'];
  return isObject(meta) && META.protocolVersion in meta;
}

/**
 * What every request must say of itself (2026-07-28, basic, “_meta”).
 *
 * @param version the header `MCP-Protocol-Version`, on transports that have one; it was compared before
 * @throws RpcError `invalidMeta`, `unsupportedVersion`
 */
export function readRequest(id: RpcId, { method, params }: RpcMessage): ModernRequest {
  const { _meta: meta } = params;
  if (!isObject(meta)) throw new RpcError('invalidMeta', 'params._meta is missing');
  const version = meta[META.protocolVersion];
  if (typeof version !== 'string') throw missing(META.protocolVersion);
  if (version !== MODERN) throw unsupported(version);
  const capabilities = meta[META.clientCapabilities];
  if (!isObject(capabilities)) throw missing(META.clientCapabilities);
  const { extensions, elicitation } = capabilities;
  const { progressToken: token = null } = meta;
  if (token !== null && typeof token !== 'string' && !Number.isSafeInteger(token))
    throw new RpcError('invalidMeta', '_meta.progressToken must be a string or an integer');
  return {
    id,
    method,
    params,
    tasks: isObject(extensions) && isObject(extensions[TASKS]),
    elicitation: isObject(elicitation) && (Object.keys(elicitation).length === 0 || 'form' in elicitation),
    // A string or a safe integer, as has just been checked.
    progressToken: token as string | number | null,
  };
}

function missing(name: string): RpcError {
  return new RpcError('invalidMeta', `params._meta["${name}"] is missing`);
}

function unsupported(requested: string): RpcError {
  return new RpcError('unsupportedVersion', `this server does not speak ${requested}`, {
    supported: [MODERN, ...LEGACY],
    requested,
  });
}

/** @throws RpcError `missingCapability` unless the client drives tasks */
export function requireTasks({ tasks }: ModernRequest): void {
  if (tasks) return;
  throw new RpcError('missingCapability', `this needs the client capability ${TASKS}`, {
    requiredCapabilities: { extensions: { [TASKS]: {} } },
  });
}

/** @throws RpcError `missingCapability` unless the client can ask its person */
export function requireElicitation({ elicitation }: ModernRequest): void {
  if (elicitation) return;
  throw new RpcError(
    'missingCapability',
    'this tool asks first: it needs the client capability elicitation',
    {
      requiredCapabilities: { elicitation: {} },
    },
  );
}
