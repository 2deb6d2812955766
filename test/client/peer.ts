import {
  createClient,
  type ClientOptions,
  type Client,
  type Clock,
  type Transport,
} from '../../src/client/index.ts';
import { MESSAGE_LIMITS } from '../../src/limits.ts';
import { DEFAULT_CODEC, decodeRequest, withSignature } from '../../src/wire/codec.ts';
import type { RequestMessage, ResponseMessage } from '../../src/wire/envelope.ts';
import { generateSecret } from '../../src/wire/secret.ts';
import { holds, keyOf, sign } from '../../src/wire/signature.ts';

/**
 * The other side of a client, without a server: it verifies requests and signs replies with
 * node:crypto, which the client does not use.
 */
export interface Peer {
  readonly transport: Transport;
  /** Every request that arrived, verified. */
  readonly requests: readonly RequestMessage[];
}

/** Bytes of a reply, a failure of the transport, or silence until the signal aborts. */
export type Answer = Uint8Array | Error | 'silence';

export const START_MS = 1_800_000_000_000;

export const credential = {
  client_id: 'agent-a',
  server_id: 'srv-1',
  url: 'http://127.0.0.1:9/call',
  request_key: generateSecret(),
  response_key: generateSecret(),
};

const requestKey = keyOf(credential.request_key);
const responseKey = keyOf(credential.response_key);
const utf8 = new TextEncoder();

/** @param answer what to do about the nth request, counted from 1 */
export function createPeer(answer: (request: RequestMessage, nth: number) => Answer | Promise<Answer>): Peer {
  const requests: RequestMessage[] = [];
  return {
    requests,
    transport: async (bytes, { signal }) => {
      const { message, signedText } = decodeRequest(bytes, MESSAGE_LIMITS);
      if (!holds(signedText, message.signature, requestKey))
        throw new Error('the request is not signed right');
      requests.push(message);
      const given = await answer(message, requests.length);
      if (given instanceof Error) throw given;
      if (given !== 'silence') return given;
      return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
    },
  };
}

/** Answers in turn; the last one is repeated. */
export function inTurn(
  ...answers: ((request: RequestMessage) => Answer)[]
): (request: RequestMessage, nth: number) => Answer {
  return (request, nth) => {
    const answer = answers[Math.min(nth, answers.length) - 1];
    if (answer === undefined) throw new Error('no answers were given');
    return answer(request);
  };
}

export type Members = Partial<Omit<ResponseMessage, 'signature'>>;

/** Members of an honest reply, `ok` with an empty result unless told otherwise. */
export function membersOf(
  request: RequestMessage,
  members: Members = {},
): Omit<ResponseMessage, 'signature'> {
  return {
    v: 'mcp/0.1',
    request_id: request.request_id,
    ts_ms: START_MS,
    server_id: credential.server_id,
    ok: true,
    status: 'ok',
    result: {},
    error: null,
    ...members,
  };
}

export function signed(message: Omit<ResponseMessage, 'signature'>, key = responseKey): Uint8Array {
  const text = DEFAULT_CODEC.responseText(message, { members: 0 });
  return utf8.encode(withSignature(text, sign(text, key)));
}

export function reply(request: RequestMessage, members: Members = {}): Uint8Array {
  return signed(membersOf(request, members));
}

/** A signed `ok:false`. */
export function refusal(request: RequestMessage, error: string, members: Members = {}): Uint8Array {
  return reply(request, { ok: false, status: 'error', result: null, error, ...members });
}

/** What a server says before the MAC holds (docs/protocol.md §8), and what anybody can forge. */
export function unsigned(request: RequestMessage, error: string): Uint8Array {
  const members = { ok: false, status: 'error', result: null, error, signature: '' };
  return utf8.encode(JSON.stringify({ ...membersOf(request), ...members }));
}

export function jsonBytes(value: unknown): Uint8Array {
  return utf8.encode(JSON.stringify(value));
}

/** A clock that stands still; pauses take no time and are written down. */
export interface TestClock extends Clock {
  nowMs: number;
  readonly sleeps: number[];
}

export function createTestClock(nowMs: number = START_MS): TestClock {
  return {
    nowMs,
    sleeps: [],
    now() {
      return this.nowMs;
    },
    async sleep(ms, signal) {
      signal?.throwIfAborted();
      this.sleeps.push(ms);
    },
  };
}

/** A client of the peer whose pauses take no time. */
export function clientOf(peer: Peer, options: ClientOptions = {}): Client {
  return createClient(credential, { transport: peer.transport, clock: createTestClock(), ...options });
}

/** The error a promise rejects with. */
export async function rejection(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error('it did not reject');
}
