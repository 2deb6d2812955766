import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { WRAP_LIMITS } from './limits.ts';
import type { CommandTarget } from './target.ts';

/** A process with a group of its own, so that what it starts ends with it. */
export interface Child {
  readonly pid: number;
  write(text: string): void;
  /** How many bytes it has not read yet. */
  unreadBytes(): number;
  /** Closes its stdin, then SIGTERM, then SIGKILL; resolves when it has gone. */
  end(): Promise<void>;
  /** SIGTERM at once, then SIGKILL. */
  kill(): Promise<void>;
}

export interface ChildEvents {
  readonly onOutput: (chunk: Buffer) => void;
  readonly onErrorOutput: (chunk: Buffer) => void;
  /** Once, when nothing more will come: `exited with code 1`, `was ended by SIGKILL`, `closed its input`. */
  readonly onEnd: (why: string) => void;
}

type Process = ChildProcessByStdio<Writable, Readable, Readable>;

/** Windows has no groups of processes; there, `detached` would open a console. */
const HAS_GROUPS = process.platform !== 'win32';

/** @throws Error of the system when there is no such command */
export async function startChild(
  { command, args }: CommandTarget,
  env: Readonly<Record<string, string>>,
  events: ChildEvents,
): Promise<Child> {
  const child = spawn(command, args, {
    env,
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: HAS_GROUPS,
    windowsHide: true,
  });
  const { pid, stdin } = child;
  if (pid === undefined) {
    return new Promise((_, reject) => child.once('error', reject));
  }
  let isOver = false;
  const signal = (name: NodeJS.Signals) => {
    // Its number may belong to another group by now.
    if (!isOver) signalAll(child, pid, name);
  };
  const killRest = () => {
    signal('SIGKILL');
    isOver = true;
  };
  const gone = watch(child, killRest, events);
  // A process that ends without a drain leaves nobody behind.
  const onExit = () => signal('SIGKILL');
  process.once('exit', onExit);
  void gone.then(() => process.off('exit', onExit));

  async function kill(): Promise<void> {
    signal('SIGTERM');
    if (await within(gone, WRAP_LIMITS.endMs)) return;
    signal('SIGKILL');
    await gone;
  }

  return {
    pid,
    write: (text) => void stdin.write(text),
    unreadBytes: () => stdin.writableLength,
    kill,
    async end() {
      stdin.end();
      if (!(await within(gone, WRAP_LIMITS.endMs))) await kill();
    },
  };
}

/** Resolves when the process has ended and its last output was read; the rest of its group is killed then. */
function watch(
  child: Process,
  killRest: () => void,
  { onOutput, onErrorOutput, onEnd }: ChildEvents,
): Promise<void> {
  const { stdin, stdout, stderr } = child;
  stdout.on('data', onOutput);
  stderr.on('data', onErrorOutput);
  // A process that closes one of these ends, as a rule: how it ended says more.
  const later = (why: string) => () => setTimeout(() => onEnd(why), 2 * WRAP_LIMITS.lastWordsMs).unref();
  stdout.once('end', later('closed its output'));
  stdin.on('error', later('closed its input'));
  return new Promise((resolve) => {
    child.once('exit', (code, signal) => {
      const close = () => {
        clearTimeout(timer);
        child.off('close', close);
        for (const stream of [stdin, stdout, stderr]) stream.destroy();
        killRest();
        onEnd(signal === null ? `exited with code ${code}` : `was ended by ${signal}`);
        resolve();
      };
      // What it started may hold its pipes open for ever.
      const timer = setTimeout(close, WRAP_LIMITS.lastWordsMs);
      child.once('close', close);
    });
  });
}

function signalAll(child: Process, pid: number, name: NodeJS.Signals): void {
  try {
    if (HAS_GROUPS) process.kill(-pid, name);
    else child.kill(name);
  } catch {
    // All of them have gone.
  }
}

/** Did it happen in time? */
async function within(event: Promise<void>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), ms);
  });
  return Promise.race([event.then(() => true), late]).finally(() => clearTimeout(timer));
}
