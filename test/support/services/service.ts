import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createKeeper, type Place, reservePlace } from './keeper.ts';

/** A server process of its own, on loopback, with its data in a temp folder. Ends with our process at the latest. */
export interface Service {
  readonly url: string;
  /**
   * SIGKILL (if none is named), SIGSTOP and SIGCONT go to all its processes, every other signal to the first.
   * Resolves once all of them ended; after SIGSTOP and SIGCONT, and where none runs, at once.
   */
  kill(signal?: NodeJS.Signals): Promise<void>;
  /** Starts it again on its port and its data; kills it first if it still runs. Resolves when it is ready. */
  restart(): Promise<void>;
  /** Ends it and removes its folder. */
  stop(): Promise<void>;
}

/** What to run. */
export interface Program {
  readonly url: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly input?: string;
  readonly user?: User;
}

/** Whose processes they are, where that is not who we are. */
export interface User {
  readonly uid: number;
  readonly gid: number;
}

export interface Kind {
  readonly name: string;
  /** Ends it at once and leaves nothing behind in the system. */
  readonly endSignal: 'SIGQUIT' | 'SIGKILL';
  prepare(place: Place): Promise<Program> | Program;
}

/** PostgreSQL and Redis both say so, after their data is loaded. */
const READY = /ready to accept connections/i;
/** Far above what a start takes, recovery after kill -9 included. */
const READY_MS = 60_000;
/** How much of its output an error shows. */
const LOG_CHARS = 4_000;

const FOR_ALL: ReadonlySet<NodeJS.Signals> = new Set(['SIGKILL', 'SIGSTOP', 'SIGCONT']);

/** @throws when it does not start; the message has the end of its output */
export async function startService({ name, endSignal, prepare }: Kind): Promise<Service> {
  const place = await reservePlace();
  const keeper = createKeeper(place.folder, endSignal);
  let running: Running | undefined;

  const launch = async (program: Program) => {
    running = await spawnProgram(program, place.folder);
    keeper.hold([running.pid]);
    void running.closed.then(() => keeper.hold([]));
    await untilReady(running.child, name);
  };
  const kill = async (signal: NodeJS.Signals) => {
    if (running === undefined || isOver(running.child)) return;
    const { pid, closed } = running;
    if (FOR_ALL.has(signal)) {
      // Frozen first, so that no process is added while they are listed.
      if (signal !== 'SIGCONT') sendSignal(pid, 'SIGSTOP');
      const pids = [pid, ...childrenOf(pid)];
      keeper.hold(pids);
      for (const each of pids) sendSignal(each, signal);
    } else sendSignal(pid, signal);
    if (signal !== 'SIGSTOP' && signal !== 'SIGCONT') await closed;
  };

  try {
    const program = await prepare(place);
    await launch(program);
    return {
      url: program.url,
      kill: (signal = 'SIGKILL') => kill(signal),
      async restart() {
        await kill('SIGKILL');
        await launch(program);
      },
      async stop() {
        await kill('SIGCONT');
        await kill(endSignal);
        await keeper.end();
      },
    };
  } catch (error) {
    await keeper.end();
    throw error;
  }
}

interface Running {
  readonly child: ChildProcess;
  readonly pid: number;
  /** Resolves when the last of its processes has ended: they share its output. */
  readonly closed: Promise<void>;
}

/** @throws when there is no such command */
async function spawnProgram({ command, args, input = '', user }: Program, cwd: string): Promise<Running> {
  // Messages in English; detached, because a Ctrl-C in the terminal is not for it.
  const env = { ...process.env, LC_ALL: 'C', TZ: 'UTC' };
  const child = spawn(command, args, { cwd, env, detached: true, stdio: 'pipe', ...user });
  const closed = new Promise<void>((resolve) => child.once('close', () => resolve()));
  // It may end before it has read.
  child.stdin.on('error', () => {}).end(input);
  await once(child, 'spawn');
  if (child.pid === undefined) throw new Error(`${command} was started without a process id`);
  return { child, pid: child.pid, closed };
}

async function untilReady(child: ChildProcess, name: string): Promise<void> {
  let log = '';
  const timer = setTimeout(() => child.kill('SIGKILL'), READY_MS);
  await new Promise<void>((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr]) {
      // Read to the end, or it would block: of what comes later only the newest is kept.
      stream?.setEncoding('utf8').on('data', (text: string) => {
        log = (log + text).slice(-LOG_CHARS);
        if (READY.test(log)) resolve();
      });
    }
    child.once('close', (code, signal) => {
      reject(new Error(`${name} ended (${code ?? signal}) before it was ready:\n${log}`));
    });
  }).finally(() => clearTimeout(timer));
}

function isOver(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

function childrenOf(pid: number): number[] {
  let list: string;
  try {
    list = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8');
  } catch {
    list = spawnSync('pgrep', ['-P', String(pid)], { encoding: 'utf8' }).stdout;
  }
  return list.split(/\s+/).filter(Boolean).map(Number);
}

function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    // It ended in between.
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}
