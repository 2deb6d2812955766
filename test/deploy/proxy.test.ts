import { spawn, spawnSync } from 'node:child_process';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { openSite, post, type Process, type Site } from '../cli/replicas.ts';
import { watch } from '../cli/waybill.ts';
import { startPostgres } from '../support/services/index.ts';
import { request } from '../support/signing.ts';

const CONFIG = fileURLToPath(new URL('../../deploy/haproxy.cfg', import.meta.url));
/** Debian has it as a package; CI need not. */
const HAPROXY = 'haproxy';
const hasProxy = spawnSync(HAPROXY, ['-v']).status === 0;

async function freeAddress(): Promise<string> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  // It listens on TCP.
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return `127.0.0.1:${port}`;
}

/** The real proxy in front of two servers. @returns its origin */
async function startProxy(a: Process, b: Process): Promise<string> {
  const address = await freeAddress();
  const [SERVER_A, SERVER_B] = [a, b].map(({ url }) => new URL(url).host);
  const env = { ...process.env, LISTEN: address, SERVER_A, SERVER_B };
  watch(spawn(HAPROXY, ['-f', CONFIG], { env }));
  const status = () => statusOf(`http://${address}/livez`).catch(() => 0);
  await expect.poll(status, { timeout: 20_000 }).toBe(200);
  return `http://${address}`;
}

function statusOf(url: string): Promise<number> {
  return fetch(url).then(({ status }) => status);
}

/** A call through the proxy, as the client alice signs it. @returns the verified reply */
function callThrough(site: Site, origin: string, server: Process) {
  const bytes = request(site.credential, 'direct', {}, { ts_ms: Date.now() });
  return post(site, { ...server, url: `${origin}/call` }, bytes);
}

test.skipIf(!hasProxy)(
  'the proxy of deploy/ takes turns, goes round a server that is gone, and passes on that all are busy',
  { tags: ['own-postgres'], timeout: 120_000 },
  async () => {
    const postgres = await startPostgres();
    onTestFinished(() => postgres.stop());
    const site = await openSite(postgres.url, undefined);
    const [a, b] = await Promise.all([site.serve('--no-worker'), site.serve('--no-worker')]);
    const origin = await startProxy(a, b);
    const call = () => callThrough(site, origin, a);

    const seen = new Set<unknown>();
    await expect.poll(async () => seen.add((await call()).result?.['pid']).size, { timeout: 20_000 }).toBe(2);
    expect(seen).toEqual(new Set([a.pid, b.pid]));
    // On a busy machine a look of the proxy at its servers may come too late once.
    await expect.poll(() => statusOf(`${origin}/readyz`), { timeout: 20_000 }).toBe(200);
    expect(await statusOf(`${origin}/other`)).toBe(404);

    a.child.kill('SIGKILL');
    await a.ended;
    for (let i = 0; i < 4; i++) expect((await call()).result).toEqual({ pid: b.pid });

    await postgres.kill();
    await expect.poll(() => statusOf(`${origin}/readyz`), { timeout: 20_000 }).toBe(503);
    for (let i = 0; i < 4; i++) expect((await call()).error).toMatch(/^busy:/);

    await postgres.restart();
    await expect.poll(() => statusOf(`${origin}/readyz`), { timeout: 20_000 }).toBe(200);
    await expect.poll(async () => (await call()).result, { timeout: 20_000 }).toEqual({ pid: b.pid });
  },
);
