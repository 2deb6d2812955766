import { describe, expect, test } from 'vitest';
import { SERVER_LIMITS } from '../src/limits.ts';
import { inTurns, isLarge } from '../src/turns.ts';
import { mcpRoute } from '../src/mcp/index.ts';
import type { JsonObject } from '../src/wire/index.ts';
import { bodyOf, headersOf } from './mcp/face.ts';
import { readTool, startServer } from './support/server.ts';

const LARGE = SERVER_LIMITS.turnBytes + 1;

/** Turns of the event loop that work takes beside the one in which it begins. */
async function turnsOf(work: () => Promise<unknown>): Promise<number> {
  let turns = 0;
  let isDone = false;
  const count = () => {
    turns++;
    if (!isDone) setImmediate(count);
  };
  setImmediate(count);
  await work();
  isDone = true;
  return turns;
}

const double = (value: number) => 2 * value;

describe('two steps of work on a message', () => {
  test('are done at once on a small one', () => {
    expect(isLarge(LARGE - 1)).toBe(false);
    expect(inTurns(LARGE - 1, () => 20, double)).toBe(40);
  });

  test('are done in two turns on a large one, between which others have theirs', async () => {
    const steps: string[] = [];
    setImmediate(() => steps.push('another'));
    const done = inTurns(
      LARGE,
      () => steps.push('first'),
      () => steps.push('second'),
    );
    expect(steps).toEqual(['first']);
    await done;
    expect(steps).toEqual(['first', 'another', 'second']);
  });

  test('are done at once on those that come while one waits: there is never more than one', async () => {
    const waits = inTurns(LARGE, () => 1, double);
    expect(waits).toBeInstanceOf(Promise);
    expect(inTurns(LARGE, () => 2, double)).toBe(4);
    expect(await waits).toBe(2);
    const next = inTurns(LARGE, () => 3, double);
    expect(next).toBeInstanceOf(Promise);
    expect(await next).toBe(6);
  });

  test('may fail, either of them: the next one waits all the same', async () => {
    const fail = () => {
      throw new Error('no message');
    };
    expect(() => inTurns(LARGE, fail, double)).toThrow('no message');
    await expect(inTurns(LARGE, () => 1, fail)).rejects.toThrow('no message');
    expect(await inTurns(LARGE, () => 1, double)).toBe(2);
  });
});

describe('a large message', () => {
  const echo = readTool('echo', (args) => args);
  const args = { text: 'x'.repeat(LARGE) };

  test('of a stranger is refused in a turn that is not the one in which it was read', async () => {
    const peer = await startServer({ tools: [echo] });
    const forged = (sent: JsonObject) => peer.request('echo', sent, { signature: '0'.repeat(64) });
    const [small, large] = [forged({}), forged(args)];
    expect(await turnsOf(() => peer.send(small))).toBe(0);
    expect(await turnsOf(() => peer.send(large))).toBe(1);
    expect((await peer.send(large)).body).toContain('bad_signature');
  });

  test('is answered right, however many come at once', async () => {
    const peer = await startServer({ tools: [echo] });
    const replies = await Promise.all(Array.from({ length: 8 }, () => peer.call('echo', args)));
    for (const { result } of replies) expect(result).toEqual(args);
  });

  test('of the Model Context Protocol is worked on in several turns, and overtaken by small ones', async () => {
    const peer = await startServer({ tools: [echo] });
    const route = mcpRoute(peer.server);
    const token = await peer.server.addToken('agent-a');
    const order: string[] = [];
    const call = async (name: string, sent: JsonObject) => {
      const params = { name: 'echo', arguments: sent };
      const headers = headersOf('tools/call', params, {}, token);
      const { status } = await route.handle({
        method: 'POST',
        header: (header) => headers[header] as string | undefined,
        body: Buffer.from(bodyOf('tools/call', params)),
        signal: new AbortController().signal,
      });
      order.push(`${name} ${status}`);
    };
    const large = Array.from({ length: 8 }, (_, i) => call(`large ${i}`, args));
    await Promise.all([...large, call('small', {})]);
    expect(order).toHaveLength(9);
    expect(order[0]).toBe('small 200');
    // Read, checked, run, recorded, written.
    expect(await turnsOf(() => call('alone', args))).toBeGreaterThanOrEqual(4);
  });
});
