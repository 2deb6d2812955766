import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { JobHandle } from '../../src/client/index.ts';
import { postgresUrl, redisUrl } from '../support/services/shared.ts';
import { request } from '../support/signing.ts';
import { assertDrains, assertNoSecret, assertStops, openSite, post, type Site } from './replicas.ts';
import { assertWrongUse, waybill } from './waybill.ts';

/** A command takes half a second, and longer where others work too. */
const TIMEOUT_MS = 90_000;

async function assertComesTo(job: JobHandle, state: string): Promise<void> {
  await expect.poll(async () => (await job.poll()).state, { timeout: 20_000 }).toBe(state);
}

/** What every engine does. */
function describeReplicas(open: () => Promise<Site>): void {
  test('a job started on one server is run by a worker and polled on the other', async () => {
    const site = await open();
    const [a, b, worker] = await Promise.all([
      site.serve('--no-worker'),
      site.serve('--no-worker'),
      site.work('--concurrency', '3'),
    ]);
    expect(worker.said).toEqual({
      server_id: 'waybill',
      store: a.said['store'],
      queue: a.said['queue'],
      tools: ['where', 'direct'],
      concurrency: 3,
    });
    const { id } = await site.client(a).start('where', { file: 'go' });
    expect(await site.client(b).job(id).result()).toEqual({ pid: worker.pid });
    await expect.poll(() => Promise.all([a.ready(), b.ready()])).toEqual([200, 200]);

    const { credential } = site;
    const bytes = request(credential, 'direct', {}, { ts_ms: Date.now() });
    expect(await post(site, a, bytes)).toMatchObject({ ok: true });
    expect((await post(site, b, bytes)).error).toMatch(/^replayed:/);
    const retry = request(credential, 'direct', {}, { ts_ms: Date.now(), request_id: idOf(bytes) });
    expect((await post(site, b, retry)).result).toEqual({ pid: a.pid });

    const ended = await Promise.all([a, b, worker].map(assertDrains));
    expect(ended.flat()).toContain('every job has ended or is back in the queue');
    for (const process of [a, b, worker]) assertNoSecret(process, site);
  });

  test('SIGTERM to a worker lets its job end, or hands it to another worker', async () => {
    const site = await open();
    const [server, first] = await Promise.all([site.serve('--no-worker'), site.work()]);
    const client = site.client(server);
    const ends = await client.start('where', { file: 'end' });
    const stays = await client.start('where', { file: 'never' });
    for (const job of [ends, stays]) await assertComesTo(job, 'running');
    first.child.kill('SIGTERM');
    await first.until('stderr', /"message":"draining/);
    writeFileSync(join(site.cwd, 'end'), '');
    expect(await assertStops(first)).toContain('job goes back to the queue');
    expect(await ends.result()).toEqual({ pid: first.pid });
    expect((await stays.poll()).state).toBe('queued');
    await site.work();
    await assertComesTo(stays, 'running');
    expect(await stays.cancel()).toBe('cancelled');
  });
}

function idOf(bytes: Buffer): string {
  return JSON.parse(String(bytes)).request_id;
}

describe('servers and workers on PostgreSQL', { tags: ['postgres'], timeout: TIMEOUT_MS }, () => {
  describeReplicas(async () => openSite(await postgresUrl(), undefined));

  test('say in one line where records and jobs are, without the password', async () => {
    const url = await postgresUrl();
    const site = await openSite(url, undefined);
    const { host, pathname } = new URL(url);
    const server = await site.serve();
    const where = `postgres://${host}${pathname}`;
    expect(server.said).toEqual({
      url: server.url,
      mcp_url: new URL('/mcp', server.url).href,
      server_id: 'waybill',
      store: where,
      queue: where,
      tools: ['where', 'direct'],
    });
    const list = await waybill(['clients', 'list', '--store-file', 'store.url'], { cwd: site.cwd });
    expect(list).toMatchObject({ code: 0, stderr: '', stdout: expect.stringMatching(/^alice /) });
    assertNoSecret(server, site);
  });

  test('of another server id are refused', async () => {
    const { cwd } = await openSite(await postgresUrl(), undefined);
    const env = { WAYBILL_STORE_FILE: 'store.url', WAYBILL_SERVER_ID: 'other' };
    for (const line of ['serve --port 0', 'worker', 'clients add bob'])
      assertWrongUse(
        await waybill(line.split(' '), { cwd, env }),
        /belongs to server "waybill", not "other"/,
      );
  });
});

describe('servers and workers on PostgreSQL and Redis', {
  tags: ['postgres', 'redis'],
  timeout: TIMEOUT_MS,
}, () => {
  describeReplicas(async () => openSite(await postgresUrl(), await redisUrl()));
});
