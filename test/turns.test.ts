import { describe, expect, test } from 'vitest';
import { SERVER_LIMITS } from '../src/limits.ts';
import { inTurn, turnFor } from '../src/turns.ts';
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

/** What was done, in its order. */
function createSteps() {
  const steps: string[] = [];
  return {
    steps,
    work: (name: string, size: number) => async () => {
      steps.push(`${name} begins`);
      await turnFor(size);
      steps.push(`${name} ends`);
    },
  };
}

describe('work on messages', () => {
  test('is done at once on a small one', async () => {
    const { steps, work } = createSteps();
    expect(turnFor(SERVER_LIMITS.turnBytes)).toBeNull();
    const done = inTurn(SERVER_LIMITS.turnBytes, work('a', 0));
    expect(steps).toEqual(['a begins']);
    expect(inTurn(1, () => 'now')).toBe('now');
    await done;
  });

  test('is done on one large message after the other, in turns of its own', async () => {
    const { steps, work } = createSteps();
    const all = ['a', 'b', 'c'].map(async (name) => inTurn(LARGE, work(name, LARGE)));
    setImmediate(() => setImmediate(() => steps.push('another has a turn')));
    expect(steps).toEqual([]);
    expect(await turnsOf(Promise.all(all))).toBeGreaterThanOrEqual(all.length * 2);
    expect(steps.filter((step) => !step.startsWith('another'))).toEqual([
      'a begins',
      'a ends',
      'b begins',
      'b ends',
      'c begins',
      'c ends',
    ]);
    expect(steps.indexOf('another has a turn')).toBeLessThan(steps.indexOf('c begins'));
  });

  test('goes on with the next when it fails', async () => {
    const first = inTurn(LARGE, () => Promise.reject(new Error('no message')));
    const second = inTurn(LARGE, () => 'read');
    await expect(first).rejects.toThrow('no message');
    expect(await second).toBe('read');
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
