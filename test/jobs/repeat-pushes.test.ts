import { describe, expect, test } from 'vitest';
import { type Dispatcher, repeatPushes } from '../../src/jobs/index.ts';
import { gate } from '../support/gate.ts';

const RETRY_MS = 1;

/** A queue that can be away, and tells what it was asked to take. */
function queue(taken: string[]) {
  const state = { isAway: true, asked: 0, refused: new Set<string>() };
  const dispatcher: Dispatcher = {
    async push({ id }) {
      state.asked++;
      if (state.isAway || state.refused.has(id)) throw new Error('away');
      taken.push(id);
    },
    consume: () => ({ stop: async () => {} }),
    async remove() {},
    async ping() {},
    async close() {},
  };
  return { state, repeating: repeatPushes(dispatcher, RETRY_MS) };
}

const job = (id: string) => ({ id, tool: 'work', priority: 0 });

describe('a push that the queue did not take', () => {
  test('is refused, and made again until it is taken; then no more', async () => {
    const taken: string[] = [];
    const { state, repeating } = queue(taken);
    for (const id of ['a', 'b', 'c']) await expect(repeating.push(job(id), 7)).rejects.toThrow('away');
    await expect.poll(() => state.asked).toBeGreaterThan(5);
    state.isAway = false;
    await expect.poll(() => taken.length).toBe(3);
    expect(taken.sort()).toEqual(['a', 'b', 'c']);
    await repeating.push(job('d'), 7);
    expect(taken).toHaveLength(4);
    await repeating.close();
  });

  test('does not keep others back if it fails for reasons of its own', async () => {
    const taken: string[] = [];
    const { state, repeating } = queue(taken);
    state.refused.add('a');
    for (const id of ['a', 'b', 'c']) await expect(repeating.push(job(id), 7)).rejects.toThrow('away');
    state.isAway = false;
    await expect.poll(() => [...taken].sort()).toEqual(['b', 'c']);
    await repeating.close();
  });

  test('is not made again for a job that was removed, nor after the end', async () => {
    const taken: string[] = [];
    const { state, repeating } = queue(taken);
    for (const id of ['a', 'b']) await expect(repeating.push(job(id), 7)).rejects.toThrow('away');
    await repeating.remove(job('a'));
    state.isAway = false;
    await expect.poll(() => taken).toEqual(['b']);
    state.isAway = true;
    await expect(repeating.push(job('c'), 7)).rejects.toThrow('away');
    await repeating.close();
    state.isAway = false;
    const { opened, open } = gate();
    setTimeout(open, RETRY_MS * 20);
    await opened;
    expect(taken).toEqual(['b']);
  });
});
