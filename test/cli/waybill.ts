import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { lstatSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished } from 'vitest';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Text for stdin; without it stdin is empty. */
  readonly stdin?: string;
}

/** A process of the program; it goes with the test. */
export interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  /** The output so far. */
  readonly output: { readonly stdout: string; readonly stderr: string };
  /** Resolves when the pattern is in the output; rejects when the program ended without it. */
  until(stream: 'stdout' | 'stderr', pattern: RegExp): Promise<RegExpExecArray>;
}

/** The real program in a process of its own, without settings of whoever runs the tests. */
export function start(args: readonly string[], { cwd, env, stdin }: RunOptions): Running {
  const inherited = Object.entries(process.env).filter(
    ([name]) => !/^(WAYBILL_|NO_COLOR|FORCE_COLOR)/.test(name),
  );
  const child = spawn(process.execPath, [MAIN, ...args], {
    cwd,
    env: { ...Object.fromEntries(inherited), ...env },
    stdio: [stdin === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
  });
  child.stdin?.end(stdin);
  return watch(child);
}

export function watch(child: ChildProcess): Running {
  const output = { stdout: '', stderr: '' };
  const ended = new Promise<Ended>((resolve) => {
    child.once('close', (code) => resolve({ code, ...output }));
  });
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.setEncoding('utf8').on('data', (text: string) => {
      output[name] += text;
    });
  }
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  return {
    child,
    ended,
    output,
    until(stream, pattern) {
      return new Promise((resolve, reject) => {
        const look = () => {
          const match = pattern.exec(output[stream]);
          if (match !== null) resolve(match);
        };
        child[stream]?.on('data', look);
        void ended.then((end) => reject(new Error(`ended without ${pattern}: ${JSON.stringify(end)}`)));
        look();
      });
    },
  };
}

export function waybill(args: readonly string[], options: RunOptions): Promise<Ended> {
  return start(args, options).ended;
}

export interface Serving extends Running {
  readonly url: string;
}

/** `waybill serve` on a free port, ready. */
export async function serve(cwd: string, ...args: string[]): Promise<Serving> {
  const running = start(['serve', '--port', '0', '--json', ...args], { cwd });
  const [line] = await running.until('stdout', /^.*\n/);
  return { ...running, url: JSON.parse(line).url };
}

/** A server with a client `alice` and her credential in `alice.json`. */
export async function serveWithAlice(cwd: string, ...args: string[]): Promise<Serving> {
  const serving = await serve(cwd, ...args);
  const added = await waybill(['clients', 'add', 'alice', '--url', serving.url, '--out', 'alice.json'], {
    cwd,
  });
  expect(added).toMatchObject({ code: 0, stderr: '' });
  return serving;
}

/** Path → what is there: to see that nothing changed. */
export function snapshot(dir: string): Record<string, string> {
  const names = readdirSync(dir, { recursive: true, encoding: 'utf8' }).sort();
  return Object.fromEntries(names.map((name) => [name, describe(join(dir, name))]));
}

function describe(path: string): string {
  const stat = lstatSync(path);
  const mode = stat.mode.toString(8);
  return stat.isFile() ? `${mode} ${createHash('sha256').update(readFileSync(path)).digest('hex')}` : mode;
}

/** One line on stderr that says what to do, nothing on stdout, exit code 2, no stack trace. */
export function assertWrongUse(ended: Ended, pattern: RegExp): void {
  expect(ended.stderr).toMatch(pattern);
  expect(ended.stderr).toMatch(/^waybill: [^\n]+\n$/);
  expect(ended.stderr).not.toMatch(/\bat (.* \(|async |file:|node:).*:\d+:\d+/);
  expect(ended.stdout).toBe('');
  expect(ended.code).toBe(2);
}
