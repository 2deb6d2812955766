import { describe, expect, it } from 'vitest';
import { SYSTEM_CLOCK } from '../../src/client/clock.ts';
import { ProtocolError } from '../../src/client/index.ts';
import { TIME_WINDOW } from '../../src/limits.ts';
import type { RequestMessage } from '../../src/wire/envelope.ts';
import { clientOf, createPeer, createTestClock, refusal, rejection, reply, START_MS } from './peer.ts';

const DAY_MS = 86_400_000;

/** A server whose clock stands at START_MS and that keeps the time window of docs/protocol.md §5. */
function createTimedPeer() {
  return createPeer((request) => {
    const ageMs = START_MS - request.ts_ms;
    const fresh = ageMs <= TIME_WINDOW.maxPastMs && -ageMs <= TIME_WINDOW.maxFutureMs;
    return fresh ? reply(request) : refusal(request, 'stale: ts_ms is outside the window');
  });
}

describe('a client whose clock is wrong', () => {
  it.each([-365 * DAY_MS, -301_000, 61_000, DAY_MS, 365 * DAY_MS])(
    'by %d ms learns the time from a stale reply and retries once',
    async (skewMs) => {
      const peer = createTimedPeer();
      const client = clientOf(peer, { clock: createTestClock(START_MS + skewMs) });
      expect(await client.call('tool')).toEqual({});
      expect(peer.requests.map(({ ts_ms }) => ts_ms)).toEqual([START_MS + skewMs, START_MS]);
      expect(peer.requests[1]?.request_id).toBe(peer.requests[0]?.request_id);
    },
  );

  it.each([-1_000.5, 0.25])(
    'at %d sends whole milliseconds that are not negative all the same',
    async (nowMs) => {
      const peer = createPeer((request) => reply(request, { ts_ms: 0 }));
      expect(await clientOf(peer, { clock: createTestClock(nowMs) }).call('tool')).toEqual({});
      expect(peer.requests[0]?.ts_ms).toBe(0);
    },
  );

  it('remembers the correction for later calls', async () => {
    const peer = createTimedPeer();
    const client = clientOf(peer, { clock: createTestClock(START_MS - DAY_MS) });
    await client.call('tool');
    await client.call('tool');
    expect(peer.requests).toHaveLength(3);
  });

  it('learns anew when its clock is set right', async () => {
    const peer = createTimedPeer();
    const clock = createTestClock(START_MS - DAY_MS);
    const client = clientOf(peer, { clock });
    await client.call('tool');
    clock.nowMs = START_MS;
    await client.call('tool');
    expect(peer.requests).toHaveLength(4);
  });

  it('is told stale when the correction did not help', async () => {
    const peer = createPeer((request) => refusal(request, 'stale: no'));
    const error = await rejection(clientOf(peer).call('tool'));
    expect(error).toBeInstanceOf(ProtocolError);
    expect(error).toMatchObject({ code: 'stale' });
    expect(peer.requests).toHaveLength(2);
  });

  it('asks for the time under an id of its own when the caller chose the request_id', async () => {
    const peer = createTimedPeer();
    const client = clientOf(peer, { clock: createTestClock(START_MS - DAY_MS) });
    expect(await client.call('tool', {}, { requestId: 'order-17' })).toEqual({});
    expect(peer.requests.map(({ tool }) => tool)).toEqual([
      'tool',
      'server_identity',
      'server_identity',
      'tool',
    ]);
    expect(peer.requests[3]?.request_id).toBe('order-17');
  });
});

describe('a recorded stale reply', () => {
  const recorded = (request: RequestMessage) =>
    refusal(request, 'stale: old', { ts_ms: START_MS - 30 * DAY_MS });

  it('to a request_id that was used before cannot drag the clock', async () => {
    const peer = createPeer((request, nth) => (nth === 1 ? recorded(request) : reply(request)));
    const client = clientOf(peer);
    expect(await client.call('tool', {}, { requestId: 'order-17' })).toEqual({});
    expect(peer.requests.map(({ ts_ms }) => ts_ms)).toEqual([START_MS, START_MS, START_MS]);
  });

  it('sent again and again does not stop the call either', async () => {
    const peer = createPeer((request, nth) =>
      nth <= 3 && request.tool === 'tool' ? recorded(request) : reply(request),
    );
    expect(await clientOf(peer).call('tool', {}, { requestId: 'order-17' })).toEqual({});
  });

  it('to another call is no reply to this one', async () => {
    const other: { bytes?: Uint8Array } = {};
    const peer = createPeer((request, nth) => {
      other.bytes ??= recorded({ ...request, request_id: 'order-16' });
      return nth === 1 ? other.bytes : reply(request);
    });
    await clientOf(peer).call('tool');
    expect(peer.requests.map(({ ts_ms }) => ts_ms)).toEqual([START_MS, START_MS]);
  });
});

describe('the clock of the system', () => {
  it('tells milliseconds since 1970', () => {
    expect(Math.abs(SYSTEM_CLOCK.now() - Date.now())).toBeLessThan(60_000);
  });

  it('ends a pause at once when the signal aborts, with its reason', async () => {
    const controller = new AbortController();
    const reason = new Error('enough');
    const pause = SYSTEM_CLOCK.sleep(3_600_000, controller.signal);
    controller.abort(reason);
    expect(await rejection(pause)).toBe(reason);
    expect(await rejection(SYSTEM_CLOCK.sleep(3_600_000, controller.signal))).toBe(reason);
  });

  it('pauses without a signal', async () => {
    await expect(SYSTEM_CLOCK.sleep(1, undefined)).resolves.toBeUndefined();
  });
});
