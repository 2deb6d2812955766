import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { createCaller } from '../support/caller.ts';
import { createRandom, seedOfRun } from '../support/random.ts';
import { type AcknowledgedJob, startLoad } from './load.ts';
import { makeFolder, startServer } from './server-process.ts';
import { expectCallsOnce, expectJobsDone, expectReplaysRefused, startLongJob } from './survive.ts';

const KILLS = 6;

describe('kill -9 of a server under load', () => {
  test('loses no acknowledged job, runs no direct call twice, and refuses every replay after restart', async () => {
    const seed = seedOfRun();
    console.log(`kill -9: TEST_SEED=${seed}`);
    const random = createRandom(seed);
    const folder = makeFolder();
    const [first, ...others] = await Promise.all([
      folder.addClient('agent-a'),
      folder.addClient('agent-b'),
      folder.addClient('agent-c'),
    ]);
    const patient = createCaller(first.credential);
    const callers = [patient, ...others.map(({ credential }) => createCaller(credential))];
    let server = await startServer(folder);
    const load = startLoad({ callers, url: server.url, seed });
    const longJobs = new Map<string, AcknowledgedJob>();
    let replaysRefused = 0;

    for (let kill = 1; kill <= KILLS; kill++) {
      const requestId = `long-${kill}`;
      const args = { text: requestId, steps: 100, step_ms: 20 };
      const longJob = { tool: 'work', args, result: { text: requestId, steps: 100 } };
      longJobs.set(requestId, await startLongJob(patient, server.url, requestId, longJob));
      await sleep(random.integer(0, 300));
      server.kill('SIGKILL');
      expect(await server.exited).toMatchObject({ code: null, signal: 'SIGKILL' });
      const before = load.captured.slice(-1_000);

      server = await startServer(folder);
      await expectReplaysRefused(server.url, before);
      replaysRefused += before.length;
      load.url = server.url;
    }

    await load.stop();
    const { calls, interrupted, captured } = load;
    const jobs = new Map([...load.jobs, ...longJobs]);
    await expectJobsDone(server.url, jobs);
    await expectCallsOnce(server.url, calls, folder.effects());
    await expectReplaysRefused(server.url, captured);

    const attempts = folder.attempts();
    const again = attempts.length - new Set(attempts).size;
    expect(again).toBeGreaterThanOrEqual(KILLS);
    expect(Math.min(jobs.size, calls.size, replaysRefused)).toBeGreaterThan(0);
    console.log(
      `kill -9: ${KILLS} kills, ${jobs.size} jobs done, ${again} attempts begun again, ${calls.size} calls run once, ` +
        `${interrupted.size} cut short, ${replaysRefused + captured.length} replays refused`,
    );
  }, 120_000);
});
