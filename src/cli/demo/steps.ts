import type { Client, Transport } from '../../client/index.ts';
import type { PlacedCredential } from '../../wire/credential.ts';
import { type Expected, verifyReply } from '../../client/reply.ts';
import { createSigner } from '../../client/signer.ts';
import { type Code, ProtocolError } from '../../errors/index.ts';
import { isObject } from '../../wire/index.ts';

/** What a step may use. */
export interface Stage {
  readonly client: Client;
  readonly credential: PlacedCredential;
  /** Sends bytes to the server as they are, as somebody without the keys can. */
  readonly send: Transport;
  /** The bytes of every request so far, as they were on the wire. */
  readonly sent: readonly Uint8Array<ArrayBuffer>[];
  readonly signal: AbortSignal;
}

export interface Step {
  /** The tool, or the code of the refusal that it is about. */
  readonly name: string;
  /** What the step shows. */
  readonly shows: string;
  /** Did it come out as it must? */
  run(stage: Stage): Promise<boolean>;
}

const NUMBERS = [1, 2, 3.5];
const PAYLOAD = { report: 'spring' };
/** Index of the request of the second step, which somebody else captures. */
const CAPTURED = 1;

/** The published flow (docs/protocol.md). */
export const STEPS: readonly Step[] = [
  {
    name: 'server_identity',
    shows: 'Who answers? Every request and every reply is signed, each side with a key of its own.',
    async run({ client, credential, signal }) {
      const { server_id } = await client.identity({ signal });
      return server_id === credential.server_id;
    },
  },
  {
    name: 'batch_sum',
    shows: 'A call: the server checks the signature, runs the tool and signs the reply.',
    async run({ client, signal }) {
      const { count, total } = await client.call('batch_sum', { numbers: NUMBERS }, { signal });
      return count === 3 && total === 6.5;
    },
  },
  {
    name: 'invalid_args',
    shows: 'Wrong arguments: refused before the tool runs, with the reason.',
    async run({ client, signal }) {
      const error = await refusalOf(client.call('batch_sum', { numbers: [] }, { signal }), 'invalid_args');
      return Array.isArray(error?.result?.['issues']);
    },
  },
  {
    name: 'bad_signature',
    shows: 'Tampered with: somebody on the way makes the 2 a 9, and the signature no longer fits.',
    async run({ send, sent, signal }) {
      const text = new TextDecoder().decode(sent[CAPTURED]).replace('[1,2,3.5]', '[1,9,3.5]');
      const reply: unknown = JSON.parse(
        new TextDecoder().decode(await send(new TextEncoder().encode(text), { signal })),
      );
      if (!isObject(reply) || typeof reply['error'] !== 'string') return false;
      return (
        reply['error'].startsWith('bad_signature: ') && reply['ok'] === false && reply['result'] === null
      );
    },
  },
  {
    name: 'replayed',
    shows: 'Replayed: somebody sends the bytes of step 2 once more, but a nonce counts only once.',
    async run({ send, sent, credential, signal }) {
      const bytes = sent[CAPTURED] ?? new Uint8Array();
      const reply = await send(bytes, { signal });
      const expected: Expected = {
        requestId: requestIdOf(bytes),
        serverId: credential.server_id,
        nowMs: Date.now(),
        clockUnknown: false,
      };
      const { ok, error, result } = await verifyReply(reply, expected, createSigner(credential));
      return !ok && result === null && (error ?? '').startsWith('replayed: ');
    },
  },
  {
    name: 'start_long_task',
    shows: 'A job: accepted once it is on disk; it runs on its own and tells how far it is.',
    async run({ client, signal }) {
      const job = await client.start('start_long_task', { seconds: 4, payload: PAYLOAD }, { signal });
      const states: string[] = [];
      let report: unknown;
      for await (const { state, result } of job.updates({ signal })) {
        states.push(state);
        report = result?.['report'];
      }
      return states.includes('running') && states.at(-1) === 'succeeded' && report === PAYLOAD.report;
    },
  },
];

/** The refusal that is expected, or null if the call came out otherwise. */
async function refusalOf(call: Promise<unknown>, code: Code): Promise<ProtocolError | null> {
  try {
    await call;
    return null;
  } catch (error) {
    if (error instanceof ProtocolError) return error.code === code ? error : null;
    throw error;
  }
}

function requestIdOf(bytes: Uint8Array): string {
  const request: unknown = JSON.parse(new TextDecoder().decode(bytes));
  return isObject(request) ? String(request['request_id']) : '';
}
