import { statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { canLimitFiles, limitFiles } from '../support/disk.ts';
import { aborted, gate } from '../support/gate.ts';
import { anyTool, codeOf, jobTool, readTool, startServer, jobIdOf } from '../support/server.ts';

describe('a server that closes', () => {
  test('lets calls under way end, and their replies go out', async () => {
    const stay = gate();
    const slow = anyTool('slow', () => stay.opened.then(() => ({ done: true })));
    const peer = await startServer({ tools: [slow], drainMs: 20_000 });
    const held = peer.call('slow');
    await new Promise(setImmediate);
    const closed = peer.close();
    stay.open();
    expect((await held).result).toEqual({ done: true });
    await closed;
  });

  test('tells a call that does not end in time, and its retry is told the same after a restart', async () => {
    const reasons: unknown[] = [];
    const started = gate();
    const deaf = anyTool('deaf', async (_args, { signal }) => {
      started.open();
      reasons.push(await aborted(signal));
      return {};
    });
    const peer = await startServer({ tools: [deaf] });
    const held = peer.call('deaf', {}, { request_id: 'call-1' });
    await started.opened;
    await peer.close();
    const reply = await held;
    expect(reply.error).toBe('internal: the server shut down while the tool ran');
    expect(reasons).toHaveLength(1);
    const next = await startServer({ tools: [deaf], dir: peer.dir, credential: peer.credential });
    expect((await next.call('deaf', {}, { request_id: 'call-1' })).error).toBe(reply.error);
  });

  test('lets go of held polls at once', async () => {
    const stuck = jobTool('stuck', (_args, { signal }) =>
      aborted(signal).then(() => Promise.reject(new Error('x'))),
    );
    const peer = await startServer({ tools: [stuck] });
    const { result } = await peer.call('stuck');
    const held = peer.call('poll_job', { job_id: jobIdOf(result), wait_ms: 30_000 });
    await new Promise(setImmediate);
    await peer.close();
    expect((await held).ok).toBe(true);
  });

  test('refuses new calls with busy, signed, while it drains', async () => {
    const stay = gate();
    const slow = anyTool('slow', () => stay.opened.then(() => ({})));
    const peer = await startServer({ tools: [slow], drainMs: 20_000 });
    const held = peer.call('slow');
    await new Promise(setImmediate);
    const closed = peer.close();
    expect(codeOf(await peer.call('server_identity'))).toBe('busy');
    expect(await peer.server.ready()).toBe(false);
    stay.open();
    await Promise.all([held, closed]);
    expect(codeOf(await peer.call('server_identity'))).toBe('busy');
  });

  test('can be told to close more than once', async () => {
    const peer = await startServer();
    await Promise.all([peer.close(), peer.close()]);
    expect(await peer.close()).toBeUndefined();
  });

  test('is ready when it has started', async () => {
    const peer = await startServer();
    expect(await peer.server.ready()).toBe(true);
  });
});

describe.skipIf(!canLimitFiles)('a disk that is full', () => {
  test('calls are busy, none of them runs, and all is well when there is room again', async () => {
    let runs = 0;
    const pay = anyTool('pay', () => ({ run: ++runs }));
    const work = jobTool('work', () => ({ run: ++runs }));
    const peer = await startServer({ tools: [pay, work, readTool('look', () => ({ run: ++runs }))] });
    await peer.call('server_identity');
    // Smaller than every file that is written.
    const allow = limitFiles(10);
    for (const tool of ['pay', 'work', 'look']) {
      const reply = await peer.call(tool, {}, { request_id: `${tool}-1` });
      expect([codeOf(reply), reply.result]).toEqual(['busy', { retry_after_ms: 1_000 }]);
    }
    allow();
    expect(runs).toBe(0);
    // The audit says it once for the whole outage, and from then on calls do not come as far as the store.
    expect(peer.log.complaints.length).toBeGreaterThanOrEqual(1);
    // The audit is tried again within a moment, not with every call.
    const paid = () => peer.call('pay', {}, { request_id: 'pay-1' });
    await vi.waitFor(async () => expect((await paid()).result).toEqual({ run: 1 }), 20_000);
    expect((await peer.call('work', {}, { request_id: 'work-1' })).status).toBe('accepted');
    expect(statSync(join(peer.dir, 'waybill.db-wal')).size).toBeGreaterThan(0);
  });

  test('a store that cannot record is busy too, when the nonce could be', async () => {
    let runs = 0;
    const pay = anyTool('pay', () => ({ run: ++runs }));
    const peer = await startServer({ tools: [pay] });
    await peer.call('server_identity');
    const allow = limitFiles(statSync(join(peer.dir, 'waybill.db-wal')).size);
    const reply = await peer.call('pay', {}, { request_id: 'pay-1' });
    allow();
    expect(codeOf(reply)).toBe('busy');
    expect(runs).toBe(0);
    expect((await peer.call('pay', {}, { request_id: 'pay-1' })).result).toEqual({ run: 1 });
  });
});

describe('what a tool, a policy or a log does wrong', () => {
  test('a thrown value that no log can print does no harm', async () => {
    const thrown: Record<string, unknown> = { count: 1n };
    thrown['self'] = thrown;
    const odd = anyTool('odd', () => {
      // Tools in plain JavaScript throw anything.
      throw thrown as unknown as Error;
    });
    const printed: unknown[] = [];
    const log = {
      debug() {},
      info() {},
      warn() {},
      error(fields: object) {
        printed.push(JSON.stringify(fields));
      },
    };
    const peer = await startServer({ tools: [odd], log });
    expect((await peer.call('odd')).error).toMatch(/^internal: the tool failed; error id /);
    expect(printed).toEqual([]);
    expect((await peer.call('server_identity')).ok).toBe(true);
  });

  test('a policy that never answers does not keep the server from closing', async () => {
    const peer = await startServer({ policy: () => new Promise(() => {}) });
    void peer.call('server_identity');
    await new Promise(setImmediate);
    await peer.close();
    const next = await startServer({ dir: peer.dir, credential: peer.credential });
    expect((await next.call('server_identity')).ok).toBe(true);
  });
});
