import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { createSqliteDispatcher } from '../../src/jobs/index.ts';
import { JOB_LIMITS } from '../../src/limits.ts';
import { newJob, newRequest } from '../store/new-records.ts';
import { openStore } from '../store/open.ts';
import { gate } from '../support/gate.ts';
import {
  describeDispatcher,
  idsOf,
  type OpenQueue,
  type QueueOptions,
  someJobs,
  startFloor,
} from './dispatcher.suite.ts';

async function openQueue(options?: QueueOptions): Promise<OpenQueue> {
  const store = openStore();
  const dispatcher = createSqliteDispatcher(store, options);

  /** A client whose next job gets this priority: it has others open, which are out of the way. */
  async function clientOf(priority: number): Promise<string> {
    const clientId = `agent-${crypto.randomUUID()}`;
    const createdMs = Date.now() + 3_600_000;
    const count = priority * JOB_LIMITS.priorityStep;
    const others = Array.from({ length: count }, () =>
      newJob({ request: newRequest({ clientId }), createdMs }),
    );
    await Promise.all(others.map((other) => store.jobs.create(other)));
    return clientId;
  }

  return {
    dispatcher,
    // Its creation brings it to the queue in one step.
    async submit({ id, tool, priority }, runAtMs) {
      const request = newRequest({ clientId: await clientOf(priority) });
      const creation = await store.jobs.create(newJob({ id, tool, request, createdMs: runAtMs }));
      if (creation.outcome !== 'created' || creation.priority !== priority) {
        throw new Error(`its priority should be ${priority}: ${JSON.stringify(creation)}`);
      }
    },
  };
}

describeDispatcher('SQLite', openQueue);

describe('SQLite: a consumer takes the next job when another ends, and does not wait for its look at the disk', () => {
  test.each([
    ['there are more than slots', []],
    ['its tool has no room', [['work', 1]]],
  ] as const)('when %s', async (_why, limits) => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    onTestFinished(() => void vi.useRealTimers());
    const queue = await openQueue({ limits: new Map(limits) });
    const stay = gate();
    const waiting = someJobs(20);
    const others = someJobs(20, 'other');
    const floor = startFloor(queue.dispatcher, {
      concurrency: 2,
      run: (id) => (idsOf(waiting).includes(id) ? stay.opened : Promise.resolve()),
    });
    for (const job of waiting) await queue.submit(job, Date.now());
    await floor.begun(1);
    if (limits.length > 0) {
      for (const job of others) await queue.submit(job, Date.now());
      await floor.ranAll(others);
    }
    stay.open();
    await floor.ranAll(waiting);
    expect(new Set(floor.started).size).toBe(floor.started.length);
  });
});
