import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ClientError, codeOf, ProtocolError } from '../../src/client/index.ts';
import { CODES } from '../../src/errors/index.ts';
import { CLIENT_LIMITS } from '../../src/limits.ts';
import type { RequestMessage } from '../../src/wire/envelope.ts';
import { keyOf } from '../../src/wire/signature.ts';
import {
  type Answer,
  clientOf,
  createPeer,
  credential,
  inTurn,
  jsonBytes,
  membersOf,
  refusal,
  rejection,
  reply,
  signed,
  START_MS,
  unsigned,
} from './peer.ts';

const utf8 = new TextEncoder();
const good = (request: RequestMessage) => reply(request, { result: { honest: true } });

describe('a client accepts a reply only if', () => {
  it('verified, to its request, from its server and fresh', async () => {
    const peer = createPeer(good);
    expect(await clientOf(peer).call('tool')).toEqual({ honest: true });
    expect(peer.requests).toHaveLength(1);
  });

  const { maxReplySkewMs } = CLIENT_LIMITS;
  it.each([
    ['exactly as old as allowed', -maxReplySkewMs],
    ['exactly as far in the future as allowed', maxReplySkewMs],
  ])('its time is %s', async (_, skewMs) => {
    const peer = createPeer((request) => reply(request, { ts_ms: START_MS + skewMs }));
    expect(await clientOf(peer).call('tool')).toEqual({});
  });

  const tampered = (request: RequestMessage, from: string, to: string) =>
    utf8.encode(new TextDecoder().decode(good(request)).replace(from, to));

  const refused: Record<string, [answer: (request: RequestMessage) => Answer, why: RegExp]> = {
    'its signature is empty': [(r) => unsigned(r, 'bad_signature: no'), /unsigned.*bad_signature: no/],
    'it is signed with the request key': [
      (r) => signed(membersOf(r), keyOf(credential.request_key)),
      /signature of the reply is wrong/,
    ],
    'it is signed by a stranger': [
      (r) => signed(membersOf(r), keyOf('stranger')),
      /signature of the reply is wrong/,
    ],
    'its result was changed': [(r) => tampered(r, 'true}', 'false}'), /signature of the reply is wrong/],
    'it answers another request': [(r) => reply(r, { request_id: 'other' }), /another request/],
    'it comes from another server': [
      (r) => reply(r, { server_id: 'srv-2' }),
      /from server srv-2 instead of srv-1/,
    ],
    'it is older than the window': [(r) => reply(r, { ts_ms: START_MS - maxReplySkewMs - 1 }), /not fresh/],
    'it is from further ahead than the window': [
      (r) => reply(r, { ts_ms: START_MS + maxReplySkewMs + 1 }),
      /not fresh/,
    ],
    'an old refusal is sent again': [
      (r) => refusal(r, 'not_found: no', { ts_ms: START_MS - maxReplySkewMs - 1 }),
      /not fresh/,
    ],
    'its status says error without one': [
      (r) => jsonBytes({ ...membersOf(r), status: 'error' }),
      /no message/,
    ],
    'a member is missing': [(r) => jsonBytes({ ...membersOf(r), v: undefined }), /no message.*v: is missing/],
    'a member is unknown': [
      (r) => tampered(r, '"ok":true', '"extra":1,"ok":true'),
      /no message.*extra: is not a member/,
    ],
    'a member stands twice': [(r) => tampered(r, '"ok":true', '"ok":false,"ok":true'), /no message.*twice/],
    'it is the request itself': [(r) => jsonBytes(r), /no message/],
    'it is not JSON': [() => utf8.encode('<html>'), /no message.*not JSON/],
    'it is empty': [() => new Uint8Array(), /no message.*not JSON/],
    'it is not UTF-8': [() => new Uint8Array([0xff, 0xfe]), /no message.*UTF-8/],
    'it is over a mebibyte': [() => new Uint8Array(1_048_577), /no message.*at most 1048576/],
  };

  it.each(Object.entries(refused))('not when %s', async (_, [bad, why]) => {
    const peer = createPeer(bad);
    const error = await rejection(clientOf(peer).call('tool'));
    expect(error).toBeInstanceOf(ClientError);
    expect(error).toMatchObject({ kind: 'reply_unverified', message: expect.stringMatching(why) });
    expect(peer.requests).toHaveLength(CLIENT_LIMITS.unverifiedAttempts);
  });

  it.each(Object.entries(refused))('and one forged reply does not end the call: %s', async (_, [bad]) => {
    const peer = createPeer(inTurn(bad, good));
    expect(await clientOf(peer).call('tool')).toEqual({ honest: true });
  });

  it('every byte of it is as the server signed it', async () => {
    let at = 0;
    let bit = 0;
    let length = 1;
    const peer = createPeer((request, nth) => {
      if (nth % 2 === 0) return reply(request, { result: { honest: true } });
      const bytes = reply(request, { result: { honest: false } });
      length = bytes.length;
      bytes[at] = (bytes[at] ?? 0) ^ (1 << bit);
      return bytes;
    });
    const client = clientOf(peer);
    for (; at < length; at++) {
      bit = at % 8;
      expect(await client.call('tool')).toEqual({ honest: true });
    }
    expect(length).toBeGreaterThan(200);
    expect(peer.requests).toHaveLength(2 * length);
  });

  it('whatever bytes come, nothing but an honest reply is believed', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 600 }), async (bytes) => {
        const peer = createPeer(inTurn(() => new Uint8Array(bytes), good));
        expect(await clientOf(peer).call('tool')).toEqual({ honest: true });
      }),
      { numRuns: 200 },
    );
  });
});

describe('an unsigned reply', () => {
  it('is shown as a hint without control characters and cut', async () => {
    const peer = createPeer((request) => unsigned(request, `bad_envelope: \u001b[31m${'x'.repeat(1_000)}`));
    const error = await rejection(clientOf(peer).call('tool'));
    if (!(error instanceof ClientError)) throw error;
    expect(error.message).toContain('unsigned');
    expect(error.message).toContain('?[31mxxx');
    expect(error.message).not.toContain('\u001b');
    expect(error.message.length).toBeLessThan(400);
  });
});

describe('a verified refusal', () => {
  const final = Object.entries(CODES).filter(([, facts]) => facts.signed && !facts.retryable);

  it.each(final)(
    '%s is thrown as a ProtocolError with message and result, after one transmission',
    async (code) => {
      const result = { issues: [{ path: 'numbers', message: 'too few' }] };
      const peer = createPeer((request) => refusal(request, `${code}: numbers: too few`, { result }));
      const error = await rejection(clientOf(peer).call('tool'));
      expect(error).toBeInstanceOf(ProtocolError);
      expect(error).toMatchObject({ code: codeOf(code), message: 'numbers: too few', result });
      expect(peer.requests).toHaveLength(1);
    },
  );

  it('with a code of a later version becomes internal, with the whole text', async () => {
    const peer = createPeer((request) => refusal(request, 'out_of_tea: come back at five'));
    const error = await rejection(clientOf(peer).call('tool'));
    expect(error).toMatchObject({ code: 'internal', message: 'out_of_tea: come back at five' });
  });

  it('of a direct tool that ran and failed is thrown as well', async () => {
    const peer = createPeer((r) =>
      reply(r, { status: 'error', result: null, error: 'job_failed: no such row' }),
    );
    const error = await rejection(clientOf(peer).call('tool'));
    expect(error).toMatchObject({ code: 'job_failed', message: 'no such row' });
  });
});
