import { CODES } from '../../src/errors/codes.ts';
import type { Reply } from '../../src/transports/index.ts';
import type { RequestMessage, ResponseMessage } from '../../src/wire/index.ts';
import { verifiedReply } from '../support/signing.ts';
import { isResponse, judge, type Verdict } from './message.ts';
import type { Input, Target } from './target.ts';
import { fill } from './template.ts';
import type { World } from './world.ts';

/** Refusals that come before the nonce is remembered, or say that it could not be. */
const WITHOUT_NONCE: ReadonlySet<string> = new Set(['wrong_server', 'stale', 'busy']);

/** `server.handle(bytes)`. */
export function callTarget({ server, filling, credentials, secrets }: World): Target {
  /** How often the server has taken each nonce since its clock was moved. */
  let taken = new Map<string, number>();
  /** Replies of the last batch: which of them took a nonce is known when all are there, for they come in any order. */
  let heard: { readonly key: string; readonly reply: Reply }[] = [];

  function countTaken(): void {
    for (const { key, reply } of heard) {
      const code = codeOf(JSON.parse(reply.body)) ?? '';
      if (code !== 'replayed' && !WITHOUT_NONCE.has(code)) taken.set(key, (taken.get(key) ?? 0) + 1);
    }
    heard = [];
  }

  function problemOf(reply: Reply, verdict: Verdict): string | null {
    const leaked = secrets.find((secret) => reply.body.includes(secret));
    if (leaked !== undefined) return 'a secret is in the reply';
    const message: unknown = JSON.parse(reply.body);
    if (!isResponse(message)) return `no well-formed response: ${JSON.stringify(isResponse.errors)}`;
    // Just checked against the schema.
    const response = message as ResponseMessage;
    const code = codeOf(response);
    if (code !== null && !(code in CODES)) return `there is no code ${code}`;
    if (verdict.kind === 'refused') {
      if (response.signature !== '') return 'a signed reply, and no MAC held';
      if (response.ok || response.result !== null) return 'an unsigned reply says more than that it refuses';
      return code === verdict.code ? null : `should be ${verdict.code}`;
    }
    return signedProblem(response, reply.body, verdict.message);
  }

  function signedProblem(response: ResponseMessage, body: string, message: RequestMessage): string | null {
    const credential = credentials.get(message.client_id);
    if (credential === undefined) return 'of a client that is not known';
    if (response.signature === '') return 'an unsigned reply, and the MAC held';
    verifiedReply(body, credential);
    if (response.request_id !== message.request_id) return `answers ${response.request_id}`;
    const code = codeOf(response) ?? '';
    if (WITHOUT_NONCE.has(code)) return null;
    countTaken();
    const times = taken.get(keyOf(message)) ?? 0;
    if (code === 'replayed') return times > 0 ? null : 'the nonce is new, and refused';
    return times === 1 ? null : `the nonce was taken ${times} times`;
  }

  return {
    folder: 'call',
    forget() {
      taken = new Map();
    },
    prepare(template): Input {
      const bytes = fill(template, filling());
      const verdict = judge(bytes, credentials);
      let reply: Reply | null = null;
      return {
        bytes,
        isDeep: verdict.kind === 'verified',
        async run() {
          const answered = await server.handle(bytes);
          reply = answered;
          if (verdict.kind === 'verified') heard.push({ key: keyOf(verdict.message), reply: answered });
        },
        problem: () => (reply === null ? 'no reply' : problemOf(reply, verdict)),
        outcome() {
          if (reply === null) return 'none';
          const { error, status }: ResponseMessage = JSON.parse(reply.body);
          return error?.split(':', 1)[0] ?? status;
        },
        shown: () => reply?.body ?? '',
      };
    },
  };
}

function keyOf({ client_id, nonce }: RequestMessage): string {
  return `${client_id} ${nonce}`;
}

function codeOf({ error }: ResponseMessage): string | null {
  return error === null ? null : (/^([a-z_]+): ./s.exec(error)?.[1] ?? '');
}
