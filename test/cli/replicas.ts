import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { type Client, createClient } from '../../src/client/index.ts';
import type { Credential } from '../../src/transports/index.ts';
import type { ResponseMessage } from '../../src/wire/index.ts';
import { verifiedReply } from '../support/signing.ts';
import { tempFolder } from '../support/temp.ts';
import { type Running, start, waybill } from './waybill.ts';

/** Its job tells which process ran it, once there is the file that it is told to wait for. */
const MODULE = `
  import { existsSync } from 'node:fs'; import { setTimeout } from 'node:timers/promises';
  import { defineTool } from 'waybill'; import { z } from 'zod';
  export default [
    defineTool({
      name: 'where', description: 'Says which process it ran in.', job: true,
      input: z.object({ file: z.string() }), output: z.object({ pid: z.int() }),
      run: async ({ file }, { signal }) => {
        while (!existsSync(file)) await setTimeout(20, null, { signal });
        return { pid: process.pid };
      },
    }),
    defineTool({
      name: 'direct', description: 'Says which process it ran in.',
      input: z.object({}), output: z.object({ pid: z.int() }), run: () => ({ pid: process.pid }),
    }),
  ];`;

/** A folder with a module, the URLs of one store and one queue in files, and what runs on them. */
export interface Site {
  readonly cwd: string;
  readonly credential: Credential;
  /** Where the store is, for other verbs. */
  readonly env: Readonly<Record<string, string>>;
  /** Passwords, which nobody may print. */
  readonly secrets: readonly string[];
  serve(...flags: string[]): Promise<Process>;
  work(...flags: string[]): Promise<Process>;
  /** The client alice, of this server. */
  client(server: Process): Client;
}

export interface Process extends Running {
  readonly pid: number;
  /** Of a server. */
  readonly url: string;
  /** What it said when it was ready. */
  readonly said: Readonly<Record<string, unknown>>;
  /** Status of `/readyz`. */
  ready(): Promise<number>;
}

/**
 * A site with a client that its store knows, and a file `go`.
 *
 * @param module text of the module with the tools
 */
export async function openSite(
  store: string,
  queue: string | undefined,
  module: string = MODULE,
): Promise<Site> {
  const cwd = tempFolder();
  writeFileSync(join(cwd, 'tools.mjs'), module);
  writeFileSync(join(cwd, 'go'), '');
  writeFileSync(join(cwd, 'store.url'), `${store}\n`, { mode: 0o600 });
  writeFileSync(join(cwd, 'queue.url'), `${queue ?? store}\n`, { mode: 0o600 });
  const env = { WAYBILL_STORE_FILE: 'store.url', WAYBILL_DRAIN_MS: '6000' };
  const engine = { ...env, ...(queue !== undefined && { WAYBILL_QUEUE_FILE: 'queue.url' }) };
  const added = await waybill(['clients', 'add', 'alice', '--out', 'alice.json'], { cwd, env });
  expect(added).toMatchObject({
    code: 0,
    stderr: '.waybill/master.key is the new master key of this store: every server and worker needs it\n',
  });

  async function run(...args: string[]): Promise<Process> {
    const running = start([...args, '--json'], { cwd, env: engine });
    const [line] = await running.until('stdout', /^.*\n/);
    const said: Process['said'] = JSON.parse(line);
    const url = String(said['url']);
    const ready = () => fetch(new URL('/readyz', url)).then(({ status }) => status);
    return { ...running, pid: running.child.pid ?? 0, url, said, ready };
  }

  const credential: Credential = JSON.parse(readFileSync(join(cwd, 'alice.json'), 'utf8'));
  return {
    cwd,
    env: engine,
    credential,
    secrets: [store, queue ?? store].map((url) => new URL(url).password).filter((each) => each !== ''),
    serve: (...flags) => run('serve', 'tools.mjs', '--port', '0', ...flags),
    work: (...flags) => run('worker', 'tools.mjs', ...flags),
    client: ({ url }) => createClient({ ...credential, url }),
  };
}

/** Ends a process by SIGTERM. @returns the messages of its log */
export function assertDrains(ending: Process): Promise<string[]> {
  ending.child.kill('SIGTERM');
  return assertStops(ending);
}

/** A process that was told to end does so, and says it last. @returns the messages of its log */
export async function assertStops({ ended }: Process): Promise<string[]> {
  const { code, stderr } = await ended;
  const messages = stderr
    .trimEnd()
    .split('\n')
    .map((line): string => JSON.parse(line).message);
  expect({ code, last: messages.at(-1) }).toEqual({ code: 0, last: 'stopped' });
  return messages;
}

/** Nothing that the process has printed so far holds a password. */
export function assertNoSecret({ output }: Process, { secrets }: Site): void {
  for (const secret of secrets) expect(output.stdout + output.stderr).not.toContain(secret);
}

/** Sends bytes as they are. @returns the verified reply */
export async function post(site: Site, server: Process, bytes: Buffer): Promise<ResponseMessage> {
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(server.url, { method: 'POST', body: new Uint8Array(bytes), headers });
  return verifiedReply(await response.text(), site.credential);
}
