import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ClientError, codeOf, ProtocolError } from '../../src/client/index.ts';
import { retryDelayMs } from '../../src/client/retry.ts';
import { CODES } from '../../src/errors/index.ts';
import { CLIENT_LIMITS } from '../../src/limits.ts';
import type { RequestMessage } from '../../src/wire/envelope.ts';
import {
  clientOf,
  createPeer,
  createTestClock,
  inTurn,
  refusal,
  rejection,
  reply,
  unsigned,
} from './peer.ts';

const { attempts, unverifiedAttempts, backoffMs, maxBackoffMs } = CLIENT_LIMITS;
const good = (request: RequestMessage) => reply(request, { result: { done: true } });
const lost = () => new Error('connection reset');

describe('a retry', () => {
  it('keeps request_id, tool and args, and takes a new nonce and time', async () => {
    const clock = createTestClock();
    const peer = createPeer((request, nth) => {
      clock.nowMs += 1_000;
      return nth < 3 ? lost() : reply(request, { ts_ms: clock.nowMs });
    });
    const args = { rows: [{ n: 1 }], name: 'Zoë' };
    await clientOf(peer, { clock }).call('tool', args);

    const [first, second, third] = peer.requests;
    expect(peer.requests).toHaveLength(3);
    for (const again of [second, third]) {
      expect(again).toMatchObject({ request_id: first?.request_id, tool: 'tool', args });
    }
    expect(new Set(peer.requests.map(({ nonce }) => nonce)).size).toBe(3);
    expect(peer.requests.map(({ ts_ms }) => ts_ms - (first?.ts_ms ?? 0))).toEqual([0, 1_000, 2_000]);
  });

  it('says what was said first, whatever happens to args meanwhile', async () => {
    const args = { numbers: [1, 2] };
    const peer = createPeer((request, nth) => {
      args.numbers.push(3);
      return nth === 1 ? lost() : good(request);
    });
    await clientOf(peer).call('tool', args);
    expect(peer.requests.map((request) => request.args)).toEqual([{ numbers: [1, 2] }, { numbers: [1, 2] }]);
  });

  it('uses the request_id of the caller', async () => {
    const peer = createPeer(inTurn(lost, good));
    await clientOf(peer).call('tool', {}, { requestId: 'order-17' });
    expect(peer.requests.map(({ request_id }) => request_id)).toEqual(['order-17', 'order-17']);
  });

  const retryable = Object.entries(CODES).filter(([, facts]) => facts.retryable);

  it.each(retryable)('follows %s', async (code) => {
    const peer = createPeer(inTurn((request) => refusal(request, `${code}: later`), good));
    expect(await clientOf(peer).call('tool')).toEqual({ done: true });
    expect(peer.requests).toHaveLength(2);
  });

  it('follows a failure of the connection and a reply that cannot be trusted', async () => {
    const peer = createPeer(inTurn(lost, (r) => unsigned(r, 'bad_signature: no'), lost, good));
    expect(await clientOf(peer).call('tool')).toEqual({ done: true });
  });

  it('accepts a late reply to an earlier transmission of the same call', async () => {
    let late = new Uint8Array();
    const peer = createPeer((request, nth) => {
      if (nth > 1) return late;
      late = new Uint8Array(good(request));
      return lost();
    });
    expect(await clientOf(peer).call('tool')).toEqual({ done: true });
  });

  it('waits longer each time, with jitter', async () => {
    const clock = createTestClock();
    const peer = createPeer(lost);
    await rejection(clientOf(peer, { clock }).call('tool'));
    expect(clock.sleeps).toHaveLength(attempts - 1);
    for (const [i, ms] of clock.sleeps.entries()) {
      expect(ms).toBeGreaterThanOrEqual(backoffMs * 2 ** i * 0.75);
      expect(ms).toBeLessThanOrEqual(backoffMs * 2 ** i * 1.25);
    }
  });

  it.each(['busy', 'rate_limited'])('honours retry_after_ms of %s', async (code) => {
    const clock = createTestClock();
    const wait = (r: RequestMessage) => refusal(r, `${code}: later`, { result: { retry_after_ms: 7_000 } });
    const peer = createPeer(inTurn(wait, good));
    await clientOf(peer, { clock }).call('tool');
    expect(clock.sleeps).toHaveLength(1);
    expect(clock.sleeps[0]).toBeGreaterThanOrEqual(7_000);
    expect(clock.sleeps[0]).toBeLessThanOrEqual(8_750);
  });
});

describe('a call gives up', () => {
  it('when the server asks for more time than the caller gave, at once and with the refusal', async () => {
    const clock = createTestClock();
    const peer = createPeer((r) => refusal(r, 'rate_limited: later', { result: { retry_after_ms: 9_000 } }));
    const error = await rejection(clientOf(peer, { clock }).call('tool', {}, { timeoutMs: 8_000 }));
    expect(error).toMatchObject({ code: 'rate_limited', result: { retry_after_ms: 9_000 } });
    expect(peer.requests).toHaveLength(1);
    expect(clock.sleeps).toEqual([]);
  });

  it.each(['busy', 'rate_limited', 'replayed'])('after six refusals with %s', async (code) => {
    const peer = createPeer((request) => refusal(request, `${code}: no`));
    const error = await rejection(clientOf(peer).call('tool'));
    expect(error).toBeInstanceOf(ProtocolError);
    expect(error).toMatchObject({ code });
    expect(peer.requests).toHaveLength(attempts);
  });

  it('after six failures of the connection', async () => {
    const peer = createPeer(lost);
    const error = await rejection(clientOf(peer).call('tool'));
    expect(error).toBeInstanceOf(ClientError);
    expect(error).toMatchObject({ kind: 'connection', message: expect.stringContaining('connection reset') });
    expect(peer.requests).toHaveLength(attempts);
  });

  it.each(['bad_envelope', 'bad_signature', 'too_large', 'unsupported_media_type'])(
    'after four replies of %s, which nobody signed, as reply_unverified',
    async (code) => {
      const peer = createPeer((request) => unsigned(request, `${code}: no`));
      const error = await rejection(clientOf(peer).call('tool'));
      expect(error).toBeInstanceOf(ClientError);
      expect(error).toMatchObject({
        kind: 'reply_unverified',
        message: expect.stringContaining(`${code}: no`),
      });
      expect(peer.requests).toHaveLength(unverifiedAttempts);
    },
  );

  it('but not on in_progress: the call is alive, and its outcome is waited for', async () => {
    const peer = createPeer((r, nth) => (nth <= 3 * attempts ? refusal(r, 'in_progress: wait') : good(r)));
    expect(await clientOf(peer).call('tool')).toEqual({ done: true });
    expect(peer.requests).toHaveLength(3 * attempts + 1);
  });
});

describe('the table of retries', () => {
  const delay = (code: string) => retryDelayMs(new ProtocolError(codeOf(code) ?? 'internal', ''), 1, false);

  it.each(Object.entries(CODES))('agrees with the table of codes about %s', (code, { retryable }) => {
    expect(delay(code) !== null).toBe(retryable);
  });

  it('keeps every pause between three quarters of the backoff and five quarters of its ceiling', () => {
    const setbacks = [new ClientError('connection', ''), new ProtocolError('busy', '')];
    fc.assert(
      fc.property(
        fc.constantFrom(...setbacks),
        fc.integer({ min: 1, max: 5_000 }),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (setback, nth, random) => {
          const ms = retryDelayMs(setback, nth, true, random) ?? 0;
          return ms >= 0.75 * backoffMs && ms <= 1.25 * maxBackoffMs;
        },
      ),
    );
  });

  it.each([-1, Number.NaN, '5', null, {}])('ignores a retry_after_ms of %j', (retry_after_ms) => {
    const ms = retryDelayMs(new ProtocolError('busy', '', { retry_after_ms }), 1, false, 0.5);
    expect(ms).toBe(backoffMs);
  });
});
