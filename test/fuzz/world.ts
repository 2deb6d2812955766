import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { mcpRoute } from '../../src/mcp/index.ts';
import { defineTool, type Tool } from '../../src/tools/index.ts';
import { createServer, type Credential, type Server } from '../../src/transports/index.ts';
import type { Route } from '../../src/transports/route.ts';
import { createTestClock, type TestClock } from '../support/clock.ts';
import type { Filling } from './template.ts';

/** A server on a real file with two clients, and what has been seen of it. */
export interface World {
  readonly server: Server;
  readonly route: Route;
  readonly clock: TestClock;
  readonly credentials: ReadonlyMap<string, Credential>;
  readonly filling: () => Filling;
  /** Texts that no reply may hold. */
  readonly secrets: readonly string[];
  /** What its log complained of since the last time; results that no message can hold are left out. */
  complaints(): string[];
  close(): Promise<void>;
}

const anything = z.record(z.string(), z.unknown());

/** One of each kind; what they take is wide, so that much of what is sent reaches them. */
const TOOLS: readonly Tool[] = [
  defineTool({
    name: 'echo',
    description: 'Says it again.',
    annotations: { readOnlyHint: true },
    input: anything,
    output: anything,
    run: (args) => args,
  }),
  defineTool({
    name: 'write',
    description: 'Is not run twice.',
    input: anything,
    output: z.object({ members: z.int() }),
    run: (args) => ({ members: Object.keys(args).length }),
  }),
  defineTool({
    name: 'strict',
    description: 'Takes little.',
    annotations: { idempotentHint: true },
    input: z.strictObject({
      text: z.string().max(20).optional(),
      n: z.int().min(-5).max(5).optional(),
      list: z.array(z.enum(['a', 'b'])).optional(),
      more: z.union([z.strictObject({ kind: z.literal('x') }), z.null()]).optional(),
    }),
    output: z.object({}),
    run: () => ({}),
  }),
  defineTool({
    name: 'job',
    description: 'Is a job.',
    job: { attempts: 1, retentionMs: 600_000 },
    input: anything,
    output: anything,
    run: (args, { progress }) => {
      progress({ completed: 1 });
      return args;
    },
  }),
];

/** What a tool gives back may be more than a reply can hold, such as numbers that are written longer: told as it is. */
const EXPECTED = /^the result (makes a message of|makes an answer of|has) \d+/;

export async function openWorld(): Promise<World> {
  const dir = mkdtempSync(join(tmpdir(), 'waybill-fuzz-'));
  const clock = createTestClock();
  let complaints: string[] = [];
  const complain = (fields: object, message: string) => {
    const error: unknown = 'err' in fields ? fields.err : undefined;
    if (error instanceof Error && EXPECTED.test(error.message)) return;
    complaints.push(`${message}: ${error instanceof Error ? error.stack : JSON.stringify(fields)}`);
  };
  const log = { debug() {}, info() {}, warn: complain, error: complain };
  const server = await createServer({
    tools: TOOLS,
    store: `sqlite:${dir}`,
    serverId: 'srv-1',
    log,
    now: clock.now,
    drainMs: 1_000,
    maxOpenJobs: 500,
  });
  const added = [];
  for (const id of ['agent-a', 'agent-b'])
    added.push(await server.addClient({ id, url: 'http://localhost/' }));
  const token = await server.addToken('agent-a');
  const route = mcpRoute(server, { waitMs: 50 });
  const credentials = new Map(added.map((credential) => [credential.client_id, credential]));
  return {
    server,
    route,
    clock,
    credentials,
    filling: () => ({ nowMs: clock.nowMs, credentials, token }),
    secrets: [token, ...added.flatMap(({ request_key, response_key }) => [request_key, response_key])],
    complaints() {
      const told = complaints;
      complaints = [];
      return told;
    },
    async close() {
      route.close?.();
      await server.close();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
