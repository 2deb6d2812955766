import { randomUUID } from 'node:crypto';
import { Agent, request as httpRequest } from 'node:http';
import type { Credential } from '../../src/transports/index.ts';
import type { JsonObject, ResponseMessage } from '../../src/wire/index.ts';
import * as signing from './signing.ts';

/** A client that shows each message it sends: what `createClient` hides is what some tests are about. */
export interface Caller {
  readonly credential: Credential;
  /** A signed request; the nonce and, unless given, the request_id are new. */
  request(tool: string, args: JsonObject, requestId?: string): Buffer;
  /**
   * @param timeoutMs how long to wait for the whole reply; without it, as long as the connection holds
   * @throws NoReply; another Error for a reply that is neither signed right nor a refusal without signature
   */
  send(url: string, bytes: Uint8Array, timeoutMs?: number): Promise<Answer>;
}

export interface Answer {
  readonly message: ResponseMessage;
  /** `code` of `code: message`. */
  readonly code: string | null;
  readonly signed: boolean;
}

/** No whole reply came: nothing is known of what became of the request. */
export class NoReply extends Error {}

/** For `catch`. @throws whatever else the error is */
export function nullIfNoReply(error: unknown): null {
  if (error instanceof NoReply) return null;
  throw error;
}

export function createCaller(credential: Credential): Caller {
  const agent = new Agent({ keepAlive: true });
  return {
    credential,
    request(tool, args, requestId = randomUUID()) {
      return signing.request(credential, tool, args, { request_id: requestId, ts_ms: Date.now() });
    },
    async send(url, bytes, timeoutMs) {
      const body = await post(url, bytes, agent, timeoutMs);
      const signed = JSON.parse(body).signature !== '';
      const message = signed ? signing.verifiedReply(body, credential) : signing.unsignedReply(body);
      return { message, code: message.error?.split(':', 1)[0] ?? null, signed };
    },
  };
}

/** The job that the reply is about. */
export function jobIdOf({ result, error }: ResponseMessage): string {
  const id = result?.['job_id'];
  if (typeof id !== 'string') throw new Error(`a reply without a job_id: ${error}`);
  return id;
}

function post(url: string, bytes: Uint8Array, agent: Agent, timeoutMs?: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'content-length': bytes.byteLength };
    const fail = ({ message }: Error) => {
      clearTimeout(timer);
      reject(new NoReply(message));
    };
    const request = httpRequest(url, { method: 'POST', agent, headers }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => {
        body += text;
      });
      response.on('end', () => {
        clearTimeout(timer);
        resolve(body);
      });
      response.on('error', fail);
    });
    const timer =
      timeoutMs === undefined
        ? undefined
        : setTimeout(() => request.destroy(new Error(`no reply in ${timeoutMs} ms`)), timeoutMs);
    request.on('error', fail);
    request.end(bytes);
  });
}
