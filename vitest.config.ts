import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';
import { DATA_VARIABLE, memoryFolder, missingServices, SERVICE_TAGS } from './test/support/services/index.ts';

// For the hub, which global-setup.ts opens in this process, and for the processes of the tests, which inherit it.
const memory = memoryFolder();
if (memory !== undefined) process.env[DATA_VARIABLE] ??= memory;

const missing = new Set(missingServices().flatMap(({ tags }) => tags));

/** Files that take long and are small: what is begun last is waited for with nothing beside it. */
const LONG =
  /\/test\/(?:chaos\/chaos|jobs\/bullmq-outage|mcp\/replicas|deploy\/scale-out|cli\/(?:replicas|outage))\.test\.ts$/;

/** As always, the larger files first, or those that took longer in the last run; but the long ones before all. */
class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const isLong = ({ moduleId }: TestSpecification) => LONG.test(moduleId);
    return [...sorted.filter(isLong), ...sorted.filter((file) => !isLong(file))];
  }
}

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
    sequence: { sequencer: LongFirst },
    // Far above what any test needs, so that a busy machine fails nothing; a hung test still ends.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    expect: { poll: { timeout: 20_000 } },
  },
});
