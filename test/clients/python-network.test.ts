import { describe, expect, test } from 'vitest';
import { hasPython, type Outcome } from './python.ts';
import { type Meddle, useWorld } from './world.ts';

describe.skipIf(!hasPython)('the client in Python on a network that nobody vouches for', () => {
  const world = useWorld();

  const expectUnverified = ({ value, error }: Outcome, text: string) => {
    expect(value).toBeUndefined();
    expect(error).toMatchObject({ type: 'ClientError', code: 'reply_unverified', retryable: false });
    expect(error?.message).toContain(text);
  };

  test('a call whose reply is lost is sent again under its request_id, and does not run twice', async () => {
    const { client, seen } = await world.between((reply, nth) => {
      if (nth === 1) return null;
      // Half a reply is none.
      return nth === 2 ? reply.subarray(0, reply.length / 2) : reply;
    });
    const before = world.runs();
    expect(await world.valueOf('call', { client, tool: 'run_once' })).toEqual({ run: before + 1 });
    expect(world.runs()).toBe(before + 1);
    const sent = seen.map((body) => JSON.parse(String(body)));
    expect(sent).toHaveLength(3);
    expect(new Set(sent.map(({ request_id }) => request_id)).size).toBe(1);
    expect(new Set(sent.map(({ nonce }) => nonce)).size).toBe(3);
    expect(sent.map(({ ts_ms }) => ts_ms)).toEqual(sent.map(({ ts_ms }) => ts_ms).toSorted((a, b) => a - b));
  });

  test.each<readonly [string, string, Meddle]>([
    [
      'tampered',
      'signature of the reply is wrong',
      (reply) => Buffer.from(String(reply).replace('"a":1', '"a":2')),
    ],
    ['to another request', 'another request', (reply) => world.resigned(reply, { request_id: 'another' })],
    ['of another server', 'another server', (reply) => world.resigned(reply, { server_id: 'other' })],
    ['of an hour ago', 'not fresh', (reply) => world.resigned(reply, { ts_ms: Date.now() - 3_600_000 })],
    [
      'under the request key',
      'signature',
      (reply) => world.resigned(reply, {}, world.credential.request_key),
    ],
    [
      'without a signature',
      'unsigned',
      (reply) => Buffer.from(JSON.stringify({ ...JSON.parse(String(reply)), signature: '' })),
    ],
    ['with a tenth member', 'nine members', (reply) => world.resigned(reply, { extra: 1 })],
    ['over 1 MiB', 'no message', (reply) => Buffer.concat([Buffer.alloc(1_048_577, ' '), reply])],
    ['nested without end', 'nested', () => Buffer.alloc(1_000_000, '[')],
  ])('a reply %s is never an answer', async (_what, text, meddle) => {
    const { client, seen } = await world.between(meddle);
    expectUnverified(await world.python.run('call', { client, tool: 'echo', args_text: '{"a":1}' }), text);
    expect(seen).toHaveLength(4);
  });

  test('one forged reply does not end a call', async () => {
    const { client } = await world.between((reply, nth) =>
      nth === 1 ? world.resigned(reply, {}, 'x'.repeat(32)) : reply,
    );
    expect(await world.valueOf('call', { client, tool: 'echo', args_text: '{"a":1}' })).toEqual({ a: 1 });
  });

  test.each([undefined, 'an-own-id'])(
    'a wrong clock is corrected from a signed stale (request_id %s)',
    async (request_id) => {
      const { client, seen } = await world.between((reply) => reply);
      await world.valueOf('set_clock_back', { client, ms: 3_600_000 });
      expect(await world.valueOf('call', { client, tool: 'run_once', request_id })).toEqual({
        run: world.runs(),
      });
      const before = seen.length;
      await world.valueOf('call', { client, tool: 'echo' });
      expect(seen.length).toBe(before + 1);
    },
  );

  test('a clock that cannot be corrected ends the call after one correction', async () => {
    const stale = (reply: Buffer) =>
      world.resigned(reply, {
        ok: false,
        status: 'error',
        error: 'stale: not now',
        result: null,
        ts_ms: Date.now(),
      });
    const { client, seen } = await world.between(stale);
    expect((await world.python.run('call', { client, tool: 'echo' })).error).toMatchObject({
      code: 'stale',
      retryable: true,
    });
    expect(seen).toHaveLength(2);
  });

  test('a server that trickles its reply without end is a time-out', async () => {
    const url = await world.listening((_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      const timer = setInterval(() => response.write(' '), 20);
      response.once('close', () => clearInterval(timer));
    });
    const { error } = await world.python.run('call', {
      client: await world.connect({ url }),
      tool: 'echo',
      timeout: 0.5,
    });
    expect(error).toMatchObject({ type: 'ClientError', code: 'timeout', retryable: true });
  });

  test('a page of something else, a redirect and a closed port are failures of the connection', async () => {
    const url = await world.listening((request, response) => {
      const moved = request.url === '/moved';
      response
        .writeHead(moved ? 307 : 404, { 'content-type': 'text/html', location: world.listener.url })
        .end('<p>');
    });
    for (const to of [url, url.replace('/call', '/moved'), 'http://127.0.0.1:1/call']) {
      const { error } = await world.python.run('call', {
        client: await world.connect({ url: to }),
        tool: 'echo',
      });
      expect(error).toMatchObject({ type: 'ClientError', code: 'connection', retryable: true });
    }
  });

  test('a call that no message can say is refused before it is sent', async () => {
    const { client, seen } = await world.between((reply) => reply);
    const wrong = [
      { tool: 'echo', args_text: '[1]' },
      { tool: 'no tool' },
      { tool: 'echo', request_id: 'a b' },
      { tool: 'echo', args_text: '{"n": 9007199254740993}' },
      { tool: 'echo', args_text: '{"n": NaN}' },
      { tool: 'echo', args_text: '{"s": "\\ud800"}' },
      { tool: 'echo', args_text: JSON.stringify({ s: 'x'.repeat(1_048_576) }) },
      { tool: 'echo', args_text: `{"a": ${'['.repeat(31)}${']'.repeat(31)}}` },
    ];
    for (const call of wrong) {
      const { error } = await world.python.run('call', { client, ...call });
      expect(['JsonError', 'ValueError']).toContain(error?.type);
    }
    expect(seen).toEqual([]);
  });
});
