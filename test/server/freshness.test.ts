import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { ProtocolError } from '../../src/errors/index.ts';
import { TIME_WINDOW } from '../../src/limits.ts';
import { createTestClock, START_MS } from '../support/clock.ts';
import { gate } from '../support/gate.ts';
import { anyTool, codeOf, readTool, startServer } from '../support/server.ts';
import { unsignedReply, verifiedReply } from '../support/signing.ts';
import { tempFolder } from '../support/temp.ts';

const echo = readTool('echo', (args) => args);
const { maxPastMs, maxFutureMs } = TIME_WINDOW;

describe('§4 the order of checks', () => {
  /** A request that breaks every rule at once; each test mends them one by one, in the order of the rules. */
  test('signature, server, window, nonce, request_id, policy, tool, schema: the first that is broken is told', async () => {
    const write = anyTool('write', () => ({}));
    const policy = ({ tool }: { readonly tool: string }) => {
      if (tool.startsWith('forbidden')) throw new ProtocolError('forbidden', 'not you');
    };
    const peer = await startServer({ tools: [echo, write], policy });
    await peer.call('write', { n: 1 }, { nonce: 'used-nonce', request_id: 'used-id' });
    let serial = 0;
    const told = async (tool: string, args: object, members: object): Promise<string | undefined> => {
      const bytes = peer.request(tool, { ...args }, members);
      const { body } = await peer.send(bytes);
      return codeOf(
        body.includes('"signature":""') ? unsignedReply(body) : verifiedReply(body, peer.credential),
      );
    };
    const broken = {
      signature: '0'.repeat(64),
      server_id: 'another',
      ts_ms: START_MS - maxPastMs - 1,
      nonce: 'used-nonce',
      request_id: 'used-id',
    };
    const { signature: _s, ...signed } = broken;
    const { server_id: _id, ...here } = signed;
    const { ts_ms: _ts, ...inTime } = here;
    const { nonce: _nonce, ...fresh } = inTime;
    const codes = [
      await told('write', { n: 2 }, broken),
      await told('write', { n: 2 }, signed),
      await told('write', { n: 2 }, here),
      await told('write', { n: 2 }, inTime),
      await told('write', { n: 2 }, { ...fresh, nonce: `new-nonce-${serial++}` }),
      await told('forbidden_and_unknown', { n: 2 }, { nonce: `new-nonce-${serial++}` }),
      await told('unknown', { n: 2 }, { nonce: `new-nonce-${serial++}` }),
      await told('poll_job', { n: 2 }, { nonce: `new-nonce-${serial++}` }),
    ];
    expect(codes).toEqual([
      'bad_signature',
      'wrong_server',
      'stale',
      'replayed',
      'request_id_conflict',
      'forbidden',
      'unknown_tool',
      'invalid_args',
    ]);
  });

  test('a request for another server or another time uses up no nonce', async () => {
    const peer = await startServer({ tools: [echo] });
    expect(codeOf(await peer.call('echo', {}, { nonce: 'nonce-01', ts_ms: 0 }))).toBe('stale');
    const { body } = await peer.send(peer.request('echo', {}, { nonce: 'nonce-01', server_id: 'srv-2' }));
    expect(codeOf(verifiedReply(body, peer.credential))).toBe('wrong_server');
    expect(peer.server.stats().nonces).toBe(0);
    expect((await peer.call('echo', {}, { nonce: 'nonce-01' })).ok).toBe(true);
  });

  test('a refusal after the MAC holds is signed and comes from this server', async () => {
    const peer = await startServer({ tools: [echo] });
    const { body, httpStatus } = await peer.send(peer.request('echo', {}, { server_id: 'srv-2' }));
    expect(httpStatus).toBe(421);
    expect(verifiedReply(body, peer.credential)).toMatchObject({ ok: false, status: 'error', result: null });
  });
});

describe('§5 the time window', () => {
  test.each([
    ['the oldest', -maxPastMs, 'ok'],
    ['one millisecond older', -maxPastMs - 1, 'stale'],
    ['the farthest ahead', maxFutureMs, 'ok'],
    ['one millisecond farther', maxFutureMs + 1, 'stale'],
    ['the beginning of time', -START_MS, 'stale'],
    ['the end of time', Number.MAX_SAFE_INTEGER - START_MS, 'stale'],
  ])('%s: %i ms from the server’s clock is %s', async (_what, aheadMs, expected) => {
    const peer = await startServer({ tools: [echo] });
    const reply = await peer.call('echo', {}, { ts_ms: START_MS + aheadMs });
    expect(codeOf(reply) ?? reply.status).toBe(expected);
  });

  test('a stale reply carries the clock of the server, from which a client corrects its own', async () => {
    const peer = await startServer({ tools: [echo] });
    const reply = await peer.call('echo', {}, { ts_ms: START_MS - 3_600_000 });
    expect(reply).toMatchObject({ ok: false, ts_ms: START_MS });
    expect((await peer.call('echo', {}, { ts_ms: reply.ts_ms })).ok).toBe(true);
  });

  test('can be set', async () => {
    const peer = await startServer({ tools: [echo], window: { maxPastMs: 1_000, maxFutureMs: 0 } });
    const codeAt = async (aheadMs: number) =>
      codeOf(await peer.call('echo', {}, { ts_ms: START_MS + aheadMs }));
    expect([await codeAt(-1_000), await codeAt(-1_001), await codeAt(0), await codeAt(1)]).toEqual([
      undefined,
      'stale',
      undefined,
      'stale',
    ]);
  });
});

describe('§5 the nonce', () => {
  test('the same bytes again are replayed, signed, and get no result', async () => {
    const peer = await startServer({ tools: [echo] });
    const bytes = peer.request('echo', { secret: 'of the first reply' });
    expect(verifiedReply((await peer.send(bytes)).body, peer.credential).ok).toBe(true);
    const { body, httpStatus } = await peer.send(bytes);
    expect(httpStatus).toBe(409);
    expect(verifiedReply(body, peer.credential)).toMatchObject({
      ok: false,
      status: 'error',
      result: null,
      error: 'replayed: this nonce was used before',
    });
  });

  test('replayed also when the first request is still running', async () => {
    const stay = gate();
    const slow = anyTool('slow', () => stay.opened.then(() => ({})));
    const peer = await startServer({ tools: [slow] });
    const bytes = peer.request('slow');
    const first = peer.send(bytes);
    expect(codeOf(verifiedReply((await peer.send(bytes)).body, peer.credential))).toBe('replayed');
    stay.open();
    expect(verifiedReply((await first).body, peer.credential).ok).toBe(true);
  });

  test('of 1 000 copies of one transmission at once, one is answered', async () => {
    let runs = 0;
    const peer = await startServer({ tools: [readTool('count', () => ({ runs: ++runs }))] });
    const bytes = peer.request('count');
    const replies = await Promise.all(Array.from({ length: 1_000 }, () => peer.send(bytes)));
    const codes = replies.map(({ body }) => codeOf(verifiedReply(body, peer.credential)) ?? 'ok');
    expect(codes.filter((code) => code === 'ok')).toHaveLength(1);
    expect(codes.filter((code) => code === 'replayed')).toHaveLength(999);
    expect(runs).toBe(1);
  });

  test('another client may use the same nonce', async () => {
    const peer = await startServer({ tools: [echo] });
    const other = peer.as(await peer.addClient('agent-b'));
    expect((await peer.call('echo', {}, { nonce: 'the-same-nonce' })).ok).toBe(true);
    expect((await other.call('echo', {}, { nonce: 'the-same-nonce' })).ok).toBe(true);
  });

  test('a replay from before a restart is refused', async () => {
    const peer = await startServer({ tools: [echo] });
    const bytes = peer.request('echo', { n: 1 });
    await peer.send(bytes);
    await peer.close();
    const next = await startServer({ tools: [echo], dir: peer.dir, credential: peer.credential });
    expect(codeOf(verifiedReply((await next.send(bytes)).body, peer.credential))).toBe('replayed');
  });

  test('a replay from before a crash is refused', async () => {
    const peer = await startServer({ tools: [echo] });
    const bytes = peer.request('echo', { n: 1 });
    await peer.send(bytes);
    // The folder as it stands while the server runs: what kill -9 leaves.
    const dir = join(tempFolder(), 'copy');
    cpSync(peer.dir, dir, { recursive: true });
    const next = await startServer({ tools: [echo], dir, credential: peer.credential });
    expect(codeOf(verifiedReply((await next.send(bytes)).body, peer.credential))).toBe('replayed');
  });

  test('a replay at the very end of the window is refused, even if the clock ticks between two looks at it', async () => {
    const spanMs = (maxPastMs + maxFutureMs) / 2;
    let tickMs = 0;
    let ticking = false;
    const clock = createTestClock();
    const now = () => clock.nowMs + (ticking ? tickMs++ : 0);
    const peer = await startServer({ tools: [echo], now, clock });
    await peer.call('echo', {}, { nonce: 'begins-a-journal' });
    // As late as this journal takes it, from as far ahead as the window lets it.
    clock.nowMs = START_MS + spanMs - 1;
    const bytes = peer.request('echo', {}, { ts_ms: clock.nowMs + maxFutureMs });
    expect((await peer.send(bytes)).httpStatus).toBe(200);
    clock.nowMs += maxFutureMs + maxPastMs;
    ticking = true;
    const replayed = peer.send(bytes);
    ticking = false;
    expect(verifiedReply((await replayed).body, peer.credential).ok).toBe(false);
  });

  test('when the store of nonces is full the reply is busy, and nothing runs', async () => {
    let runs = 0;
    const peer = await startServer({ tools: [readTool('count', () => ({ runs: ++runs }))], maxNonces: 2 });
    await peer.call('count');
    await peer.call('count');
    const reply = await peer.call('count');
    expect(reply).toMatchObject({
      ok: false,
      status: 'error',
      result: { retry_after_ms: expect.any(Number) },
    });
    expect(codeOf(reply)).toBe('busy');
    expect(runs).toBe(2);
    peer.clock.nowMs += 2 * (maxPastMs + maxFutureMs);
    expect((await peer.call('count')).ok).toBe(true);
  });
});
