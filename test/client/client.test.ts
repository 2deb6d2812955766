import { inspect } from 'node:util';
import { describe, expect, expectTypeOf, it } from 'vitest';
import { createClient, ProtocolError } from '../../src/client/index.ts';
import type { JsonObject } from '../../src/wire/json.ts';
import { clientOf, createPeer, credential, rejection, reply } from './peer.ts';

const peerOf = (result: JsonObject) => createPeer((request) => reply(request, { result }));

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

describe('call', () => {
  it('sends the nine members and returns the result', async () => {
    const peer = peerOf({ count: 2, total: 3.5 });
    const result = await clientOf(peer).call<{ total: number }>('batch_sum', { numbers: [1, 2.5] });
    expectTypeOf(result).toEqualTypeOf<{ total: number }>();
    expect(result).toEqual({ count: 2, total: 3.5 });
    expect(peer.requests).toEqual([
      {
        v: 'mcp/0.1',
        request_id: expect.stringMatching(/^[0-9a-f-]{36}$/),
        ts_ms: 1_800_000_000_000,
        client_id: 'agent-a',
        server_id: 'srv-1',
        tool: 'batch_sum',
        args: { numbers: [1, 2.5] },
        nonce: expect.stringMatching(/^[0-9a-f-]{36}$/),
        signature: expect.stringMatching(/^[0-9a-f]{64}$/),
      },
    ]);
  });

  it('sends no args as an empty object, and takes a null result for one', async () => {
    const peer = createPeer((request) => reply(request, { result: null }));
    expect(await clientOf(peer).call('tool')).toEqual({});
    expect(peer.requests[0]?.args).toEqual({});
  });

  it('uses a new request_id for each call', async () => {
    const peer = peerOf({});
    const client = clientOf(peer);
    await Promise.all([client.call('tool'), client.call('tool'), client.call('tool')]);
    expect(new Set(peer.requests.map(({ request_id }) => request_id)).size).toBe(3);
  });

  it.each<[string, () => [tool: string, args?: object, requestId?: string], RegExp]>([
    ['a tool name with a quote', () => ['to"ol'], /^tool: must be/],
    ['an empty tool name', () => [''], /^tool: must be/],
    ['a request_id with a space', () => ['tool', {}, 'a b'], /^request_id: must be/],
    ['args that are an array', () => ['tool', []], /^args: must be an object/],
    ['a number that is not finite', () => ['tool', { n: Number.NaN }], /^args\.n: is not a finite number/],
    ['undefined', () => ['tool', { a: [{ b: undefined }] }], /^args\.a\[0\]\.b: is undefined/],
    ['a Date', () => ['tool', { at: new Date() }], /^args\.at: is not a plain object/],
    ['a lone surrogate', () => ['tool', { s: '\udc00' }], /^args\.s: has a lone surrogate/],
    ['too deep nesting', () => ['tool', deep(32)], /is nested too deep/],
    ['too many members', () => ['tool', wide(20_000)], /^args: make over 20000 object members/],
    ['too many bytes', () => ['tool', { s: 'x'.repeat(1_048_576) }], /^args: make over 1048576 bytes/],
  ])('refuses %s before anything is sent', async (_, make, message) => {
    const [tool, args, requestId] = make();
    const peer = peerOf({});
    const error = await rejection(clientOf(peer).call(tool, args, { requestId }));
    expect(error instanceof TypeError || error instanceof RangeError).toBe(true);
    expect(error).toMatchObject({ message: expect.stringMatching(message) });
    expect(peer.requests).toEqual([]);
  });

  it('sends what is exactly at the limits', async () => {
    const peer = peerOf({});
    await clientOf(peer).call('tool', deep(31));
    await clientOf(peer).call('tool', wide(20_000 - 9));
    expect(peer.requests).toHaveLength(2);
  });
});

/** An object of this depth. */
function deep(depth: number): object {
  return depth === 1 ? {} : { d: deep(depth - 1) };
}

function wide(members: number): object {
  return Object.fromEntries(Array.from({ length: members }, (_, i) => [`m${i}`, i]));
}

describe('lists', () => {
  const pages = createPeer((request) => {
    const { cursor } = request.args;
    const from = typeof cursor === 'string' ? Number(cursor) : 0;
    const items = [{ name: `t${from}` }, { name: `t${from + 1}` }];
    const next_cursor = from < 4 ? String(from + 2) : null;
    return reply(request, { result: { tools: items, jobs: items, next_cursor } });
  });

  it('tools fetches every page', async () => {
    const tools = await clientOf(pages).tools();
    expect(tools.map(({ name }) => name)).toEqual(['t0', 't1', 't2', 't3', 't4', 't5']);
  });

  it('jobs fetches a page when its reader gets there, with the status asked for', async () => {
    const before = pages.requests.length;
    let seen = 0;
    for await (const _ of clientOf(pages).jobs({ status: 'running' })) if (++seen === 3) break;
    expect(pages.requests.slice(before).map(({ tool, args }) => [tool, args])).toEqual([
      ['list_jobs', { status: 'running' }],
      ['list_jobs', { status: 'running', cursor: '2' }],
    ]);
    expect(await collect(clientOf(pages).jobs())).toHaveLength(6);
  });

  it('of a server that sends none are an error of the server', async () => {
    const error = await rejection(clientOf(peerOf({ items: [] })).tools());
    expect(error).toBeInstanceOf(ProtocolError);
    expect(error).toMatchObject({ code: 'internal', message: 'list_tools was answered without tools' });
  });

  it('of a server without pages end at the first', async () => {
    expect(await collect(clientOf(peerOf({ jobs: [] })).jobs())).toEqual([]);
  });
});

describe('identity', () => {
  it('is what server_identity says', async () => {
    const identity = { server_id: 'srv-1', fingerprint: 'f'.repeat(32), capabilities: { async: true } };
    const peer = peerOf(identity);
    expect(await clientOf(peer).identity()).toEqual(identity);
    expect(peer.requests).toMatchObject([{ tool: 'server_identity', args: {} }]);
  });
});

describe('a client', () => {
  it('shows no secret when it is printed', () => {
    const text = inspect(createClient(credential), { depth: 9, showHidden: true });
    expect(text).toContain('call');
    expect(text).not.toContain('wb_');
  });

  it('refuses options it does not know', () => {
    const misspelt = { timeoutMs: 5, timeoutMS: 5 };
    expect(() => createClient(credential, misspelt)).toThrow(/unknown option "timeoutMS"/);
  });

  it('keeps working when the credential it was given changes', async () => {
    const mutable = { ...credential };
    const peer = peerOf({});
    const client = createClient(mutable, {
      transport: peer.transport,
      clock: { now: () => 1.8e12, sleep: async () => {} },
    });
    Object.assign(mutable, { client_id: 'x', server_id: 'x', request_key: 'x', response_key: 'x' });
    expect(await client.call('tool')).toEqual({});
  });
});
