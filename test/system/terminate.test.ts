import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { createCaller } from '../support/caller.ts';
import { createRandom, seedOfRun } from '../support/random.ts';
import { startLoad } from './load.ts';
import { makeFolder, startServer } from './server-process.ts';
import { expectCallsOnce, expectJobsDone, expectReplaysRefused, startLongJob } from './survive.ts';

describe('SIGTERM to a server under load', () => {
  test('ends it with exit code 0; jobs finish or go back and finish after restart; nothing is lost', async () => {
    const seed = seedOfRun();
    console.log(`SIGTERM: TEST_SEED=${seed}`);
    const folder = makeFolder();
    const [first, second] = await Promise.all([folder.addClient('agent-a'), folder.addClient('agent-b')]);
    const patient = createCaller(first.credential);
    const callers = [patient, createCaller(second.credential)];
    let server = await startServer(folder);

    // Two that no drain can wait for, one of which does not even heed its signal.
    const gate = join(folder.dir, 'gate');
    const hold = (stubborn: boolean) => ({ tool: 'hold', args: { gate, stubborn }, result: { gate } });
    const held = new Map([
      ['held', await startLongJob(patient, server.url, 'held', hold(false))],
      ['stubborn', await startLongJob(patient, server.url, 'stubborn', hold(true))],
    ]);
    const load = startLoad({ callers, url: server.url, seed });
    await sleep(createRandom(seed).integer(100, 400));
    await expect.poll(() => load.captured.length).toBeGreaterThan(0);
    server.kill('SIGTERM');
    const { code, signal, stderr } = await server.exited;
    expect({ code, signal }).toEqual({ code: 0, signal: null });
    expect(stderr).not.toMatch(/"level":"(error|fatal)"/);
    expect(
      folder
        .attempts()
        .filter((requestId) => held.has(requestId))
        .sort(),
    ).toEqual(['held', 'stubborn']);
    const before = load.captured.slice(-1_000);

    writeFileSync(gate, '');
    server = await startServer(folder);
    await expectReplaysRefused(server.url, before);
    load.url = server.url;
    await load.stop();

    const { calls, interrupted } = load;
    const jobs = new Map([...load.jobs, ...held]);
    await expectJobsDone(server.url, jobs);
    await expectCallsOnce(server.url, calls, folder.effects());
    expect([...interrupted]).toEqual([]);
    expect(folder.attempts().filter((requestId) => held.has(requestId))).toHaveLength(4);
    expect(Math.min(load.jobs.size, calls.size, before.length)).toBeGreaterThan(0);
    console.log(
      `SIGTERM: ${jobs.size} jobs done, ${calls.size} calls run once, ${before.length} replays refused`,
    );
  }, 120_000);
});
