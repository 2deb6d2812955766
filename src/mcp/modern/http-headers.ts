import { isObject } from '../../wire/json.ts';
import { headerText } from '../param-headers.ts';
import { META } from '../protocol.ts';
import { RpcError, type RpcMessage } from '../rpc.ts';

type Header = (name: string) => string | undefined;

/** Which member of `params` stands in `Mcp-Name` (2026-07-28, basic/transports; Tasks, “Routing Headers”). */
const NAMES: Readonly<Record<string, string>> = {
  'tools/call': 'name',
  'tasks/get': 'taskId',
  'tasks/update': 'taskId',
  'tasks/cancel': 'taskId',
};

/**
 * Headers must say what the body says, or whoever routes by the one is deceived by the other.
 *
 * @throws RpcError `headerMismatch`
 */
export function checkHeaders({ method, params }: RpcMessage, header: Header): void {
  const { _meta: meta } = params;
  const version = isObject(meta) ? meta[META.protocolVersion] : undefined;
  // A body that does not say its version is refused for that.
  if (typeof version === 'string') compare('MCP-Protocol-Version', header('mcp-protocol-version'), version);
  compare('Mcp-Method', header('mcp-method'), method);
  const name = nameIn(method, params);
  if (name !== undefined) compare('Mcp-Name', nameOf(header('mcp-name')), name);
}

/**
 * The same for older revisions, which do not have these headers: they may be left out, and not deceive anybody.
 *
 * @throws RpcError `headerMismatch`
 */
export function checkGivenHeaders({ method, params }: RpcMessage, header: Header): void {
  const [givenMethod, givenName] = [header('mcp-method'), header('mcp-name')];
  if (givenMethod !== undefined) compare('Mcp-Method', givenMethod, method);
  const name = nameIn(method, params);
  if (givenName !== undefined && name !== undefined) compare('Mcp-Name', nameOf(givenName), name);
}

function nameIn(method: string, params: RpcMessage['params']): string | undefined {
  const member = NAMES[method];
  const name = member === undefined ? undefined : params[member];
  return typeof name === 'string' ? name : undefined;
}

function nameOf(raw: string | undefined): string | undefined {
  const text = raw === undefined ? raw : headerText(raw);
  if (text === null) throw new RpcError('headerMismatch', 'Mcp-Name holds characters that a header may not');
  return text;
}

function compare(name: string, header: string | undefined, body: string): void {
  if (header === undefined) throw new RpcError('headerMismatch', `the header ${name} is missing`);
  if (header !== body) throw new RpcError('headerMismatch', `the header ${name} differs from the body`);
}
