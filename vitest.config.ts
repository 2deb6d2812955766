import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: './test/global-setup.ts',
    // Tests start processes, hold locks and change environments: each file has a process of its own.
    pool: 'forks',
    maxWorkers: '100%',
    // Far above what any test needs, so that a busy machine fails nothing; a hung test still ends.
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
});
