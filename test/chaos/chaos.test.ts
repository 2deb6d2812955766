import { describe, expect, test } from 'vitest';
import { seedOfRun } from '../support/random.ts';
import { type ChaosOptions, runChaos } from './run.ts';

/** Far above what a run takes. */
const TIMEOUT_MS = 300_000;

/** By one of each it shows that a run was no idle one. */
const SIGNS = [['replays: replayed'], ['retries']];
/**
 * In a run of a few seconds it is chance whether a worker that is killed holds a job, and whether a job is there to
 * be cancelled; in any run, whether a cancel comes before its job ends.
 */
const LONG_SIGNS = [...SIGNS, ['attempts begun again'], ['cancels confirmed', 'cancels too late']];

async function assertSurvives(options: Omit<ChaosOptions, 'seed'>, signs = SIGNS): Promise<void> {
  const seed = seedOfRun();
  console.log(`chaos: TEST_SEED=${seed}`);
  const { violations, timeline, summary, counts } = await runChaos({ ...options, seed });
  console.log(summary);
  expect(violations.length === 0 ? '' : [...violations, timeline].join('\n')).toBe('');
  expect(signs.filter((sign) => sign.every((count) => (counts.get(count) ?? 0) === 0))).toEqual([]);
}

describe('chaos: processes and services killed and frozen under load', { timeout: TIMEOUT_MS }, () => {
  const title =
    'every acknowledged job ends once with its own result, and nothing is done twice or told wrong';

  test(`${title} (PostgreSQL and Redis)`, { tags: ['own-postgres', 'own-redis'] }, () =>
    assertSurvives({ jobs: 1_500, seconds: 9, replicas: 3, workers: 2, redis: true }, LONG_SIGNS),
  );

  test(`${title} (PostgreSQL alone)`, { tags: ['own-postgres'] }, () =>
    assertSurvives({ jobs: 500, seconds: 5, replicas: 2, workers: 2, redis: false }),
  );
});
