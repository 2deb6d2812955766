import { describe, expect, test } from 'vitest';
import { SERVER_LIMITS } from '../src/limits.ts';
import { inTurns, isLarge } from '../src/turns.ts';
import { mcpRoute } from '../src/mcp/index.ts';
import type { JsonObject } from '../src/wire/index.ts';
import { bodyOf, headersOf } from './mcp/face.ts';
import { readTool, startServer } from './support/server.ts';

const LARGE = SERVER_LIMITS.turnBytes + 1;

/** Turns of the event loop from now until the work is done. */
async function turnsOf(work: Promise<unknown>): Promise<number> {
  let turns = 0;
  let isDone = false;
  const count = () => {
    turns++;
    if (!isDone) setImmediate(count);
  };
  setImmediate(count);
  await work;
  isDone = true;
  return turns;
}

describe('work on messages', () => {
  test('is done at once on a small one', () => {
    const size = SERVER_LIMITS.turnBytes;
    expect(isLarge(size)).toBe(false);
    expect(
      inTurns(
        size,
        () => 20,
        (value) => value + 1,
      ),
    ).toBe(21);
  });

  test('is done on one large message after the other, each step in a turn of its own', async () => {
    const steps: string[] = [];
    const all = ['a', 'b', 'c'].map(async (name) =>
      inTurns(
        LARGE,
        () => steps.push(`${name} is read`),
        () => steps.push(`${name} is checked`),
      ),
    );
    setImmediate(() => setImmediate(() => steps.push('another has a turn')));
    expect(steps).toEqual([]);
    expect(await turnsOf(Promise.all(all))).toBeGreaterThanOrEqual(all.length * 2);
    expect(steps.indexOf('another has a turn')).toBeLessThan(steps.indexOf('c is read'));
    const order = ['a', 'b', 'c'].flatMap((name) => [`${name} is read`, `${name} is checked`]);
    expect(steps.filter((step) => !step.startsWith('another'))).toEqual(order);
  });

  test('goes on with the next when it fails', async () => {
    const fail = () => {
      throw new Error('no message');
    };
    const first = inTurns(LARGE, fail, () => 'never');
    const second = inTurns(LARGE, () => 1, fail);
    const third = inTurns(
      LARGE,
      () => 'read',
      (value) => value,
    );
    await expect(first).rejects.toThrow('no message');
    await expect(second).rejects.toThrow('no message');
    expect(await third).toBe('read');
  });
});

describe('large messages', () => {
  const echo = readTool('echo', (args) => args);
  const args = { text: 'x'.repeat(LARGE) };

  test('hold up no small one that comes behind them', async () => {
    const peer = await startServer({ tools: [echo] });
    const order: string[] = [];
    const call = (name: string, sent: JsonObject) =>
      peer.call('echo', sent).then(({ ok }) => order.push(`${name} ${ok}`));
    const large = Array.from({ length: 8 }, (_, i) => call(`large ${i}`, args));
    await Promise.all([...large, call('small', {})]);
    expect(order).toHaveLength(9);
    expect(order.indexOf('small true')).toBeLessThan(order.indexOf('large 1 true'));
  });

  test("hold up nobody else's call when strangers send them", async () => {
    const peer = await startServer({ tools: [echo] });
    const order: string[] = [];
    const unsigned = peer.request('echo', args, { signature: '0'.repeat(64) });
    const large = Array.from({ length: 8 }, async () => order.push((await peer.send(unsigned)).body));
    await Promise.all([...large, peer.call('echo').then(({ status }) => order.push(status))]);
    expect(order.indexOf('ok')).toBeLessThan(2);
    expect(order.filter((body) => body.includes('bad_signature'))).toHaveLength(8);
  });

  test('of the Model Context Protocol hold up no small one, and are worked on in several turns', async () => {
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
    expect(order.indexOf('small 200')).toBeLessThan(order.indexOf('large 1 200'));
    // Read, checked, let in, run, recorded, written.
    expect(await turnsOf(call('alone', args))).toBeGreaterThanOrEqual(5);
  });
});
