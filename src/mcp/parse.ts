import { MESSAGE_LIMITS, type MessageLimits } from '../limits.ts';
import { parseJson } from '../wire/parse-json.ts';
import { scan } from '../wire/scan.ts';
import { RpcError } from './rpc.ts';

const utf8 = new TextDecoder('utf-8', { fatal: true });

/**
 * A message's bytes as JSON. Nesting and members are counted before JSON.parse sees them (see wire/scan.ts).
 *
 * @throws RpcError `parseError`, `invalidRequest`
 */
export function parseMessage(bytes: Uint8Array, limits: MessageLimits = MESSAGE_LIMITS): unknown {
  let text: string;
  try {
    text = utf8.decode(bytes);
  } catch {
    throw new RpcError('parseError', 'the message is not UTF-8');
  }
  try {
    scan(text, limits);
  } catch (error) {
    throw new RpcError('invalidRequest', error instanceof Error ? error.message : 'the message is too deep');
  }
  try {
    return parseJson(text);
  } catch {
    throw new RpcError('parseError', 'the message is not JSON');
  }
}
