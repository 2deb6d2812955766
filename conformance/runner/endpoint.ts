import { request as httpRequest, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { canonical, withSignature } from './canonical.ts';
import { type Credential, keysOf } from './keys.ts';

/** A response whose form has been checked, and its signature if it has one. */
export interface Reply {
  readonly http: number;
  readonly text: string;
  readonly signed: boolean;
  readonly request_id: string;
  readonly ok: boolean;
  readonly status: string;
  readonly result: unknown;
  readonly error: string | null;
}

/** The server did not do what the specification says; the message says what it did instead. */
export class Failure extends Error {
  override readonly name = 'Failure';
}

/** The server cannot be reached at all. */
export class Unreachable extends Error {
  override readonly name = 'Unreachable';
}

const TIMEOUT_MS = 40_000;
/** The freshness that a client asks for (docs/protocol.md §8, last line). */
const MAX_SKEW_MS = 300_000;
const MEMBERS = 'error,ok,request_id,result,server_id,signature,status,ts_ms,v';
const STATUSES: ReadonlySet<unknown> = new Set(['ok', 'accepted', 'running', 'done', 'error']);

/** A request on the wire: the members signed as they are, then changed by `afterSigning`. */
export function writeRequest(
  members: object,
  sign: (text: string) => string,
  afterSigning: object = {},
): Buffer {
  const signature = sign(canonical(members));
  return Buffer.from(withSignature(canonical({ ...members, ...afterSigning }), signature), 'utf8');
}

/**
 * Sends bytes as they are and checks the reply as a client must.
 *
 * @param contentType `null` sends none
 * @throws Failure, Unreachable
 */
export async function exchange(
  credential: Credential,
  body: Buffer,
  contentType: string | null = 'application/json',
): Promise<Reply> {
  const { http, type, bytes } = await post(credential.url, body, contentType);
  if (!/^application\/json\s*(;|$)/i.test(type)) {
    throw new Failure(`the reply (HTTP ${http}) has the content type ${JSON.stringify(type)}`);
  }
  return { http, ...readReply(bytes.toString('utf8'), credential) };
}

interface RawReply {
  readonly http: number;
  readonly type: string;
  readonly bytes: Buffer;
}

function post(url: string, body: Buffer, contentType: string | null): Promise<RawReply> {
  const headers = {
    'content-length': body.length,
    ...(contentType !== null && { 'content-type': contentType }),
  };
  // A connection for each message: what one case does to its connection cannot touch the next.
  const options: RequestOptions = { method: 'POST', headers, agent: false, timeout: TIMEOUT_MS };
  return new Promise((resolve, reject) => {
    const sent = (url.startsWith('https:') ? httpsRequest : httpRequest)(url, options, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', (error) => reject(new Failure(`the reply broke off: ${error.message}`)));
      response.on('end', () => {
        const { statusCode: http = 0 } = response;
        resolve({ http, type: response.headers['content-type'] ?? '', bytes: Buffer.concat(chunks) });
      });
    });
    sent.on('timeout', () => sent.destroy(new Error(`no reply within ${TIMEOUT_MS / 1_000} s`)));
    sent.on('error', (error) => reject(new Unreachable(error.message)));
    sent.end(body);
  });
}

function readReply(text: string, credential: Credential): Omit<Reply, 'http'> {
  const { signature, ...unsigned } = parse(text);
  const { v, request_id, ts_ms, ok, status, result, error } = unsigned;
  must(v === 'mcp/0.1', 'v', v);
  must(typeof request_id === 'string' && /^[!-~]{1,128}$/.test(request_id), 'request_id', request_id);
  must(Number.isSafeInteger(ts_ms) && Number(ts_ms) >= 0, 'ts_ms', ts_ms);
  must(Math.abs(Number(ts_ms) - Date.now()) <= MAX_SKEW_MS, 'ts_ms (far from the clock here)', ts_ms);
  must(unsigned['server_id'] === credential.server_id, 'server_id', unsigned['server_id']);
  must(typeof ok === 'boolean', 'ok', ok);
  must(STATUSES.has(status), 'status', status);
  must(typeof result === 'object' && !Array.isArray(result), 'result', result);
  must(status === 'error' ? typeof error === 'string' : error === null, 'error', error);
  must(ok === true || status === 'error', 'status of a refusal', status);
  const reply = { request_id: String(request_id), ok: ok === true, status: String(status), result };
  const read = { ...reply, text, error: typeof error === 'string' ? error : null };
  if (signature === '') {
    must(ok === false, 'ok of an unsigned reply', ok);
    return { ...read, signed: false };
  }
  const signedText = canonical(unsigned);
  if (typeof signature !== 'string' || !keysOf(credential).holds(signedText, signature))
    throw new Failure('the signature of the reply does not hold under the response key');
  if (text !== withSignature(signedText, signature)) {
    throw new Failure(`the reply is not written in canonical form, signature last: ${text.slice(0, 200)}`);
  }
  return { ...read, signed: true };
}

function parse(text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Failure(`the reply is not JSON: ${JSON.stringify(text.slice(0, 80))}`);
  }
  const names = Object.keys(Object(value)).toSorted().join(',');
  if (names !== MEMBERS) throw new Failure(`the reply has the members ${names || 'of no object'}`);
  // An object with just these members.
  return value as Record<string, unknown>;
}

function must(holds: boolean, name: string, value: unknown): void {
  if (!holds) throw new Failure(`the reply has a wrong ${name}: ${JSON.stringify(value)}`);
}
