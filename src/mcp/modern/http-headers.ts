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
  const member = NAMES[method];
  const name = member === undefined ? undefined : params[member];
  if (typeof name !== 'string') return;
  const raw = header('mcp-name');
  const text = raw === undefined ? raw : headerText(raw);
  if (text === null) throw new RpcError('headerMismatch', 'Mcp-Name holds characters that a header may not');
  compare('Mcp-Name', text, name);
}

function compare(name: string, header: string | undefined, body: string): void {
  if (header === undefined) throw new RpcError('headerMismatch', `the header ${name} is missing`);
  if (header !== body) throw new RpcError('headerMismatch', `the header ${name} differs from the body`);
}
