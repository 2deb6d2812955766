import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { openSite, post, type Process, type Site } from '../cli/replicas.ts';
import { watch, waybill } from '../cli/waybill.ts';
import { bodyOf, headersOf, openAt } from '../mcp/face.ts';
import { startPostgres } from '../support/services/index.ts';
import { reservePlace } from '../support/services/keeper.ts';
import { postgresUrl } from '../support/services/shared.ts';
import { request } from '../support/signing.ts';

const CONFIG = fileURLToPath(new URL('../../deploy/haproxy.cfg', import.meta.url));
/** Debian has it as a package; CI need not. */
const HAPROXY = 'haproxy';
const hasProxy = spawnSync(HAPROXY, ['-v']).status === 0;

/** Nobody else is given it while the test runs. */
async function freeAddress(): Promise<string> {
  const { port, folder } = await reservePlace();
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
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
    // A look of the proxy at the one that lives may come too late just now: it has no server for a moment.
    const around = [];
    for (let i = 0; i < 8; i++)
      around.push(
        await call().then(
          ({ result }) => result?.['pid'],
          () => 'none',
        ),
      );
    expect(around.filter((pid) => pid === b.pid).length).toBeGreaterThanOrEqual(6);

    await postgres.kill();
    await expect.poll(() => statusOf(`${origin}/readyz`), { timeout: 20_000 }).toBe(503);
    for (let i = 0; i < 4; i++) expect((await call()).error).toMatch(/^busy:/);

    await postgres.restart();
    await expect.poll(() => statusOf(`${origin}/readyz`), { timeout: 20_000 }).toBe(200);
    await expect.poll(async () => (await call()).result, { timeout: 20_000 }).toEqual({ pid: b.pid });
  },
);

/** Never ends by itself, and leaves a line when it begins and when it is stopped. */
const HELD = `
  import { appendFileSync } from 'node:fs'; import { setTimeout } from 'node:timers/promises';
  import { defineTool } from 'waybill'; import { z } from 'zod';
  export default defineTool({
    name: 'held', description: 'Never ends.',
    input: z.object({ file: z.string() }), output: z.object({}),
    run: async ({ file }, { signal, progress }) => {
      appendFileSync(file, process.pid + '\\n');
      progress({ completed: 1 });
      await setTimeout(1e6, null, { signal }).catch(() => appendFileSync(file, 'stopped\\n'));
      return {};
    },
  });`;

/** Lines of a file of a site, as they come. */
function linesOf({ cwd }: Site, file: string) {
  const path = join(cwd, file);
  const read = () => (existsSync(path) ? readFileSync(path, 'utf8').split('\n').slice(0, -1) : []);
  return { read, expected: () => expect.poll(read, { timeout: 20_000 }) };
}

test.skipIf(!hasProxy)(
  'the proxy of deploy/ passes /mcp on: once, event by event, and that a client has gone',
  { tags: ['postgres'], timeout: 120_000 },
  async () => {
    const site = await openSite(await postgresUrl(), undefined, HELD);
    const { cwd, env } = site;
    const given = await waybill(['clients', 'token', 'alice', '--json'], { cwd, env });
    const { token } = JSON.parse(given.stdout);
    const serve = () => site.serve('--no-worker', '--mcp-host', 'tools.example');
    const servers = await Promise.all([serve(), serve()]);
    const origin = await startProxy(...servers);
    const port = Number(new URL(origin).port);

    const hosts = ['tools.example', 'tools.example:8443', 'else.example', new URL(origin).host];
    const statuses = hosts.map((host) => openAt(port, 'tools/list', {}, { token, headers: { host } }));
    expect((await Promise.all(statuses)).map(({ status }) => status)).toEqual([200, 200, 403, 200]);

    const call = (file: string) => ({ name: 'held', arguments: { file } });
    const told = linesOf(site, 'events');
    const stream = await openAt(port, 'tools/call', call('events'), { token, progressToken: 'p' });
    expect((await stream.next()).params).toMatchObject({ progress: 1 });
    stream.leave();
    await told.expected().toEqual([expect.any(String), 'stopped']);

    const hold = (file: string, signal: AbortSignal) =>
      fetch(`${origin}/mcp`, {
        method: 'POST',
        // Of one value each.
        headers: headersOf('tools/call', call(file), { token }) as Record<string, string>,
        body: bodyOf('tools/call', call(file)),
        signal,
      }).then(
        ({ status }) => status,
        () => 'left',
      );
    const silent = linesOf(site, 'silent');
    const controller = new AbortController();
    const left = hold('silent', controller.signal);
    await silent.expected().toHaveLength(1);
    controller.abort();
    expect(await left).toBe('left');
    await silent.expected().toEqual([expect.any(String), 'stopped']);

    const once = linesOf(site, 'once');
    const cut = hold('once', new AbortController().signal);
    await once.expected().toHaveLength(1);
    servers.find(({ pid }) => String(pid) === once.read()[0])?.child.kill('SIGKILL');
    expect(await cut).toBe(502);
    expect(once.read()).toHaveLength(1);
  },
);
