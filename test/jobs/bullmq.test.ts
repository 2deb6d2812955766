import { Redis } from 'ioredis';
import { describe, expect, onTestFinished, test } from 'vitest';
import { QUEUE_LIMITS } from '../../src/jobs/dispatchers/bullmq/service.ts';
import { gate } from '../support/gate.ts';
import { redisUrl } from '../support/services/shared.ts';
import { newJob, openDesk, SERVICES } from './bullmq-desk.ts';
import { openRelay } from './bullmq-relay.ts';
import { describeDispatcher } from './dispatcher.suite.ts';

// A busy machine is slower than a server would wait for.
Object.assign(QUEUE_LIMITS, { startMs: 20_000, callMs: 20_000 });

describe.each(SERVICES)('on $name', ({ name, tags, url }) => {
  describe('as every dispatcher', { tags: [...tags] }, () => {
    describeDispatcher(`BullMQ on ${name}`, async (options) => {
      const where = await url();
      const another = async () => (await openDesk(where, options)).dispatcher;
      const dispatcher = await another();
      return { dispatcher, another, submit: (job, runAtMs) => dispatcher.push(job, runAtMs) };
    });
  });

  test('the pushes of a turn go out as one message', { tags: [...tags] }, async () => {
    const relay = await openRelay(await url());
    const { dispatcher } = await openDesk(relay.url);
    // What opens a connection is said once.
    await dispatcher.push(newJob(), Date.now());
    const before = relay.pieces;
    await Promise.all(Array.from({ length: 20 }, () => dispatcher.push(newJob(), Date.now())));
    // One statement, or one write; 20 would be 20. A database may be asked on a second connection first.
    expect(relay.pieces - before).toBeLessThan(10);
  });

  test('more pushes at once than fit one message all arrive, in their order', {
    tags: [...tags],
  }, async () => {
    const { dispatcher, consume } = await openDesk(await url());
    const jobs = Array.from({ length: 1_200 }, () => newJob());
    await Promise.all(jobs.map((job) => dispatcher.push(job, Date.now())));
    const ids: string[] = [];
    const all = gate();
    consume(
      async (id) => {
        if (ids.push(id) === jobs.length) all.open();
        return 'done';
      },
      { concurrency: 1 },
    );
    await all.opened;
    expect(ids).toEqual(jobs.map(({ id }) => id));
  });

  test('a slot that its worker gives back at its end goes to another worker', {
    tags: [...tags],
  }, async () => {
    const where = await url();
    const limits = new Map([['single', 1]]);
    const [a, b] = [await openDesk(where, { limits }), await openDesk(where, { limits })];
    const [first, second] = [newJob({ tool: 'single' }), newJob({ tool: 'single' })];
    const [begun, stay, ran] = [gate(), gate(), gate<string>()];
    const consumer = a.consume(async () => {
      begun.open();
      await stay.opened;
      return 'done';
    });
    await a.dispatcher.push(first, Date.now());
    await begun.opened;
    await a.dispatcher.push(second, Date.now());
    b.consume(async (id) => {
      ran.open(id);
      return 'done';
    });
    const stopped = consumer.stop();
    stay.open();
    await stopped;
    expect(await ran.opened).toBe(second.id);
  });

  test('servers that share it do not see the jobs of each other', { tags: [...tags] }, async () => {
    const where = await url();
    const [a, b] = [await openDesk(where, { serverId: 'a:1' }), await openDesk(where, { serverId: 'b:1' })];
    const [mine, theirs] = [newJob(), newJob()];
    const [ranAtA, ranAtB] = [gate<string>(), gate<string>()];
    a.consume(async (id) => {
      ranAtA.open(id);
      return 'done';
    });
    b.consume(async (id) => {
      ranAtB.open(id);
      return 'done';
    });
    await a.dispatcher.push(mine, Date.now());
    await b.dispatcher.push(theirs, Date.now());
    expect(await ranAtA.opened).toBe(mine.id);
    expect(await ranAtB.opened).toBe(theirs.id);
  });
});

describe('in Redis', { tags: ['redis'] }, () => {
  async function openRedis(): Promise<{ url: string; redis: Redis }> {
    const url = await redisUrl();
    const redis = new Redis(url);
    onTestFinished(() => redis.disconnect());
    return { url, redis };
  }

  test('all keys of a server are in one slot of a cluster', async () => {
    const { url, redis } = await openRedis();
    const limits = new Map([['narrow', 1]]);
    const { dispatcher, consume } = await openDesk(url, { limits });
    const ran = gate();
    consume(async (_id, { onLost }) => {
      expect(onLost).toBeNull();
      ran.open();
      return { retryAfterMs: 60_000 };
    });
    for (const tool of ['work', 'narrow']) {
      await dispatcher.push(newJob({ tool, priority: 3 }), Date.now());
      await dispatcher.push(newJob({ tool }), Date.now() + 60_000);
    }
    await ran.opened;
    const keys = (await redis.keys('*')).filter((key) => key !== 'waybill-test');
    expect(keys.length).toBeGreaterThan(10);
    expect(keys.filter((key) => !key.startsWith('{waybill.desk}:'))).toEqual([]);
  });

  test('a job is its id, and nothing is kept of one that has ended', async () => {
    const { url, redis } = await openRedis();
    const { dispatcher, consume } = await openDesk(url);
    const job = newJob({ tool: 'secret-tool' });
    await dispatcher.push(job, Date.now());
    const key = `{waybill.desk}:jobs:${job.id}`;
    expect(await redis.hgetall(key)).toMatchObject({ name: 'job', data: '{}', opts: '{}' });
    consume(async () => 'done');
    while ((await redis.exists(key)) > 0) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(await redis.keys('*job_*')).toEqual([]);
  });

  test('a lease that is gone is told to the run; the job runs again, and its first run keeps no slot', async () => {
    const { url, redis } = await openRedis();
    const { dispatcher, consume } = await openDesk(url);
    const lost = gate();
    const again = gate();
    const last = gate<string>();
    let runs = 0;
    const [job, next] = [newJob(), newJob()];
    consume(
      async (id, lease) => {
        if (id === next.id) last.open(id);
        else if (++runs > 1) again.open();
        else {
          lease.onLost = () => lost.open();
          await redis.del(`{waybill.desk}:jobs:${id}:lock`);
          await lost.opened;
        }
        return 'done';
      },
      { concurrency: 1, leaseMs: 1_000 },
    );
    await dispatcher.push(job, Date.now());
    await again.opened;
    await dispatcher.push(next, Date.now());
    expect(await last.opened).toBe(next.id);
    expect(runs).toBe(2);
  });

  test('a job that vanished from the queue while it ran keeps no slot', async () => {
    const { url, redis } = await openRedis();
    const { dispatcher, consume } = await openDesk(url);
    const next = newJob();
    const [emptied, last] = [gate(), gate<string>()];
    consume(
      async (id) => {
        if (id === next.id) last.open(id);
        else {
          await redis.flushdb();
          emptied.open();
        }
        return 'done';
      },
      { concurrency: 1 },
    );
    await dispatcher.push(newJob(), Date.now());
    await emptied.opened;
    await dispatcher.push(next, Date.now());
    expect(await last.opened).toBe(next.id);
  });
});
