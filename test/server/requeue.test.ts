import { Redis } from 'ioredis';
import { expect, onTestFinished, test } from 'vitest';
import { jobIdOf, jobTool, startServer } from '../support/server.ts';
import { postgresUrl, redisUrl } from '../support/services/shared.ts';

test('a retry of a job that the queue has lost brings it back before it is told accepted (§5)', {
  tags: ['postgres', 'redis'],
}, async () => {
  const queue = await redisUrl();
  const redis = new Redis(queue);
  onTestFinished(() => redis.disconnect());
  const { call } = await startServer({
    tools: [jobTool('work', () => ({}))],
    store: await postgresUrl(),
    queue,
    worker: false,
    now: Date.now,
  });
  const members = { request_id: 'request-1', ts_ms: Date.now() };
  const first = await call('work', { n: 1 }, members);
  const key = `{waybill.srv-1}:jobs:${jobIdOf(first.result)}`;
  expect(await redis.exists(key)).toBe(1);
  await redis.del(...(await redis.keys('{waybill.srv-1}:*')));
  const again = await call('work', { n: 1 }, members);
  expect(again).toMatchObject({ ok: true, status: 'accepted', result: first.result });
  expect(await redis.exists(key)).toBe(1);
});
