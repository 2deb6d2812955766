import { getEventListeners } from 'node:events';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { abortable, onAbort } from '../../src/client/abort.ts';
import { SYSTEM_CLOCK } from '../../src/client/clock.ts';
import { ClientError, type Clock } from '../../src/client/index.ts';
import { CLIENT_LIMITS } from '../../src/limits.ts';
import { clientOf, createPeer, createTestClock, refusal, rejection, reply } from './peer.ts';

const { attempts, attemptTimeoutMs, timeoutMs } = CLIENT_LIMITS;

// Time-outs are timers; the tests move them on from inside the transport, when they are surely set.
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
});
afterEach(() => {
  expect(vi.getTimerCount(), 'timers that would keep a process alive').toBe(0);
  vi.useRealTimers();
});

describe('the signal of the caller', () => {
  const reason = new Error('the user left');

  it('that is aborted already sends nothing', async () => {
    const peer = createPeer((request) => reply(request));
    const signal = AbortSignal.abort(reason);
    expect(await rejection(clientOf(peer).call('tool', {}, { signal }))).toBe(reason);
    expect(peer.requests).toEqual([]);
  });

  it('ends a transmission, and nothing is sent after it', async () => {
    const controller = new AbortController();
    const peer = createPeer(() => {
      controller.abort(reason);
      return 'silence';
    });
    expect(await rejection(clientOf(peer).call('tool', {}, { signal: controller.signal }))).toBe(reason);
    expect(peer.requests).toHaveLength(1);
  });

  it('ends a transmission whose transport does not listen', async () => {
    const controller = new AbortController();
    const transport = () => {
      controller.abort(reason);
      return new Promise<Uint8Array>(() => {});
    };
    const client = clientOf(
      createPeer(() => 'silence'),
      { transport },
    );
    expect(await rejection(client.call('tool', {}, { signal: controller.signal }))).toBe(reason);
  });

  it('ends the pause before a retry', async () => {
    const controller = new AbortController();
    const clock: Clock = {
      ...createTestClock(),
      sleep(ms, signal) {
        const pause = SYSTEM_CLOCK.sleep(ms, signal);
        controller.abort(reason);
        return pause;
      },
    };
    const peer = createPeer((request) => refusal(request, 'busy: later'));
    expect(await rejection(clientOf(peer, { clock }).call('tool', {}, { signal: controller.signal }))).toBe(
      reason,
    );
    expect(peer.requests).toHaveLength(1);
  });

  it('rejects with its reason as it is, whatever had gone wrong before and whatever the reason is', async () => {
    const own = new ClientError('timeout', 'of another call');
    const controller = new AbortController();
    const peer = createPeer((_, nth) => {
      if (nth === 1) return new Error('connection reset');
      controller.abort(own);
      return 'silence';
    });
    expect(await rejection(clientOf(peer).call('tool', {}, { signal: controller.signal }))).toBe(own);
  });

  it('aborted with nothing rejects with its AbortError', async () => {
    const controller = new AbortController();
    const peer = createPeer(() => {
      controller.abort();
      return 'silence';
    });
    const error = await rejection(clientOf(peer).call('tool', {}, { signal: controller.signal }));
    expect(error).toMatchObject({ name: 'AbortError' });
  });

  it('can be shared by many calls at once without a warning and is left without listeners', async () => {
    const warnings: string[] = [];
    const warn = (warning: Error) => warnings.push(warning.name);
    process.on('warning', warn);
    const { signal } = new AbortController();
    const peer = createPeer((request) => reply(request));
    const client = clientOf(peer);
    const calls = Array.from({ length: 50 }, () => client.call('tool', {}, { signal }));
    expect(getEventListeners(signal, 'abort')).toHaveLength(1);
    await Promise.all(calls);
    await new Promise(setImmediate);
    process.off('warning', warn);
    expect(warnings).toEqual([]);
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });

  it('ends all the calls that share it', async () => {
    const controller = new AbortController();
    const peer = createPeer((_, nth) => {
      if (nth === 20) controller.abort(reason);
      return 'silence';
    });
    const client = clientOf(peer);
    const calls = Array.from({ length: 20 }, () => client.call('tool', {}, { signal: controller.signal }));
    expect(new Set(await Promise.all(calls.map(rejection)))).toEqual(new Set([reason]));
  });
});

describe('time-outs', () => {
  it('end a silent transmission, which is then sent again', async () => {
    const peer = createPeer((request, nth) => {
      if (nth === 1) {
        vi.advanceTimersByTime(attemptTimeoutMs);
        return 'silence';
      }
      return reply(request, { result: { done: true } });
    });
    expect(await clientOf(peer).call('tool')).toEqual({ done: true });
    expect(peer.requests).toHaveLength(2);
  });

  it('end a call after 60 s, within its second transmission', async () => {
    const peer = createPeer((_, nth) => {
      vi.advanceTimersByTime(nth === 1 ? attemptTimeoutMs : timeoutMs - attemptTimeoutMs);
      return 'silence';
    });
    const error = await rejection(clientOf(peer).call('tool', {}));
    expect(error).toBeInstanceOf(ClientError);
    expect(error).toMatchObject({
      kind: 'timeout',
      message: `no answer within ${timeoutMs} ms; before that: no answer within ${attemptTimeoutMs} ms`,
    });
    expect(peer.requests).toHaveLength(2);
  });

  it('end a call after the time that its caller gave', async () => {
    const peer = createPeer(() => {
      vi.advanceTimersByTime(1_500);
      return 'silence';
    });
    const error = await rejection(clientOf(peer).call('tool', {}, { timeoutMs: 1_500 }));
    expect(error).toMatchObject({ kind: 'timeout', message: 'no answer within 1500 ms' });
    expect(peer.requests).toHaveLength(1);
  });

  it('end a call after the time that the client was made with', async () => {
    const peer = createPeer(() => {
      vi.advanceTimersByTime(700);
      return 'silence';
    });
    const error = await rejection(clientOf(peer, { timeoutMs: 700 }).call('tool'));
    expect(error).toMatchObject({ kind: 'timeout', message: 'no answer within 700 ms' });
  });

  it('tell what had gone wrong before', async () => {
    const peer = createPeer((_, nth) => {
      if (nth === 1) return new Error('connection reset');
      vi.advanceTimersByTime(1_500);
      return 'silence';
    });
    const error = await rejection(clientOf(peer).call('tool', {}, { timeoutMs: 1_500 }));
    expect(error).toMatchObject({
      kind: 'timeout',
      message: expect.stringMatching(/1500 ms.*connection reset/),
    });
    expect(error).toMatchObject({ cause: { kind: 'connection' } });
  });

  it('of single transmissions end a call after six', async () => {
    const peer = createPeer(() => {
      vi.advanceTimersByTime(attemptTimeoutMs);
      return 'silence';
    });
    const error = await rejection(clientOf(peer).call('tool', {}, { timeoutMs: 3_600_000 }));
    expect(error).toMatchObject({ kind: 'timeout' });
    expect(peer.requests).toHaveLength(attempts);
  });

  it.each([0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 31])('of %d ms are refused', async (ms) => {
    const peer = createPeer((request) => reply(request));
    expect(await rejection(clientOf(peer).call('tool', {}, { timeoutMs: ms }))).toBeInstanceOf(RangeError);
    expect(() => clientOf(peer, { timeoutMs: ms })).toThrow(RangeError);
    expect(peer.requests).toEqual([]);
  });
});

describe('onAbort', () => {
  it('calls each callback once, but not those that stopped', () => {
    const controller = new AbortController();
    const calls: string[] = [];
    onAbort(controller.signal, () => calls.push('a'));
    const stop = onAbort(controller.signal, () => calls.push('b'));
    onAbort(controller.signal, () => calls.push('c'));
    stop();
    stop();
    controller.abort();
    expect(calls).toEqual(['a', 'c']);
  });
});

describe('abortable', () => {
  it('settles as the promise does and leaves no listener', async () => {
    const { signal } = new AbortController();
    expect(await abortable(Promise.resolve(1), signal)).toBe(1);
    const error = new Error('no');
    expect(await rejection(abortable(Promise.reject(error), signal))).toBe(error);
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });
});
