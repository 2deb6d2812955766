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
  /** Nonces that the server has taken since its clock was moved. */
  let taken = new Set<string>();

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

  function signedProblem(
    response: ResponseMessage,
    body: string,
    { client_id, nonce, request_id }: RequestMessage,
  ): string | null {
    const credential = credentials.get(client_id);
    if (credential === undefined) return 'of a client that is not known';
    if (response.signature === '') return 'an unsigned reply, and the MAC held';
    verifiedReply(body, credential);
    if (response.request_id !== request_id) return `answers ${response.request_id}`;
    const code = codeOf(response) ?? '';
    if (WITHOUT_NONCE.has(code)) return null;
    const key = `${client_id} ${nonce}`;
    const isNew = !taken.has(key);
    taken.add(key);
    if (isNew) return code === 'replayed' ? 'the nonce is new, and refused' : null;
    return code === 'replayed' ? null : 'the nonce was used before, and is taken again';
  }

  return {
    folder: 'call',
    forget() {
      taken = new Set();
    },
    prepare(template): Input {
      const bytes = fill(template, filling());
      const verdict = judge(bytes, credentials);
      let reply: Reply | null = null;
      return {
        bytes,
        isDeep: verdict.kind === 'verified',
        async run() {
          reply = await server.handle(bytes);
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

function codeOf({ error }: ResponseMessage): string | null {
  return error === null ? null : (/^([a-z_]+): ./s.exec(error)?.[1] ?? '');
}
