import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import { type Client, createClient } from '../../../src/client/index.ts';
import { ClientError, ProtocolError } from '../../../src/errors/index.ts';
import { type Wrapped, type WrapOptions, wrapServer } from '../../../src/mcp/wrap/wrap.ts';
import type { Target } from '../../../src/mcp/wrap/target.ts';
import { createServer, inProcess, type ServerOptions } from '../../../src/transports/index.ts';
import { isObject, type JsonObject } from '../../../src/wire/index.ts';
import { createTestLog, type TestLog } from '../../support/log.ts';
import { tempFolder } from '../../support/temp.ts';

export const EVERYTHING = pathOf('server-everything');
export const FILESYSTEM = pathOf('server-filesystem');
const HOSTILE = fileURLToPath(new URL('hostile.mjs', import.meta.url));

function pathOf(name: string): string {
  return fileURLToPath(
    new URL(`../../../node_modules/@modelcontextprotocol/${name}/dist/index.js`, import.meta.url),
  );
}

export function nodeTarget(...args: string[]): Target {
  return { kind: 'command', command: process.execPath, args, env: {} };
}

export const hostile = (...args: string[]): Target => nodeTarget(HOSTILE, ...args);

export interface Wrapping extends Wrapped {
  readonly log: TestLog;
  /** Speaks to a real server of these tools, over the signed wire. */
  readonly client: Client;
}

/** A wrapped server, served to one client; both go with the test. */
export async function wrapped(
  target: Target,
  options: Partial<WrapOptions> = {},
  serverOptions: Partial<ServerOptions> = {},
): Promise<Wrapping> {
  const log = createTestLog();
  const wrapping = await wrapServer({ target, log, ...options });
  onTestFinished(wrapping.close);
  const { tools } = wrapping;
  const server = await createServer({
    tools,
    store: `sqlite:${tempFolder()}`,
    log,
    drainMs: 0,
    ...serverOptions,
  });
  onTestFinished(server.close);
  const credential = await server.addClient({ id: 'alice', url: 'http://127.0.0.1:9/call' });
  return { ...wrapping, log, client: createClient(credential, { transport: inProcess(server) }) };
}

/** What the only text block of a result says. */
export function textOf({ content }: JsonObject): string {
  const [block] = Array.isArray(content) ? content : [];
  if (!isObject(block) || typeof block['text'] !== 'string') throw new TypeError('there is no text block');
  return block['text'];
}

/** The process of a wrapped hostile server. */
export async function pidOf(client: Client): Promise<number> {
  return Number(textOf(await client.call('pid')));
}

export function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** The code that a call is refused with, also where the client asked again until its time was up. */
export async function refusalOf(call: Promise<unknown>): Promise<{ code: string; result: unknown }> {
  const error: unknown = await call.catch((thrown: unknown) => thrown);
  const refusal = error instanceof ClientError ? error.cause : error;
  if (!(refusal instanceof ProtocolError)) throw new TypeError('it was not refused', { cause: error });
  return refusal;
}
