import { randomUUID } from 'node:crypto';
import { onTestFinished } from 'vitest';
import { z } from 'zod';
import { defineTool, type Tool, type ToolContext } from '../../src/tools/index.ts';
import {
  createServer,
  type Credential,
  type Reply,
  type Server,
  type ServerOptions,
} from '../../src/transports/index.ts';
import { generateSecret, type JsonObject, type ResponseMessage } from '../../src/wire/index.ts';
import { createTestClock, type TestClock } from './clock.ts';
import { createTestLog, type TestLog } from './log.ts';
import { type Members, request, verifiedReply } from './signing.ts';
import { storeFolder } from './temp.ts';

export interface TestServer {
  readonly server: Server;
  readonly dir: string;
  readonly clock: TestClock;
  readonly log: TestLog;
  readonly credential: Credential;
  /** A request that is signed right and in time. */
  request(tool: string, args?: JsonObject, members?: Members): Buffer;
  /** Sends one; its reply, verified. */
  call(tool: string, args?: JsonObject, members?: Members): Promise<ResponseMessage>;
  send(bytes: Uint8Array): Promise<Reply>;
  addClient(id: string): Promise<Credential>;
  /** The same server for another client. */
  as(credential: Credential): TestServer;
  close(): Promise<void>;
}

export interface TestServerOptions extends Partial<ServerOptions> {
  readonly dir?: string;
  readonly clock?: TestClock;
  /** Of a client that is known in the folder. */
  readonly credential?: Credential;
}

const MASTER_KEY = generateSecret();

/** A server on a real file, closed when the test ends, and a client of it. */
export async function startServer(options: TestServerOptions = {}): Promise<TestServer> {
  const { dir = storeFolder(), clock = createTestClock(), credential, ...rest } = options;
  const log = createTestLog();
  const server = await createServer({
    tools: [],
    store: `sqlite:${dir}`,
    serverId: 'srv-1',
    log,
    now: clock.now,
    drainMs: 0,
    // A database has no folder of its own for the file.
    ...(rest.store !== undefined && { masterKey: MASTER_KEY }),
    ...rest,
  });
  onTestFinished(() => server.close());
  const addClient = (id: string) => server.addClient({ id, url: 'http://127.0.0.1:9/call' });
  return clientOf({ server, dir, clock, log, addClient }, credential ?? (await addClient('agent-a')));
}

type Shared = Pick<TestServer, 'server' | 'dir' | 'clock' | 'log' | 'addClient'>;

function clientOf(shared: Shared, credential: Credential): TestServer {
  const { server, clock } = shared;
  const signed = (tool: string, args: JsonObject = {}, members: Members = {}) =>
    request(credential, tool, args, { ts_ms: clock.nowMs, ...members });
  return {
    ...shared,
    credential,
    request: signed,
    send: (bytes) => server.handle(bytes),
    async call(tool, args, members) {
      const requestId = members?.request_id ?? randomUUID();
      const { body } = await server.handle(signed(tool, args, { ...members, request_id: requestId }));
      const reply = verifiedReply(body, credential);
      if (reply.request_id !== requestId) throw new Error(`answers another request: ${body}`);
      return reply;
    },
    as: (other) => clientOf(shared, other),
    close: () => server.close(),
  };
}

/** The job that an accepted call started. */
export function jobIdOf(result: JsonObject | null): string {
  const id = result?.['job_id'];
  if (typeof id !== 'string') throw new Error('started no job');
  return id;
}

/** The code at the start of the reply's error. */
export function codeOf({ error }: Pick<ResponseMessage, 'error'>): string | undefined {
  return error?.split(':', 1)[0];
}

type Run = (args: JsonObject, context: ToolContext) => object | Promise<object>;

/** A tool that takes and gives any object. */
export function anyTool(
  name: string,
  run: Run,
  more: Pick<Tool, 'annotations'> | { job: true } | object = {},
): Tool {
  return defineTool({
    name,
    description: 'For tests.',
    input: z.record(z.string(), z.unknown()),
    output: z.record(z.string(), z.unknown()),
    // The schema has let an object pass, which JSON was parsed to.
    run: async (args, context) => ({ ...(await run(args as JsonObject, context)) }),
    ...more,
  });
}

/** Runs again at every retry. */
export const readTool = (name: string, run: Run): Tool =>
  anyTool(name, run, { annotations: { readOnlyHint: true } });
export const jobTool = (name: string, run: Run): Tool => anyTool(name, run, { job: { attempts: 1 } });
