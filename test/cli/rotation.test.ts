import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createClient } from '../../src/client/index.ts';
import type { Credential } from '../../src/transports/index.ts';
import { postgresUrl } from '../support/services/shared.ts';
import { request, unsignedReply, verifiedReply } from '../support/signing.ts';
import { tempFolder } from '../support/temp.ts';
import { openSite, type Process } from './replicas.ts';
import { serve, waybill } from './waybill.ts';

/** Calls that are begun every ten milliseconds: a thousand in a second. */
const CALLS_A_TICK = 10;
const MAX_IN_FLIGHT = 200;

const MODULE = `
  import { existsSync } from 'node:fs'; import { setTimeout } from 'node:timers/promises';
  import { defineTool } from 'waybill'; import { z } from 'zod';
  export default [
    defineTool({
      name: 'wait', description: 'Ends when there is a file.', job: true,
      input: z.object({ file: z.string() }), output: z.object({ done: z.boolean() }),
      run: async ({ file }, { signal }) => {
        while (!existsSync(file)) await setTimeout(20, null, { signal });
        return { done: true };
      },
    }),
    defineTool({
      name: 'echo', description: 'Says it again.', annotations: { readOnlyHint: true },
      input: z.object({ n: z.int() }), output: z.object({ n: z.int() }), run: (args) => args,
    }),
  ];`;

interface Load {
  /** From now on calls come from here too, one for one. */
  add(client: Calling): void;
  /** From now on, from here only. */
  only(client: Calling): void;
  /** Calls that ended well; all that did not, in words. */
  stop(): Promise<{ readonly calls: number; readonly failures: readonly string[] }>;
  calls(): number;
}

type Calling = ReturnType<typeof createClient>;

function startLoad(first: Calling): Load {
  let clients = [first];
  let calls = 0;
  let begun = 0;
  const failures: string[] = [];
  const inFlight = new Set<Promise<void>>();
  const tick = setInterval(() => {
    for (let i = 0; i < CALLS_A_TICK && inFlight.size < MAX_IN_FLIGHT; i++) {
      const n = begun++;
      const client = clients[n % clients.length] ?? first;
      const call: Promise<void> = client
        .call('echo', { n })
        .then((back) => void (back['n'] === n ? calls++ : failures.push(`${n}: ${JSON.stringify(back)}`)))
        .catch((error: unknown) => void failures.push(String(error)))
        .finally(() => inFlight.delete(call));
      inFlight.add(call);
    }
  }, 10);
  return {
    add: (client) => void (clients = [...clients, client]),
    only: (client) => void (clients = [client]),
    calls: () => calls,
    async stop() {
      clearInterval(tick);
      await Promise.all(inFlight);
      return { calls, failures };
    },
  };
}

async function post(url: string, bytes: Buffer): Promise<string> {
  const headers = { 'content-type': 'application/json' };
  return (await fetch(url, { method: 'POST', body: new Uint8Array(bytes), headers })).text();
}

const credentialIn = (cwd: string, name: string): Credential =>
  JSON.parse(readFileSync(join(cwd, name), 'utf8'));

const callOf = (credential: Credential) => request(credential, 'server_identity', {}, { ts_ms: Date.now() });

test('a rotation under load fails no call and loses no job; once finished, the old keys are unknown', {
  timeout: 180_000,
}, async () => {
  const cwd = tempFolder();
  writeFileSync(join(cwd, 'tools.mjs'), MODULE);
  const { url } = await serve(cwd, 'tools.mjs');
  await waybill(['clients', 'add', 'a', '--url', url, '--out', 'a.json'], { cwd });
  const old = credentialIn(cwd, 'a.json');
  const before = createClient(old);
  const job = await before.start('wait', { file: 'go' });
  const load = startLoad(before);
  const more = async (count: number) => {
    const from = load.calls();
    await expect.poll(() => load.calls() - from, { timeout: 60_000 }).toBeGreaterThan(count);
  };
  await more(500);
  const rotated = await waybill(['clients', 'rotate', 'a', '--url', url, '--out', 'new.json'], { cwd });
  expect(rotated).toMatchObject({ code: 0, stderr: '' });
  const after = createClient(credentialIn(cwd, 'new.json'));
  load.add(after);
  await more(1_000);
  const polls = await Promise.all([before, after].map((client) => client.job(job.id).poll()));
  expect(polls.map(({ state }) => state)).toEqual(['running', 'running']);
  load.only(after);
  await more(300);
  await waybill(['clients', 'rotate', 'a', '--finish'], { cwd });
  await more(300);
  const { calls, failures } = await load.stop();
  expect(failures).toEqual([]);
  expect(calls).toBeGreaterThan(2_000);
  await expect.poll(async () => JSON.parse(await post(url, callOf(old))).error).toMatch(/^bad_signature:/);
  unsignedReply(await post(url, callOf(old)));
  writeFileSync(join(cwd, 'go'), '');
  expect(await after.job(job.id).result()).toEqual({ done: true });
});

/** How soon after a command has returned every replica must follow it. */
const KNOWN_WITHIN_MS = 2_000;
/** From one look at a replica to the next. */
const LOOK_MS = 50;

test('a rotation and a revocation are known to every replica within two seconds', {
  tags: ['postgres'],
  timeout: 90_000,
}, async () => {
  const site = await openSite(await postgresUrl(), undefined);
  const replicas = await Promise.all([site.serve('--no-worker'), site.serve('--no-worker')]);
  const run = (...args: string[]) => waybill(['clients', ...args], { cwd: site.cwd, env: site.env });
  /**
   * Resolves when all of them answer as they should; how long that took. Looks are counted, not milliseconds: where
   * the machine has no time for the replicas, it has none for these either.
   */
  async function followed(
    answers: (replica: Process) => Promise<unknown>,
    expected: unknown,
  ): Promise<number> {
    const looks = replicas.map(async (replica) => {
      let count = 0;
      const look = () => {
        count++;
        return answers(replica);
      };
      await expect.poll(look, { interval: LOOK_MS }).toEqual(expected);
      return count;
    });
    return Math.max(...(await Promise.all(looks))) * LOOK_MS;
  }
  const okOf = (credential: Credential) => async (replica: Process) =>
    JSON.parse(await post(replica.url, callOf(credential))).ok;

  const token = (await run('token', 'alice')).stdout.trim();
  const mcpStatus = async (replica: Process) => {
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json', accept: '*/*' };
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'ping' });
    return (await fetch(String(replica.said['mcp_url']), { method: 'POST', headers, body })).status;
  };
  await followed(async (replica) => (await mcpStatus(replica)) === 401, false);

  expect(await run('rotate', 'alice', '--out', 'new.json')).toMatchObject({ code: 0 });
  const fresh = credentialIn(site.cwd, 'new.json');
  expect(await followed(okOf(fresh), true)).toBeLessThan(KNOWN_WITHIN_MS);
  expect(await followed(okOf(site.credential), true)).toBeLessThan(KNOWN_WITHIN_MS);

  expect(await run('revoke', 'alice')).toMatchObject({ code: 0, stderr: '' });
  for (const credential of [site.credential, fresh]) {
    const refused = async (replica: Process) =>
      verifiedReply(await post(replica.url, callOf(credential)), credential).error;
    const revokedMs = await followed(refused, 'forbidden: this client was revoked');
    expect(revokedMs).toBeLessThan(KNOWN_WITHIN_MS);
  }
  expect(await followed(mcpStatus, 401)).toBeLessThan(KNOWN_WITHIN_MS);
});
