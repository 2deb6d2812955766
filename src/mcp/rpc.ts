import { ClientError, type Code, factsOf, type ProtocolError } from '../errors/index.ts';
import { MCP_LIMITS, MESSAGE_LIMITS } from '../limits.ts';
import { knownError } from '../server/known-error.ts';
import type { Logger } from '../tools/index.ts';
import { CanonicalJsonError } from '../wire/canonical-json.ts';
import { checkCarried } from '../wire/carried.ts';
import { isObject, type JsonObject, type JsonValue } from '../wire/json.ts';

/**
 * Errors that JSON-RPC and the Model Context Protocol define: code and HTTP status, of those that are found
 * before a method runs. `-32020` and up belong to the specification (2026-07-28, basic, “Error Codes”).
 */
const RPC_ERRORS = {
  parseError: [-32_700, 400],
  invalidRequest: [-32_600, 400],
  methodNotFound: [-32_601, 404],
  invalidMeta: [-32_602, 400],
  headerMismatch: [-32_020, 400],
  missingCapability: [-32_021, 400],
  unsupportedVersion: [-32_022, 400],
  // Of a method that ran: the answer is the payload, and HTTP did its work.
  invalidParams: [-32_602, 200],
  internal: [-32_603, 200],
} as const;

/** What a request is refused with. */
export class RpcError extends Error {
  override readonly name = 'RpcError';
  /** `own`: a refusal of ours that JSON-RPC has no word for. */
  readonly kind: keyof typeof RPC_ERRORS | 'own';
  readonly code: number;
  readonly httpStatus: number;
  readonly data: JsonValue | undefined;

  constructor(kind: keyof typeof RPC_ERRORS | readonly [number, number], message: string, data?: JsonValue) {
    super(message);
    this.kind = typeof kind === 'string' ? kind : 'own';
    const [code, httpStatus] = typeof kind === 'string' ? RPC_ERRORS[kind] : kind;
    this.code = code;
    this.httpStatus = httpStatus;
    this.data = data;
  }

  /** The `error` member of a JSON-RPC response. */
  get body(): JsonObject {
    return { code: this.code, message: this.message, ...(this.data !== undefined && { data: this.data }) };
  }
}

/** Codes of ours that JSON-RPC has a word for. */
const STANDARD: Partial<Record<Code, keyof typeof RPC_ERRORS>> = {
  unknown_tool: 'invalidParams',
  not_found: 'invalidParams',
  invalid_args: 'invalidParams',
  internal: 'internal',
};

/**
 * A refusal of ours as a JSON-RPC error. What JSON-RPC has no word for keeps the number of its HTTP status
 * (docs/protocol.md §9), which lies outside the range that is reserved; `data.code` is the word for programs.
 */
export function rpcErrorOf({ code, message, result }: ProtocolError): RpcError {
  // Results of our own errors are JSON: issues, or when to come back.
  const data = { ...(result as JsonObject | null), code };
  return new RpcError(STANDARD[code] ?? [factsOf(code).httpStatus, 200], message, data);
}

/** What crosses the wire for any error; an unknown one is a mistake of ours: the log gets the detail. */
export function asRpcError(error: unknown, log: Logger): RpcError {
  if (error instanceof RpcError) return error;
  if (error instanceof ClientError) return new RpcError('internal', error.message);
  return rpcErrorOf(knownError(error, log, ''));
}

export type RpcId = string | number;

/** A message that a client sends: a request, or a notification if it has no id. */
export interface RpcMessage {
  readonly id: RpcId | null;
  readonly method: string;
  readonly params: JsonObject;
}

/** @throws RpcError `invalidRequest` for anything but one request or notification */
export function asRpcMessage(value: unknown): RpcMessage {
  if (Array.isArray(value))
    throw new RpcError('invalidRequest', 'batches are not supported: send one message');
  if (!isObject(value) || value['jsonrpc'] !== '2.0')
    throw new RpcError('invalidRequest', 'not a JSON-RPC 2.0 message');
  const { id = null, method, params = {} } = value;
  if (typeof method !== 'string')
    throw new RpcError('invalidRequest', 'method is missing: responses are not taken here');
  if (id !== null && typeof id !== 'string' && !Number.isSafeInteger(id))
    throw new RpcError('invalidRequest', 'id must be a string or an integer');
  if (id === null && 'id' in value) throw new RpcError('invalidRequest', 'id must not be null');
  if (!isObject(params)) throw new RpcError('invalidRequest', 'params must be an object');
  refuseUncarried(params);
  // Parsed from JSON, whose numbers isSafeInteger has just looked at.
  return { id: id as RpcId | null, method, params: params as JsonObject };
}

/** No tool is given what the other wire, or the record of a job, could not hold. */
function refuseUncarried(params: object): void {
  try {
    checkCarried(params);
  } catch (error) {
    if (!(error instanceof CanonicalJsonError)) throw error;
    throw new RpcError('invalidRequest', `params.${error.message}`);
  }
}

/** The id to echo of a message that could not be taken. */
export function idOf(value: unknown): RpcId | null {
  return isObject(value) ? asRpcId(value['id']) : null;
}

export function asRpcId(id: unknown): RpcId | null {
  // 1e400 is read as an infinity, which JSON would write as null.
  return typeof id === 'string' || (typeof id === 'number' && Number.isFinite(id)) ? id : null;
}

/** @throws RpcError `internal` for an answer that is larger than hosts can be asked to read */
export function sendable(text: string): string {
  const maxChars = MCP_LIMITS.answerFactor * MESSAGE_LIMITS.maxMessageBytes;
  if (text.length <= maxChars) return text;
  throw new RpcError('internal', `the result makes an answer of ${text.length} characters`);
}

/** A response from the text of its result. */
export function answerText(id: RpcId, result: string): string {
  return `{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":${result}}`;
}

export function errorText(id: RpcId | null, error: RpcError): string {
  return JSON.stringify({ jsonrpc: '2.0', ...(id !== null && { id }), error: error.body });
}

export function notificationText(method: string, params: JsonObject): string {
  return JSON.stringify({ jsonrpc: '2.0', method, params });
}
