import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { ROOT } from '../../scripts/setup.mjs';
import { atEnd } from '../system/clean-up.ts';
import { type Folder, SERVER_ID } from '../system/server-process.ts';

const MAIN = fileURLToPath(new URL('durable-main.ts', import.meta.url));
const CLI = join(ROOT, 'dist/cli/main.js');
const JITI = join(ROOT, 'node_modules/jiti/lib/jiti-cli.mjs');

/** The server of durable-main.ts. */
export interface DurableServer {
  readonly url: string;
  /** Kills it at once; resolves when it has gone. */
  kill(): Promise<void>;
}

/** Serves the data in the folder. */
export async function startDurable({ dir }: Folder): Promise<DurableServer> {
  const child = spawn(process.execPath, [JITI, MAIN, dataOf(dir), SERVER_ID], {
    cwd: dir,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  atEnd(() => kill(child));
  const first = await new Promise<string | null>((resolve) => {
    createInterface({ input: child.stdout })
      .once('line', resolve)
      .once('close', () => resolve(null));
  });
  if (first === null) throw new Error('the server did not start');
  return { url: JSON.parse(first).url, kill: () => kill(child) };
}

/** A bearer token of a client, from the program itself. */
export async function tokenOf({ dir }: Folder, client: string): Promise<string> {
  const args = [CLI, 'clients', 'token', client, '--data', dataOf(dir), '--json'];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  return JSON.parse(stdout).token;
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}

const dataOf = (dir: string): string => join(dir, 'data');
