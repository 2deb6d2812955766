import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Ended } from '../cli/waybill.ts';

const FOLDER = fileURLToPath(new URL('../../clients/python/', import.meta.url));
const DRIVER = fileURLToPath(new URL('driver.py', import.meta.url));
const PROGRAM = `${FOLDER}waybill.py`;
/** -B: no compiled files beside the sources. */
const FLAGS = ['-B', '-X', 'utf8'];
const { WAYBILL_CREDENTIAL: _of, ...INHERITED } = process.env;

export const hasPython = spawnSync('python3', ['--version']).status === 0;

if (!hasPython)
  console.warn('SKIPPED: python3 is not installed, so the client in Python was not run (test/clients)');

/** An exception of the client, as the driver tells it. */
export interface Raised {
  readonly type: string;
  readonly text: string;
  readonly code: string | null;
  readonly message: string | null;
  readonly result: Readonly<Record<string, unknown>> | null;
  readonly retryable: boolean | null;
}

/** What became of one operation; the test knows what it asked for. */
export interface Outcome {
  readonly value?: unknown;
  readonly error?: Raised;
}

/** One long-running Python process that does operations in turn. */
export interface Python {
  run(op: string, args?: Readonly<Record<string, unknown>>): Promise<Outcome>;
  /** Ends the process; what it wrote to stderr. */
  end(): Promise<string>;
}

export function startPython(): Python {
  const child = spawn('python3', [...FLAGS, DRIVER], { env: { ...INHERITED, PYTHONPATH: FOLDER } });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const closed = new Promise<void>((resolve) => {
    child.once('close', () => resolve());
  });
  const waiting: { resolve: (outcome: Outcome) => void; reject: (error: Error) => void }[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => waiting.shift()?.resolve(JSON.parse(line)));
  child.once('close', () => {
    for (const { reject } of waiting.splice(0)) reject(new Error(`Python ended: ${stderr}`));
  });
  return {
    run: (op, args = {}) =>
      new Promise((resolve, reject) => {
        waiting.push({ resolve, reject });
        child.stdin.write(`${JSON.stringify({ ...args, op })}\n`);
      }),
    async end() {
      child.stdin.end();
      await closed;
      return stderr;
    },
  };
}

/** The command line of the client, in a process of its own. */
export function runProgram(args: readonly string[], stdin = ''): Promise<Ended> {
  return ended(spawn('python3', [...FLAGS, PROGRAM, ...args], { env: INHERITED }), stdin);
}

/** A program that imports the client. */
export function runPython(code: string, cwd: string): Promise<Ended> {
  return ended(spawn('python3', [...FLAGS, '-'], { env: { ...INHERITED, PYTHONPATH: FOLDER }, cwd }), code);
}

function ended(child: ChildProcessWithoutNullStreams, stdin: string): Promise<Ended> {
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      output[name] += text;
    });
  }
  child.stdin.end(stdin);
  return new Promise((resolve) => {
    child.once('close', (code) => resolve({ code, ...output }));
  });
}
