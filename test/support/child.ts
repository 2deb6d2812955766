import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { onTestFinished } from 'vitest';

/** A process that runs a script against dist/; killed when the test ends. */
export interface Child {
  readonly process: ChildProcess;
  /** The next line it prints. @throws when it ends without one */
  line(): Promise<string>;
  /** Its exit code, or the signal that ended it. */
  readonly exited: Promise<number | string>;
}

/** @param script an ES module; `DIST` in it stands for the URL of dist/ */
export function runChild(script: string, args: readonly string[] = []): Child {
  const dist = new URL('../../dist/', import.meta.url).href;
  const child = spawn(
    process.execPath,
    ['--input-type=module', '-e', script.replaceAll('DIST', dist), ...args],
    { stdio: ['pipe', 'pipe', 'pipe'] },
  );
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const exited = once(child, 'exit').then(([code, signal]) => (code ?? signal) as number | string);
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await exited;
  });
  return {
    process: child,
    exited,
    async line() {
      const { value, done } = await lines.next();
      if (done === true) throw new Error(`the process ended: ${stderr}`);
      return value;
    },
  };
}
