import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type RequestListener,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, onTestFinished } from 'vitest';
import { z } from 'zod';
import exampleTools from '../../src/cli/serve/example-tools.ts';
import { ToolError } from '../../src/errors/index.ts';
import { defineTool } from '../../src/tools/index.ts';
import {
  createServer,
  type Credential,
  listen,
  type Listener,
  type Server,
} from '../../src/transports/index.ts';
import { createTestLog } from '../support/log.ts';
import { anyTool, jobTool, readTool } from '../support/server.ts';
import { macOf } from '../support/signing.ts';
import { tempFolder } from '../support/temp.ts';
import { type Outcome, type Python, startPython } from './python.ts';

const QUESTION = {
  message: 'Who is it?',
  schema: { type: 'object', properties: { name: { type: 'string' } }, required: ['name'] },
};

const asks = defineTool({
  name: 'asks',
  description: 'Asks for a name.',
  input: z.strictObject({}),
  output: z.strictObject({ name: z.string() }),
  job: true,
  async run(_args, { ask }) {
    const { who } = await ask({ who: QUESTION });
    const name = who?.content?.['name'];
    return { name: typeof name === 'string' ? name : 'nobody' };
  },
});

/** What happens to a reply on its way; null: the connection is cut. */
export type Meddle = (reply: Buffer, nth: number) => Buffer | null;

/** A real server on a real port and one Python process, for all tests of a file. */
export interface World {
  readonly python: Python;
  readonly listener: Listener;
  readonly credential: Credential;
  /** How often `run_once` has run. */
  runs(): number;
  /** The file of a credential, as `waybill clients add` writes it. */
  fileOf(value?: unknown, mode?: number): string;
  /** Makes a client in Python; its name. */
  connect(options?: Readonly<Record<string, unknown>>): Promise<string>;
  /** What an operation gives. @throws for an exception in Python */
  valueOf(op: string, args: Readonly<Record<string, unknown>>): Promise<unknown>;
  /** An HTTP server of the test's own; its address. */
  listening(handle: RequestListener): Promise<string>;
  /** A client with somebody between it and the server, and the requests that were seen there. */
  between(meddle: Meddle): Promise<{ readonly client: string; readonly seen: Buffer[] }>;
  /** A reply with other members, signed right. */
  resigned(reply: Buffer, members: object, key?: string): Buffer;
}

/** Starts it before the first test; its members can be used within tests. */
export function useWorld(): World {
  let python: Python;
  let server: Server;
  let listener: Listener;
  let credential: Credential;
  let dir: string;
  let named = 0;
  let runs = 0;
  const tools = [
    ...exampleTools,
    asks,
    readTool('echo', (args) => args),
    anyTool('run_once', () => ({ run: ++runs })),
    jobTool('fails', () => {
      throw new ToolError('the paper has run out: Zoë');
    }),
  ];

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'waybill-python-'));
    python = startPython();
    server = await createServer({ tools, store: `sqlite:${dir}`, serverId: 'acme', log: createTestLog() });
    listener = await listen(server, { port: 0 });
    credential = await server.addClient({ id: 'python-agent', url: listener.url });
  });
  afterAll(async () => {
    const complaints = await python.end();
    await listener.close();
    await server.close();
    rmSync(dir, { recursive: true, force: true });
    expect(complaints).toBe('');
  });

  async function valueOf(op: string, args: Readonly<Record<string, unknown>>): Promise<unknown> {
    const { value, error }: Outcome = await python.run(op, args);
    if (error !== undefined) throw new Error(`${op}: ${error.text}`);
    return value;
  }

  /** The file of a credential, as `waybill clients add` writes it. */
  function fileOf(value: unknown = credential, mode = 0o600): string {
    const file = join(tempFolder(), 'alice.json');
    writeFileSync(file, typeof value === 'string' ? value : JSON.stringify(value), { mode });
    return file;
  }

  async function connect(options: Readonly<Record<string, unknown>> = {}): Promise<string> {
    const name = `client ${++named}`;
    await valueOf('new', { name, file: fileOf(), ...options });
    return name;
  }

  async function listening(handle: RequestListener): Promise<string> {
    const http = createHttpServer(handle);
    await new Promise<void>((resolve) => {
      http.listen(0, '127.0.0.1', resolve);
    });
    onTestFinished(() => {
      http.closeAllConnections();
      http.close();
    });
    // It listens on a port.
    return `http://127.0.0.1:${(http.address() as AddressInfo).port}/call`;
  }

  /** Stands between client and server. */
  async function between(meddle: Meddle): Promise<{ readonly client: string; readonly seen: Buffer[] }> {
    const seen: Buffer[] = [];
    async function relay(request: IncomingMessage, response: ServerResponse): Promise<void> {
      const body = await buffer(request);
      seen.push(body);
      const reply = await server.handle(body);
      const changed = meddle(Buffer.from(reply.body), seen.length);
      if (changed === null) request.socket.destroy();
      else response.writeHead(reply.httpStatus, { 'content-type': 'application/json' }).end(changed);
    }
    const url = await listening((request, response) => void relay(request, response));
    return { client: await connect({ url }), seen };
  }

  /** A reply of the server to another request, or with other members, signed right. */
  function resigned(reply: Buffer, members: object, key = credential.response_key): Buffer {
    const { signature: _old, ...message } = { ...JSON.parse(String(reply)), ...members };
    return Buffer.from(JSON.stringify({ ...message, signature: macOf(message, key) }));
  }

  return {
    get python() {
      return python;
    },
    get listener() {
      return listener;
    },
    get credential() {
      return credential;
    },
    runs: () => runs,
    fileOf,
    connect,
    valueOf,
    listening,
    between,
    resigned,
  };
}
