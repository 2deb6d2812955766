import { randomUUID } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { prove } from '../../src/audit/prove.ts';
import { type CallRecord, digestOf } from '../../src/audit/record.ts';
import { canonicalize, withSignature } from '../../src/wire/index.ts';
import { bundleOf, CALL, KEYS, makeChains, pieces, type Step, START_MS } from './bundles.ts';

const SIGNATURE = 'a'.repeat(64);

function requestOf(nonce: string) {
  const args = { text: 'Zoë', numbers: [1, 2.5] };
  const names = { client_id: 'alice', server_id: 'acme', tool: 'batch_sum' };
  return { v: 'mcp/0.1', request_id: CALL.requestId, ts_ms: START_MS, ...names, args, nonce };
}

function replyOf(total: number) {
  const result = { count: 2, total, text: 'Zoë "quoted" \u2028' };
  const outcome = { ok: true, status: 'ok', result, error: null };
  return { v: 'mcp/0.1', request_id: CALL.requestId, ts_ms: START_MS, server_id: 'acme', ...outcome };
}

const wireText = (message: object) => withSignature(canonicalize(message), SIGNATURE);

const recordOf = (request: object, reply: object): CallRecord => ({
  ...CALL,
  request: digestOf(canonicalize(request)),
  reply: digestOf(canonicalize(reply)),
});

const REQUEST = requestOf(randomUUID());
const REPLY = replyOf(3.5);
const RECORD = recordOf(REQUEST, REPLY);

async function proofIn(steps: readonly (readonly Step[])[], request?: object, reply: object = REPLY) {
  const chains = makeChains(steps);
  const bundle = await bundleOf(chains);
  const texts = { reply: wireText(reply), request: request === undefined ? undefined : wireText(request) };
  const proof = await prove({ bundle: () => pieces(bundle, 1_000), key: KEYS.publicText, ...texts });
  return { proof, ids: [...chains.keys()] };
}

describe('a client proves from its own copy that a call is in the log', () => {
  test('and is told where, when, how it ended, and which signed head covers it', async () => {
    const steps: Step[][] = [
      [CALL, 'head'],
      ['head', CALL, { ...RECORD, job: 'job-1' }, CALL, 'head', 'close'],
    ];
    const { proof, ids } = await proofIn(steps, REQUEST);
    expect(proof).toMatchObject({
      result: 'proven',
      key: KEYS.publicText,
      call: {
        chain: ids[1],
        seq: 3,
        ms: expect.any(Number),
        client: 'alice',
        requestId: CALL.requestId,
        tool: 'batch_sum',
        outcome: 'ok',
        job: 'job-1',
        head: { chain: ids[1], seq: 5, signature: expect.stringMatching(/^ed25519:/) },
      },
    });
  });

  test('with the reply alone', async () => {
    expect((await proofIn([[RECORD, 'head']])).proof).toMatchObject({ result: 'proven', call: { seq: 1 } });
  });

  test('however its messages are written', async () => {
    const bundle = await bundleOf(makeChains([[RECORD]]));
    const turned = (message: object) =>
      JSON.stringify(
        Object.fromEntries(Object.entries({ ...message, signature: SIGNATURE }).toReversed()),
        null,
        2,
      );
    const escaped = turned(REPLY).replace('Zoë', 'Zo\\u00eb').replace('3.5', '35e-1');
    const proof = await prove({ bundle: () => pieces(bundle, 9), reply: escaped, request: turned(REQUEST) });
    expect(proof.result).toBe('proven');
  });

  test('also where no head has covered it yet', async () => {
    const { proof } = await proofIn([[RECORD], [CALL, 'head']]);
    expect(proof).toMatchObject({ result: 'proven', call: { head: null } });
  });

  test('of two that were answered with the same, by its request', async () => {
    const retry = requestOf(randomUUID());
    const { proof } = await proofIn([[RECORD, recordOf(retry, REPLY)]], retry);
    expect(proof).toMatchObject({ result: 'proven', call: { seq: 2 } });
  });
});

describe('a client proves nothing', () => {
  test('with a reply that is not there', async () => {
    const { proof } = await proofIn([[RECORD]], REQUEST, replyOf(4));
    expect(proof).toMatchObject({ result: 'not_found', records: 2 });
  });

  test('with a reply to another request', async () => {
    const { proof } = await proofIn([[RECORD]], requestOf(randomUUID()));
    expect(proof).toMatchObject({ result: 'other_request', call: { seq: 1 } });
  });

  test('in a bundle that is broken, or of somebody else', async () => {
    const bundle = (await bundleOf(makeChains([[RECORD, CALL]]))).replace('"seq":2', '"seq":3');
    const reply = wireText(REPLY);
    const broken = await prove({ bundle: () => pieces(bundle, 1_000), reply });
    expect(broken).toMatchObject({ result: 'broken', finding: { problem: 'changed', seq: 2 } });
    const key = `${KEYS.publicText.slice(0, -1)}0`;
    const other = await prove({ bundle: () => pieces(bundle, 1_000), reply, key });
    expect(other).toMatchObject({ result: 'broken', finding: { problem: 'wrong_key' } });
  });

  test.each(['reply', 'request'] as const)('with a %s that is no message', async (which) => {
    const texts = { reply: wireText(REPLY), request: wireText(REQUEST), [which]: '{"v":1}' };
    const proof = await prove({ bundle: () => pieces('', 1), ...texts });
    expect(proof).toMatchObject({ result: 'not_a_message', which, reason: expect.stringContaining('v') });
  });
});
