import { describe, expect, onTestFinished, test } from 'vitest';
import { z } from 'zod';
import { CODES, ProtocolError, ToolError } from '../../src/errors/index.ts';
import { MESSAGE_LIMITS } from '../../src/limits.ts';
import { defineTool } from '../../src/tools/index.ts';
import type { JsonObject } from '../../src/wire/index.ts';
import { linesIn } from '../support/audit.ts';
import { gate } from '../support/gate.ts';
import { anyTool, codeOf, readTool, startServer } from '../support/server.ts';
import { unsignedReply, verifiedReply } from '../support/signing.ts';

const ERROR_ID = /error id ([0-9a-f-]{36})$/;
const echo = readTool('echo', (args) => args);

const strict = defineTool({
  name: 'strict',
  description: 'For tests.',
  input: z.strictObject({
    n: z.number(),
    rows: z
      .array(z.object({ name: z.string() }))
      .max(50)
      .default([]),
  }),
  output: z.strictObject({ n: z.number() }),
  annotations: { readOnlyHint: true },
  run: ({ n }) => ({ n }),
});

describe('§8 invalid_args', () => {
  test('lists each reason with its path', async () => {
    const peer = await startServer({ tools: [strict] });
    const reply = await peer.call('strict', { n: 'one', rows: [{ name: 'a' }, {}] });
    expect(reply).toMatchObject({ ok: false, status: 'error' });
    const { issues } = reply.result as { readonly issues: { path: string; message: string }[] };
    expect(issues.map(({ path }) => path)).toEqual(['n', 'rows[1].name']);
    for (const { message } of issues) expect(message.length).toBeGreaterThan(0);
    expect(reply.error).toBe(`invalid_args: n: ${issues[0]?.message}`);
  });

  test('the whole is $', async () => {
    const peer = await startServer({ tools: [strict] });
    const { result } = await peer.call('strict', { n: 1, stranger: 2 });
    expect(result).toMatchObject({ issues: [{ path: '$' }] });
  });

  test.each([
    ['one name of 800 000 characters', { n: 1, ['x'.repeat(800_000)]: 1 }],
    ['control characters, which are longer in a reply', { n: 1, ['\u0001'.repeat(160_000)]: 1 }],
    [
      'many strange names',
      { n: 1, ...Object.fromEntries(Array.from({ length: 15_000 }, (_, i) => [`😀${i}`, 1])) },
    ],
    ['many wrong rows', { n: 1, rows: Array.from({ length: 15_000 }, () => ({ name: 1 })) }],
  ])('is answered as such however much is wrong: %s', async (_what, args) => {
    const peer = await startServer({ tools: [strict] });
    const reply = await peer.call('strict', args);
    expect(codeOf(reply)).toBe('invalid_args');
    const { issues } = reply.result as { readonly issues: unknown[] };
    expect(issues.length).toBeGreaterThan(0);
    expect(issues.length).toBeLessThanOrEqual(20);
    expect(peer.log.complaints).toEqual([]);
  });
});

describe('§8 internal', () => {
  const faults: readonly [string, () => object][] = [
    [
      'an error the tool throws',
      () => {
        throw new Error('the detail');
      },
    ],
    ['an output that breaks its schema', () => ({ n: 'the detail' })],
    ['an output with a member too many', () => ({ n: 1, detail: 'the detail' })],
  ];
  test.each(faults)(
    '%s: the caller gets an opaque id, and under it the log has the rest',
    async (_what, run) => {
      const faulty = defineTool({
        name: 'faulty',
        description: 'For tests.',
        input: z.object({}),
        output: z.strictObject({ n: z.number() }),
        annotations: { readOnlyHint: true },
        run: run as () => { n: number },
      });
      const peer = await startServer({ tools: [faulty] });
      const bytes = peer.request('faulty', {}, { request_id: 'call-1' });
      const { body, httpStatus } = await peer.send(bytes);
      const reply = verifiedReply(body, peer.credential);
      expect(httpStatus).toBe(500);
      expect(reply).toMatchObject({ ok: false, status: 'error', result: null });
      const errorId = ERROR_ID.exec(reply.error ?? '')?.[1];
      expect(errorId).toBeDefined();
      expect(body).not.toContain('the detail');
      const [line, ...others] = peer.log.complaints;
      expect(others).toEqual([]);
      expect(line?.fields).toMatchObject({
        error_id: errorId,
        tool: 'faulty',
        client_id: 'agent-a',
        request_id: 'call-1',
      });
      expect(line?.fields['err']).toBeInstanceOf(Error);
    },
  );

  test.each([
    ['bytes', { text: 'x'.repeat(MESSAGE_LIMITS.maxMessageBytes) }],
    [
      'members',
      Object.fromEntries(Array.from({ length: MESSAGE_LIMITS.maxMembers }, (_, i) => [`m${i}`, i])),
    ],
    ['depth', Array.from({ length: 33 }).reduce<object>((inner) => ({ inner }), {})],
    ['undefined', { n: undefined }],
  ])(
    'a result that no message can carry, by its %s: internal, and the log says why',
    async (_what, result) => {
      const peer = await startServer({ tools: [readTool('give', () => result)] });
      const { error } = await peer.call('give');
      const errorId = ERROR_ID.exec(error ?? '')?.[1];
      expect(peer.log.complaints.map(({ fields }) => fields['error_id'])).toEqual([errorId]);
    },
  );

  test('a result of just the right size is sent', async () => {
    const peer = await startServer({
      tools: [readTool('give', ({ n = 0 }) => ({ text: 'x'.repeat(Number(n)) }))],
    });
    const empty = (await peer.send(peer.request('give', { n: 0 }))).body.length;
    const most = MESSAGE_LIMITS.maxMessageBytes - empty;
    expect((await peer.call('give', { n: most })).ok).toBe(true);
    expect(codeOf(await peer.call('give', { n: most + 1 }))).toBe('internal');
  });

  test('a policy that fails is internal, and nothing runs', async () => {
    let runs = 0;
    const policy = () => {
      throw new Error('the database of permissions is away');
    };
    const peer = await startServer({ tools: [readTool('count', () => ({ runs: ++runs }))], policy });
    const { error } = await peer.call('count');
    expect(error).toMatch(/^internal: the server failed; error id /);
    expect(runs).toBe(0);
  });

  test('a refusal that no message can carry is internal, and the server lives', async () => {
    const policy = () => {
      throw new ProtocolError('forbidden', 'x'.repeat(MESSAGE_LIMITS.maxMessageBytes));
    };
    const peer = await startServer({ tools: [echo], policy });
    expect(codeOf(await peer.call('echo'))).toBe('internal');
    const odd = await startServer({
      tools: [echo],
      policy: () => {
        throw new ProtocolError('rate_limited', 'later', { retry_after_ms: 1n });
      },
    });
    expect(codeOf(await odd.call('echo'))).toBe('internal');
  });
});

describe('what a tool says in words', () => {
  test('a failure that it states is an answer: handled, with status error', async () => {
    const fail = readTool('fail', () => {
      throw new ToolError('no such file: ü');
    });
    const peer = await startServer({ tools: [fail] });
    const { body, httpStatus } = await peer.send(peer.request('fail'));
    expect(httpStatus).toBe(200);
    expect(verifiedReply(body, peer.credential)).toMatchObject({
      ok: true,
      status: 'error',
      result: null,
      error: 'job_failed: no such file: ü',
    });
  });

  test('a failure told with a whole file in it is still told', async () => {
    const fail = readTool('fail', () => {
      throw new ToolError(`no: ${'\u0001😀'.repeat(1_000_000)}`);
    });
    const peer = await startServer({ tools: [fail] });
    const reply = await peer.call('fail');
    expect(reply.ok).toBe(true);
    expect(reply.error).toMatch(/^job_failed: no: /);
  });

  test.each(
    Object.entries(CODES).flatMap(([code, { signed, httpStatus }]) =>
      signed && code !== 'job_failed' ? [[code, httpStatus] as const] : [],
    ),
  )('a refusal with the code %s goes out with HTTP status %i', async (code, status) => {
    const policy = () => {
      // A code of the table above.
      throw new ProtocolError(code as keyof typeof CODES, 'as the policy says', { hint: 1 });
    };
    const peer = await startServer({ tools: [readTool('refuse', () => ({}))], policy });
    const { body, httpStatus } = await peer.send(peer.request('refuse'));
    expect(httpStatus).toBe(status);
    expect(verifiedReply(body, peer.credential)).toMatchObject({
      ok: false,
      status: 'error',
      error: `${code}: as the policy says`,
      result: { hint: 1 },
    });
  });

  test.each(['stale', 'in_progress', 'replayed', 'bad_signature'] as const)(
    'a tool cannot say %s, which speaks of messages: it is internal, and the log has the rest',
    async (code) => {
      let runs = 0;
      const passOn = anyTool('pass_on', () => {
        runs++;
        throw new ProtocolError(code, 'from another server');
      });
      const peer = await startServer({ tools: [passOn] });
      const request_id = `call-${code}`;
      for (let retry = 0; retry < 3; retry++) {
        const reply = await peer.call('pass_on', {}, { request_id });
        expect(reply.error).toMatch(/^internal: the tool failed; error id /);
      }
      expect(runs).toBe(1);
    },
  );
});

describe('the policy', () => {
  test('is asked who calls what, for every call that is not known already, and for none that is forged', async () => {
    const asked: unknown[] = [];
    const peer = await startServer({ tools: [echo], policy: (call) => void asked.push(call) });
    await peer.call('echo');
    await peer.send(peer.request('echo', {}, { signature: '0'.repeat(64) }));
    await peer.call('unknown');
    expect(asked).toEqual([
      { clientId: 'agent-a', tool: 'echo' },
      { clientId: 'agent-a', tool: 'unknown' },
    ]);
  });

  test('can forbid', async () => {
    const policy = async ({ tool }: { readonly tool: string }) => {
      await Promise.resolve();
      if (tool === 'echo') throw new ProtocolError('forbidden', 'not for you');
    };
    const peer = await startServer({ tools: [echo], policy });
    expect((await peer.call('echo')).error).toBe('forbidden: not for you');
    expect((await peer.call('server_identity')).ok).toBe(true);
  });

  test('can slow down, and says for how long', async () => {
    const policy = () => {
      throw new ProtocolError('rate_limited', 'slow down', { retry_after_ms: 1_234 });
    };
    const peer = await startServer({ tools: [echo], policy });
    const { body, httpStatus } = await peer.send(peer.request('echo'));
    expect(httpStatus).toBe(429);
    expect(verifiedReply(body, peer.credential).result).toEqual({ retry_after_ms: 1_234 });
  });
});

describe('too many calls at once', () => {
  test('the next one is busy, signed, and says when to come back; forged ones take no place', async () => {
    const stay = gate();
    const slow = readTool('slow', () => stay.opened.then(() => ({})));
    const peer = await startServer({ tools: [slow, echo], maxCallsInFlight: 2 });
    const held = [peer.call('slow'), peer.call('slow')];
    await Promise.all(
      Array.from({ length: 10 }, async () => {
        const { body } = await peer.send(peer.request('echo', {}, { signature: '0'.repeat(64) }));
        return unsignedReply(body);
      }),
    );
    const { body, httpStatus } = await peer.send(peer.request('echo'));
    expect(httpStatus).toBe(503);
    const reply = verifiedReply(body, peer.credential);
    expect([codeOf(reply), reply.result]).toEqual(['busy', { retry_after_ms: 1_000 }]);
    stay.open();
    await Promise.all(held);
    expect((await peer.call('echo')).ok).toBe(true);
  });
});

test('a flood of calls that are busy does not wait for an audit that hangs, one beside the other', async () => {
  const stay = gate();
  onTestFinished(() => stay.open());
  const slow = readTool('slow', () => stay.opened.then(() => ({})));
  const peer = await startServer({ tools: [slow], maxCallsInFlight: 2 });
  const held = [peer.call('slow'), peer.call('slow')];
  const replies = await Promise.all(
    Array.from({ length: 10 }, (_, n) => peer.call('slow', {}, { request_id: `r-${n}` })),
  );
  expect(new Set(replies.map(codeOf))).toEqual(new Set(['busy']));
  // The first two are in the audit, as every refusal; there is no end to the others.
  const busy = linesIn(peer.dir).filter(({ outcome }) => outcome === 'busy');
  expect(busy.map((line) => line['request_id'])).toEqual(['r-0', 'r-1']);
  stay.open();
  await Promise.all(held);
});

describe('arguments reach the tool', () => {
  test('as they were sent, whatever JSON they hold', async () => {
    const args: JsonObject = {
      constructor: { toString: 'x' },
      '': [null, [], {}, -0.5, 1e300],
      ünï: '\u0000\u2028😀',
    };
    const peer = await startServer({ tools: [echo] });
    expect((await peer.call('echo', args)).result).toEqual(args);
  });

  test('and nothing that the tool does with them comes back in another call', async () => {
    const sly = readTool('sly', (args) => Object.assign(args, { more: 1 }));
    const peer = await startServer({ tools: [sly] });
    const bytes = [peer.request('sly', { n: 1 }), peer.request('sly', { n: 1 })];
    for (const each of bytes) {
      expect(verifiedReply((await peer.send(each)).body, peer.credential).result).toEqual({ n: 1, more: 1 });
    }
  });
});
