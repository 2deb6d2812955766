import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { z } from 'zod';
import {
  type Client,
  createClient,
  type Credential,
  type JobUpdate,
  type Transport,
} from '../../src/client/index.ts';
import { defineTool } from '../../src/tools/index.ts';
import { createServer, inProcess, type Listener, listen, type Server } from '../../src/transports/index.ts';
import { generateSecret } from '../../src/wire/secret.ts';
import { rejection } from './peer.ts';

const DAY_MS = 86_400_000;

setFlagsFromString('--expose-gc');
// The name that the flag defines in every context made after it.
const collectGarbage = runInNewContext('gc') as () => void;

/** Lets a test say when a running job goes on. */
const gates = new Map<string, () => void>();
let runs = 0;

const tools = [
  defineTool({
    name: 'batch_sum',
    description: 'Adds numbers.',
    input: z.strictObject({ numbers: z.array(z.number()).min(1) }),
    output: z.strictObject({ count: z.int(), total: z.number() }),
    run: ({ numbers }) => {
      runs++;
      return { count: numbers.length, total: numbers.reduce((sum, n) => sum + n, 0) };
    },
  }),
  defineTool({
    name: 'gated',
    description: 'A job that reports progress, then waits until the test lets it end.',
    input: z.strictObject({ gate: z.string() }),
    output: z.strictObject({ gate: z.string() }),
    job: true,
    async run({ gate }, { progress, signal }) {
      progress({ completed: 1, total: 2, message: 'half' });
      await new Promise<void>((resolve, reject) => {
        gates.set(gate, resolve);
        signal.addEventListener('abort', () => reject(new Error('aborted')));
      });
      return { gate };
    },
  }),
];

let dir: string;
let server: Server;
let listener: Listener;
let credential: Credential;
let client: Client;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'waybill-client-'));
  server = await createServer({ tools, store: `sqlite:${dir}`, serverId: 'srv-1' });
  listener = await listen(server);
  credential = { ...(await server.addClient({ id: 'agent-a', url: listener.url })) };
  client = createClient(credential);
});

afterAll(async () => {
  await listener.close();
  await server.close();
  await rm(dir, { recursive: true, force: true });
});

describe('over HTTP', () => {
  it('a direct tool is called', async () => {
    expect(await client.call('batch_sum', { numbers: [1, 2.5, 1e21] })).toEqual({
      count: 3,
      total: 1e21 + 3.5,
    });
  });

  it('the server tells who it is and what it can do', async () => {
    expect(await client.identity()).toMatchObject({
      server_id: 'srv-1',
      capabilities: { versions: ['mcp/0.1'] },
    });
    const found = await client.tools();
    expect(found.map(({ name, job }) => [name, job])).toContainEqual(['gated', true]);
    expect(found.find(({ name }) => name === 'batch_sum')).toMatchObject({
      job: false,
      input_schema: { type: 'object', required: ['numbers'] },
      output_schema: { type: 'object' },
    });
  });

  it('a refusal arrives with its code and issues', async () => {
    const error = await rejection(client.call('batch_sum', { numbers: [] }));
    expect(error).toMatchObject({ code: 'invalid_args', result: { issues: [{ path: 'numbers' }] } });
    expect(await rejection(client.call('no_such_tool'))).toMatchObject({ code: 'unknown_tool' });
  });

  it('the same request_id runs nothing twice and gives the same outcome; other args are a conflict', async () => {
    const before = runs;
    const args = { numbers: [4, 5] };
    const first = await client.call('batch_sum', args, { requestId: 'order-17' });
    expect(await client.call('batch_sum', args, { requestId: 'order-17' })).toEqual(first);
    expect(runs).toBe(before + 1);
    const other = client.call('batch_sum', { numbers: [6] }, { requestId: 'order-17' });
    expect(await rejection(other)).toMatchObject({ code: 'request_id_conflict' });
  });

  it('a job is started, watched, and found again by another client of the same credential', async () => {
    const job = await client.start('gated', { gate: 'a' });
    const updates: JobUpdate[] = [];
    for await (const update of job.updates()) {
      updates.push(update);
      if (update.progress !== null) gates.get('a')?.();
    }
    expect(updates.at(-1)).toEqual({
      state: 'succeeded',
      progress: null,
      result: { gate: 'a' },
      error: null,
      questions: {},
    });
    expect(updates.map(({ progress }) => progress)).toContainEqual({
      completed: 1,
      total: 2,
      message: 'half',
    });

    const elsewhere = createClient(credential);
    expect(await elsewhere.job(job.id).result()).toEqual({ gate: 'a' });
    const listed = [];
    for await (const info of elsewhere.jobs({ status: 'succeeded' })) listed.push(info);
    expect(listed).toContainEqual(
      expect.objectContaining({ job_id: job.id, tool: 'gated', status: 'succeeded' }),
    );
  });

  it('call waits for a job and reports its progress', async () => {
    const onProgress = () => gates.get('b')?.();
    expect(await client.call('gated', { gate: 'b' }, { onProgress })).toEqual({ gate: 'b' });
  });

  it('a job started twice under one request_id is one job', async () => {
    const [one, two] = await Promise.all(
      [1, 2].map(() => client.start('gated', { gate: 'c' }, { requestId: 'order-18' })),
    );
    expect(one?.id).toBe(two?.id);
    await one?.cancel();
  });

  it('a job is cancelled', async () => {
    const job = await client.start('gated', { gate: 'd' });
    await job.cancel();
    expect(await rejection(job.result())).toMatchObject({ code: 'cancelled' });
    expect(await job.poll()).toMatchObject({ state: 'cancelled', error: { code: 'cancelled' } });
  });

  it('a wait is aborted while the server holds the poll', async () => {
    const controller = new AbortController();
    const reason = new Error('the user left');
    const job = await client.start('gated', { gate: 'e' });
    const result = rejection(
      job.result({ signal: controller.signal, onProgress: () => controller.abort(reason) }),
    );
    expect(await result).toBe(reason);
    await job.cancel();
  });

  it('a held poll ends although garbage is collected meanwhile', async () => {
    let replies = 0;
    const transport: Transport = async (bytes, options) => {
      const bytesBack = await inProcess(server)(bytes, options);
      replies++;
      return bytesBack;
    };
    const controller = new AbortController();
    const job = await createClient(credential, { transport }).start('gated', { gate: 'g' });
    const result = rejection(job.result({ signal: controller.signal, timeoutMs: 4_000 }));
    await vi.waitUntil(
      () => {
        collectGarbage();
        return replies >= 3;
      },
      { timeout: 20_000 },
    );
    controller.abort(new Error('seen'));
    expect(await result).toMatchObject({ message: 'seen' });
    await job.cancel();
  });

  it('the job of another client is not found', async () => {
    const job = await client.start('gated', { gate: 'f' });
    const other = createClient({ ...(await server.addClient({ id: 'agent-b', url: listener.url })) });
    expect(await rejection(other.job(job.id).poll())).toMatchObject({ code: 'not_found' });
    await job.cancel();
  });

  it.each([-DAY_MS, DAY_MS])('a clock that is %d ms off is corrected', async (skewMs) => {
    const clock = { now: () => Date.now() + skewMs, sleep: async () => {} };
    const skewed = createClient(credential, { clock });
    expect(await skewed.call('batch_sum', { numbers: [1] })).toEqual({ count: 1, total: 1 });
    const named = createClient(credential, { clock });
    expect(await named.call('batch_sum', { numbers: [1] }, { requestId: `day${skewMs}` })).toEqual({
      count: 1,
      total: 1,
    });
  });

  it.each(['request_key', 'response_key'])('a wrong %s ends in reply_unverified', async (name) => {
    const clock = { now: Date.now, sleep: async () => {} };
    const stranger = createClient({ ...credential, [name]: generateSecret() }, { clock });
    const error = await rejection(stranger.call('batch_sum', { numbers: [1] }));
    expect(error).toMatchObject({ name: 'ClientError', kind: 'reply_unverified' });
  });

  it('a client of another server_id is refused', async () => {
    const clock = { now: Date.now, sleep: async () => {} };
    const lost = createClient({ ...credential, server_id: 'srv-2' }, { clock });
    expect(await rejection(lost.call('batch_sum', { numbers: [1] }))).toMatchObject({
      kind: 'reply_unverified',
      message: 'the reply comes from server srv-1 instead of srv-2',
    });
  });

  it('200 calls at once are all answered', async () => {
    const calls = Array.from({ length: 200 }, (_, i) => client.call('batch_sum', { numbers: [i, 1] }));
    expect((await Promise.all(calls)).map(({ total }) => total)).toEqual(calls.map((_, i) => i + 1));
  });
});
