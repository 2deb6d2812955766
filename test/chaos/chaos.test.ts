import { describe, expect, test } from 'vitest';
import { seedOfRun } from '../support/random.ts';
import { type ChaosOptions, runChaos } from './run.ts';

/** Far above what a run takes. */
const TIMEOUT_MS = 300_000;

/**
 * Shows that a run was no idle one. In one of a few seconds it is chance what those who are killed were doing: whether
 * a job is begun again, or a cancel finds one. Longer runs show that (`npm run chaos`).
 */
const SIGNS = [
  'faults: worker killed',
  'faults: replica killed',
  'faults: database killed',
  'replays: replayed',
  'retries',
];

async function assertSurvives(options: Omit<ChaosOptions, 'seed'>): Promise<void> {
  const seed = seedOfRun();
  console.log(`chaos: TEST_SEED=${seed}`);
  const { violations, timeline, summary, counts } = await runChaos({ ...options, seed });
  console.log(summary);
  expect(violations.length === 0 ? '' : [...violations, timeline].join('\n')).toBe('');
  expect(SIGNS.filter((sign) => (counts.get(sign) ?? 0) === 0)).toEqual([]);
}

describe('chaos: processes and services killed and frozen under load', { timeout: TIMEOUT_MS }, () => {
  const title =
    'every acknowledged job ends once with its own result, and nothing is done twice or told wrong';

  test(`${title} (PostgreSQL and Redis)`, { tags: ['own-postgres', 'own-redis'] }, () =>
    assertSurvives({ jobs: 1_500, seconds: 9, replicas: 3, workers: 2, redis: true }),
  );

  test(`${title} (PostgreSQL alone)`, { tags: ['own-postgres'] }, () =>
    assertSurvives({ jobs: 500, seconds: 5, replicas: 2, workers: 2, redis: false }),
  );
});
