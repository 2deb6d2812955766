import { describe, expect, onTestFinished, test } from 'vitest';
import { type Service, startPostgres, startRedis } from '../support/services/index.ts';
import { postgresUrl } from '../support/services/shared.ts';
import { request } from '../support/signing.ts';
import { assertDrains, assertNoSecret, openSite, post, type Process, type Site } from './replicas.ts';

const TIMEOUT_MS = 120_000;

async function own(start: () => Promise<Service>): Promise<Service> {
  const service = await start();
  onTestFinished(() => service.stop());
  return service;
}

async function assertReady(server: Process, status: number): Promise<void> {
  await expect.poll(() => server.ready(), { timeout: 30_000 }).toBe(status);
}

/** Freezes the service, then kills it; afterwards it is back, and jobs run. */
async function assertRidesOut(site: Site, service: Service): Promise<void> {
  const [server, worker] = await Promise.all([site.serve('--no-worker'), site.work()]);
  await assertReady(server, 200);

  await service.kill('SIGSTOP');
  expect(await server.ready()).toBe(503);
  await service.kill('SIGCONT');
  await assertReady(server, 200);

  await service.kill();
  await assertReady(server, 503);
  const bytes = request(site.credential, 'where', { file: 'go' }, { ts_ms: Date.now() });
  expect(await post(site, server, bytes)).toMatchObject({
    ok: false,
    error: expect.stringMatching(/^busy:/),
  });

  await service.restart();
  await assertReady(server, 200);
  expect(await site.client(server).call('where', { file: 'go' })).toEqual({ pid: worker.pid });

  await service.kill();
  await Promise.all([server, worker].map(assertDrains));
  for (const process of [server, worker]) assertNoSecret(process, site);
}

describe('a server and a worker', { timeout: TIMEOUT_MS }, () => {
  test('say that they are not ready while the database is gone, go on when it is back, and end without it', {
    tags: ['own-postgres'],
  }, async () => {
    const postgres = await own(startPostgres);
    await assertRidesOut(await openSite(postgres.url, undefined), postgres);
  });

  test('do the same when Redis is gone', { tags: ['postgres', 'own-redis'] }, async () => {
    const redis = await own(startRedis);
    await assertRidesOut(await openSite(await postgresUrl(), redis.url), redis);
  });
});
