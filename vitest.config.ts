import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';
import { missingServices, SERVICE_TAGS } from './test/support/services/index.ts';

const missing = new Set(missingServices().flatMap(({ tags }) => tags));

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: './test/global-setup.ts',
    // A test with one of these tags is skipped where the service cannot be had; global-setup.ts counts them.
    tags: SERVICE_TAGS.map((name) => (missing.has(name) ? { name, skip: true } : { name })),
    // Tests start processes, hold locks and change environments: each file has a process of its own.
    pool: 'forks',
    // One more than there are cores: many tests wait for a process or a time-out, and leave theirs idle.
    maxWorkers: availableParallelism() + 1,
    // Far above what any test needs, so that a busy machine fails nothing; a hung test still ends.
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
});
