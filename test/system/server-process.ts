import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import type { Credential } from '../../src/transports/index.ts';
import { atEnd } from './clean-up.ts';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const TOOLS = fileURLToPath(new URL('tools.mjs', import.meta.url));
export const SERVER_ID = 'system-test';

/** A folder of one server, with a file in which tools leave their effects; it goes when the tests end. */
export interface Folder {
  readonly dir: string;
  /** Adds a client to the server's data with the program itself. */
  addClient(id: string): Promise<NewCredential>;
  /** The request_id of every run of a direct tool. */
  effects(): string[];
  /** The request_id of every attempt of a job. */
  attempts(): string[];
}

export interface NewCredential {
  readonly file: string;
  readonly credential: Credential;
}

/** The program, serving in a process of its own. */
export interface ServerProcess {
  readonly url: string;
  kill(signal: 'SIGKILL' | 'SIGTERM'): void;
  readonly exited: Promise<Exit>;
}

export interface Exit {
  readonly code: number | null;
  readonly signal: string | null;
  readonly stderr: string;
}

export function makeFolder(): Folder {
  const dir = mkdtempSync(join(tmpdir(), 'waybill-system-'));
  atEnd(() => rmSync(dir, { recursive: true, force: true }));
  const effects = effectsFile(dir);
  const lines = () => (existsSync(effects) ? readFileSync(effects, 'utf8').split('\n').slice(0, -1) : []);
  const attempt = /^attempt /;
  return {
    dir,
    async addClient(id) {
      const file = join(dir, `${id}.json`);
      const options = ['--server-id', SERVER_ID, '--data', dataFolder(dir), '--out', file];
      const child = run(dir, ['clients', 'add', id, ...options]);
      const { code, stderr } = await exitOf(child);
      if (code !== 0) throw new Error(`the client was not added: ${stderr}`);
      return { file, credential: JSON.parse(readFileSync(file, 'utf8')) };
    },
    effects: () => lines().filter((line) => !attempt.test(line)),
    attempts: () => lines().flatMap((line) => (attempt.test(line) ? line.replace(attempt, '') : [])),
  };
}

/** Serves the tools of a module, or the example tools, from the data in the folder. */
export async function startServer({ dir }: Folder, module: string | null = TOOLS): Promise<ServerProcess> {
  const options = [
    '--server-id',
    SERVER_ID,
    '--data',
    dataFolder(dir),
    '--port',
    '0',
    '--json',
    '--drain-ms',
    '3000',
  ];
  const child = run(dir, ['serve', ...(module === null ? [] : [module]), ...options]);
  const exited = exitOf(child);
  atEnd(() => {
    child.kill('SIGKILL');
    return exited;
  });
  const lines = createInterface({ input: child.stdout });
  const first = await new Promise<string | null>((resolve) => {
    lines.once('line', resolve).once('close', () => resolve(null));
  });
  const announced: { url?: string } = JSON.parse(first ?? '{}');
  if (announced.url === undefined)
    throw new Error(`the server did not start: ${first} ${(await exited).stderr}`);
  return { url: announced.url, exited, kill: (signal) => void child.kill(signal) };
}

function run(dir: string, args: readonly string[]) {
  return spawn(process.execPath, [MAIN, ...args], {
    cwd: dir,
    env: { ...process.env, EFFECTS_FILE: effectsFile(dir) },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

async function exitOf(child: ReturnType<typeof run>): Promise<Exit> {
  const ended = new Promise<[number | null, string | null]>((resolve) => {
    child.once('close', (code, signal) => resolve([code, signal]));
  });
  const stderr = await text(child.stderr);
  const [code, signal] = await ended;
  return { code, signal, stderr };
}

const dataFolder = (dir: string): string => join(dir, 'data');
const effectsFile = (dir: string): string => join(dir, 'effects.txt');
