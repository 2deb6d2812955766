import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { ProtocolError, ToolError } from '../../src/errors/index.ts';
import { MESSAGE_LIMITS, SERVER_LIMITS } from '../../src/limits.ts';
import { aborted, gate } from '../support/gate.ts';
import { anyTool, codeOf, jobTool, readTool, startServer, jobIdOf } from '../support/server.ts';
import { tempFolder } from '../support/temp.ts';

const COPIES = 1_000;
const ID = { request_id: 'one-call' };

describe('§5 a retry of a direct tool that is not repeatable', () => {
  test('gets the recorded outcome, freshly signed, and nothing runs twice', async () => {
    let runs = 0;
    const peer = await startServer({ tools: [anyTool('pay', ({ to = null }) => ({ run: ++runs, to }))] });
    const first = await peer.call('pay', { to: 'ü' }, ID);
    peer.clock.nowMs += 1_000;
    const again = await peer.call('pay', { to: 'ü' }, ID);
    expect(first).toMatchObject({ ok: true, status: 'ok', result: { run: 1, to: 'ü' } });
    expect(again).toEqual({ ...first, ts_ms: first.ts_ms + 1_000, signature: again.signature });
    expect(runs).toBe(1);
  });

  test(`runs once under ${COPIES} copies at once, each with its own nonce; each is told its outcome or in_progress`, async () => {
    let runs = 0;
    const pay = anyTool('pay', async () => {
      await new Promise(setImmediate);
      return { run: ++runs };
    });
    const peer = await startServer({ tools: [pay] });
    const replies = await Promise.all(Array.from({ length: COPIES }, () => peer.call('pay', { n: 1 }, ID)));
    expect(runs).toBe(1);
    for (const reply of replies) {
      if (reply.ok) expect(reply.result).toEqual({ run: 1 });
      else expect(codeOf(reply)).toBe('in_progress');
    }
    expect(replies.some(({ ok }) => ok)).toBe(true);
    const later = await Promise.all(Array.from({ length: 20 }, () => peer.call('pay', { n: 1 }, ID)));
    for (const { result } of later) expect(result).toEqual({ run: 1 });
    expect(runs).toBe(1);
  });

  test('is answered, or told of its conflict, before the policy is asked and the arguments are looked at', async () => {
    let allowed = true;
    const policy = () => {
      if (!allowed) throw new ProtocolError('forbidden', 'not any more');
    };
    const peer = await startServer({ tools: [anyTool('pay', () => ({ paid: true }))], policy });
    await peer.call('pay', {}, ID);
    allowed = false;
    expect((await peer.call('pay', {}, ID)).result).toEqual({ paid: true });
    expect(codeOf(await peer.call('pay', { n: 1 }, ID))).toBe('request_id_conflict');
    expect(codeOf(await peer.call('pay', {}))).toBe('forbidden');
  });

  test('in_progress while it runs, with when to come back', async () => {
    const stay = gate();
    const peer = await startServer({
      tools: [anyTool('slow', () => stay.opened.then(() => ({ done: true })))],
    });
    const first = peer.call('slow', {}, ID);
    const second = await peer.call('slow', {}, ID);
    expect(second).toMatchObject({
      ok: false,
      status: 'error',
      result: { retry_after_ms: SERVER_LIMITS.pollAfterMs },
    });
    expect(codeOf(second)).toBe('in_progress');
    stay.open();
    expect((await first).result).toEqual({ done: true });
    expect((await peer.call('slow', {}, ID)).result).toEqual({ done: true });
  });

  test('the same arguments in another order and spelling are the same call', async () => {
    let runs = 0;
    const peer = await startServer({ tools: [anyTool('pay', () => ({ run: ++runs }))] });
    await peer.call('pay', { a: 1, b: { c: [1e3], d: 'x' } }, ID);
    const again = await peer.call('pay', { b: { d: 'x', c: [1000] }, a: 1.0 }, ID);
    expect(again.result).toEqual({ run: 1 });
  });

  test('a failure that the tool states is an outcome and is not tried again', async () => {
    let runs = 0;
    const fail = anyTool('fail', () => {
      throw new ToolError(`no money, try ${++runs}`);
    });
    const peer = await startServer({ tools: [fail] });
    const first = await peer.call('fail', {}, ID);
    expect(first).toMatchObject({
      ok: true,
      status: 'error',
      error: 'job_failed: no money, try 1',
      result: null,
    });
    expect((await peer.call('fail', {}, ID)).error).toBe(first.error);
  });

  test('an unknown error may have come after an effect: the same refusal again, with the same id', async () => {
    let runs = 0;
    const fail = anyTool('fail', () => {
      runs++;
      throw new Error('half done');
    });
    const peer = await startServer({ tools: [fail] });
    const first = await peer.call('fail', {}, ID);
    expect(codeOf(first)).toBe('internal');
    expect((await peer.call('fail', {}, ID)).error).toBe(first.error);
    expect(runs).toBe(1);
  });

  test.each([
    ['nobody can read', () => ({ f: () => {} })],
    ['is too large', () => ({ text: 'x'.repeat(MESSAGE_LIMITS.maxMessageBytes) })],
  ])('a result that %s: internal, the same each time, and the tool runs once', async (_what, result) => {
    let runs = 0;
    const give = anyTool('give', () => {
      runs++;
      return result();
    });
    const peer = await startServer({ tools: [give] });
    const first = await peer.call('give', {}, ID);
    expect(codeOf(first)).toBe('internal');
    expect((await peer.call('give', {}, ID)).error).toBe(first.error);
    expect(runs).toBe(1);
    expect(peer.log.complaints).toHaveLength(1);
    expect(first.error).toContain(String(peer.log.complaints[0]?.fields['error_id']));
  });

  test('a tool that asks to come back later is run again', async () => {
    let runs = 0;
    const shy = anyTool('shy', () => {
      if (++runs === 1) throw new ProtocolError('rate_limited', 'later', { retry_after_ms: 5 });
      return { runs };
    });
    const peer = await startServer({ tools: [shy] });
    const first = await peer.call('shy', {}, ID);
    expect([codeOf(first), first.result]).toEqual(['rate_limited', { retry_after_ms: 5 }]);
    expect((await peer.call('shy', {}, ID)).result).toEqual({ runs: 2 });
  });

  test('arguments that the schema refuses are not recorded: the request_id can be used again', async () => {
    const peer = await startServer({ tools: [anyTool('pay', () => ({}))] });
    expect(codeOf(await peer.call('cancel_job', { wrong: 1 }, ID))).toBe('invalid_args');
    expect((await peer.call('pay', {}, ID)).ok).toBe(true);
  });

  test('one that does not answer in its time is told to stop, and its outcome is deadline_exceeded for good', async () => {
    const reasons: unknown[] = [];
    const slow = anyTool('slow', async (_args, { signal }) => {
      reasons.push(await aborted(signal));
      return { too: 'late' };
    });
    const peer = await startServer({ tools: [slow], directTimeoutMs: 30 });
    const first = await peer.call('slow', {}, ID);
    expect(first).toMatchObject({
      ok: false,
      error: 'deadline_exceeded: the tool did not answer within 30 ms',
    });
    expect((await peer.call('slow', {}, ID)).error).toBe(first.error);
    expect(reasons).toMatchObject([{ code: 'deadline_exceeded' }]);
  });

  test('at the moment its time is up a retry is told in_progress, not that it was interrupted', async () => {
    const stay = gate();
    const slow = anyTool('slow', () => stay.opened.then(() => ({ done: true })));
    const peer = await startServer({ tools: [slow], directTimeoutMs: 20_000 });
    const first = peer.call('slow', {}, ID);
    expect(codeOf(await peer.call('slow', {}, ID))).toBe('in_progress');
    peer.clock.nowMs += 20_000;
    expect(codeOf(await peer.call('slow', {}, ID))).toBe('in_progress');
    stay.open();
    expect((await first).result).toEqual({ done: true });
    expect((await peer.call('slow', {}, ID)).result).toEqual({ done: true });
  });

  test('one whose process died over it is internal from the restart on, and is never run again', async () => {
    const stay = gate();
    let runs = 0;
    const slow = anyTool('slow', async () => {
      runs++;
      await stay.opened;
      return {};
    });
    const peer = await startServer({ tools: [slow] });
    const lost = peer.call('slow', {}, ID);
    while (runs === 0) await new Promise(setImmediate);
    const dir = join(tempFolder(), 'copy');
    cpSync(peer.dir, dir, { recursive: true });
    stay.open();
    await lost;

    const next = await startServer({ tools: [slow], dir, credential: peer.credential });
    for (let i = 0; i < 2; i++) {
      expect(await next.call('slow', {}, ID)).toMatchObject({
        ok: false,
        error: 'internal: the first run was interrupted; whether it took effect is not known',
      });
    }
    expect(runs).toBe(1);
  });

  test('one that is not heard of when it must have ended is internal', async () => {
    const stay = gate();
    const peer = await startServer({
      tools: [anyTool('slow', () => stay.opened.then(() => ({ done: true })))],
    });
    const first = peer.call('slow', {}, ID);
    await peer.call('slow', {}, ID);
    peer.clock.nowMs += SERVER_LIMITS.directTimeoutMs + SERVER_LIMITS.outcomeGraceMs - 1;
    expect(codeOf(await peer.call('slow', {}, ID))).toBe('in_progress');
    peer.clock.nowMs += 1;
    expect(codeOf(await peer.call('slow', {}, ID))).toBe('internal');
    stay.open();
    await first;
  });

  test('its outcome survives a restart', async () => {
    let runs = 0;
    const pay = anyTool('pay', () => ({ run: ++runs }));
    const peer = await startServer({ tools: [pay] });
    await peer.call('pay', {}, ID);
    await peer.close();
    const next = await startServer({ tools: [pay], dir: peer.dir, credential: peer.credential });
    expect((await next.call('pay', {}, ID)).result).toEqual({ run: 1 });
  });

  test('its record outlives the window: it is there for a day, then forgotten', async () => {
    let runs = 0;
    const peer = await startServer({ tools: [anyTool('pay', () => ({ run: ++runs }))] });
    await peer.call('pay', {}, ID);
    peer.clock.nowMs += SERVER_LIMITS.requestRetentionMs - 1;
    expect((await peer.call('pay', {}, ID)).result).toEqual({ run: 1 });
    peer.clock.nowMs += 1;
    // Until the sweeper comes by.
    const run = async () => (await peer.call('pay', {}, ID)).result?.['run'];
    await expect.poll(run).toBe(2);
  });
});

describe('§5 a retry of a repeatable tool', () => {
  test.each([{ readOnlyHint: true }, { idempotentHint: true }])('runs again: %o', async (annotations) => {
    let runs = 0;
    const peer = await startServer({ tools: [anyTool('look', () => ({ run: ++runs }), { annotations })] });
    expect((await peer.call('look', { n: 1 }, ID)).result).toEqual({ run: 1 });
    expect((await peer.call('look', { n: 1 }, ID)).result).toEqual({ run: 2 });
    expect((await peer.call('look', { n: 2 }, ID)).result).toEqual({ run: 3 });
  });
});

describe('§5 a retry of a job', () => {
  test(`${COPIES} copies at once, each with its own nonce, start one job and get its one job_id`, async () => {
    let runs = 0;
    const peer = await startServer({ tools: [jobTool('work', () => ({ run: ++runs }))] });
    const replies = await Promise.all(Array.from({ length: COPIES }, () => peer.call('work', { n: 1 }, ID)));
    expect(new Set(replies.map(({ status }) => status))).toEqual(new Set(['accepted']));
    const [id, ...others] = new Set(replies.map(({ result }) => jobIdOf(result)));
    expect(others).toEqual([]);
    const poll = async () => (await peer.call('poll_job', { job_id: id ?? '', wait_ms: 5_000 })).status;
    await expect.poll(poll).toBe('done');
    expect(runs).toBe(1);
    expect((await peer.call('work', { n: 1 }, ID)).result?.['job_id']).toBe(id);
  });
});

describe('§5 the same request_id for another call is a conflict', () => {
  const tools = [
    anyTool('pay', () => ({})),
    anyTool('give', () => ({})),
    jobTool('work', () => ({})),
    jobTool('toil', () => ({})),
    readTool('look', () => ({})),
  ];
  test.each([
    ['other args', ['pay', { n: 1 }], ['pay', { n: 2 }], 'request_id_conflict'],
    ['other tool', ['pay', { n: 1 }], ['give', { n: 1 }], 'request_id_conflict'],
    ['other args of a job', ['work', { n: 1 }], ['work', { n: 2 }], 'request_id_conflict'],
    ['another job', ['work', { n: 1 }], ['toil', { n: 1 }], 'request_id_conflict'],
    ['a job after a direct call', ['pay', {}], ['work', {}], 'request_id_conflict'],
    ['a direct call after a job', ['work', {}], ['pay', {}], 'request_id_conflict'],
    ['nothing is recorded of repeatable tools', ['look', { n: 1 }], ['pay', { n: 1 }], undefined],
  ] as const)('%s', async (_what, [tool, args], [otherTool, otherArgs], expected) => {
    const peer = await startServer({ tools });
    expect((await peer.call(tool, args, ID)).ok).toBe(true);
    const reply = await peer.call(otherTool, otherArgs, ID);
    expect(codeOf(reply)).toBe(expected);
    expect((await peer.call(tool, args, ID)).ok).toBe(true);
  });

  test('of two different calls with one request_id at once, one runs', async () => {
    let runs = 0;
    const pay = anyTool('pay', () => ({ run: ++runs }));
    const work = jobTool('work', () => ({ run: ++runs }));
    const peer = await startServer({ tools: [pay, work] });
    for (let i = 0; i < 20; i++) {
      const id = { request_id: `call-${i}` };
      const calls = [
        peer.call('pay', { n: 1 }, id),
        peer.call('pay', { n: 2 }, id),
        peer.call('work', { n: 1 }, id),
      ];
      const replies = await Promise.all(i % 2 === 0 ? calls : calls.toReversed());
      expect(replies.filter(({ ok }) => ok)).toHaveLength(1);
      expect(replies.flatMap((reply) => codeOf(reply) ?? [])).toEqual([
        'request_id_conflict',
        'request_id_conflict',
      ]);
    }
  });

  test('another client’s request_id is another call', async () => {
    const peer = await startServer({ tools });
    const other = peer.as(await peer.addClient('agent-b'));
    expect((await peer.call('pay', { n: 1 }, ID)).ok).toBe(true);
    expect((await other.call('pay', { n: 2 }, ID)).ok).toBe(true);
  });
});
