import { describe, expect, test } from 'vitest';
import { seedOfRun } from '../support/random.ts';
import { runFuzz } from './run.ts';

const FIXED_SEED = 20_261_121;

describe('hostile input: one well-formed reply to each, signed exactly if the MAC held, and no hang', () => {
  test.each([
    ['the corpus and a fixed seed', FIXED_SEED],
    ['the corpus and a seed of this run', seedOfRun()],
  ])('%s', async (_what, seed) => {
    console.log(`fuzz: TEST_SEED=${seed}`);
    const { findings, inputs, deep, outcomes } = await runFuzz({ seed, seconds: 3, maxMs: 500 });
    expect(findings).toEqual([]);
    // It was no idle run, and much of it came to the tools.
    expect(deep).toBeGreaterThan(inputs / 10);
    for (const outcome of ['ok', 'accepted', 'bad_signature', 'bad_envelope', 'replayed', 'http 200'])
      expect(outcomes).toHaveProperty([outcome]);
  });
});
