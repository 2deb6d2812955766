import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, rmdirSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Where one service lives. */
export interface Place {
  readonly port: number;
  readonly folder: string;
}

/** Sees to it that nothing of a service outlives the process that started it. */
export interface Keeper {
  /** From now on these processes are the ones to end. */
  hold(pids: readonly number[]): void;
  /** Ends what is held and removes the folder. */
  end(): Promise<void>;
}

/**
 * A shell that waits for the end of its input. The system closes that pipe however our process ends, kill -9
 * included; the shell then ends the processes it was told of last and removes the folder. CONT follows because a
 * frozen process takes no signal but KILL; the folder is tried again while a dying process still writes to it.
 */
const SCRIPT = `
  pids=
  while read -r line; do pids=$line; done
  if [ -n "$pids" ]; then kill -s "$1" $pids; kill -s CONT $pids; fi
  for again in 1 2 3 4 5; do rm -rf "$0" && break; sleep 1; done`;

/** @param signal what ends the service at once */
export function createKeeper(folder: string, signal: 'SIGQUIT' | 'SIGKILL'): Keeper {
  // Detached: a Ctrl-C in the terminal is not for it.
  const shell = spawn('/bin/sh', ['-c', SCRIPT, folder, signal.slice(3)], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
    env: { PATH: '/usr/bin:/bin' },
  });
  const ended = once(shell, 'exit');
  // Somebody may have killed it: then there is nobody to tell.
  shell.stdin.on('error', () => {});
  return {
    hold: (pids) => void shell.stdin.write(`${pids.join(' ')}\n`),
    async end() {
      shell.stdin.end();
      await ended;
    },
  };
}

/** Names the folder that the data of services is put in, instead of the temp folder of the system. */
export const DATA_VARIABLE = 'WAYBILL_TEST_DATA';

/**
 * A new folder and a free port on loopback. The folder's name has the port, so that two services which start at once,
 * or one that is down for a moment, never lose theirs to each other. The ports are below those that the system gives
 * to outgoing connections: a client that tries again and again could otherwise be given the very port it calls.
 */
export async function reservePlace(): Promise<Place> {
  for (;;) {
    const port = randomInt(20_000, 32_000);
    const folder = join(process.env[DATA_VARIABLE] ?? tmpdir(), `waybill-test-${port}`);
    if (!makeFolder(folder)) continue;
    if (await isFree(port)) return { port, folder };
    rmdirSync(folder);
  }
}

/** @returns false when it is there already */
function makeFolder(path: string): boolean {
  try {
    mkdirSync(path, { mode: 0o700 });
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
    throw error;
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, '127.0.0.1');
  try {
    await once(server, 'listening');
    return true;
  } catch {
    return false;
  } finally {
    server.close();
  }
}
