import { execFileSync } from 'node:child_process';
import { onTestFinished } from 'vitest';

const UNLIMITED = 'unlimited';

/** Can this system be made to refuse writes of this process? */
export const canLimitFiles = isThere();

/** From here on no file of this process can grow beyond so many bytes, until the test or `undo` ends it. */
export function limitFiles(bytes: number): () => void {
  setLimit(String(bytes));
  const undo = () => setLimit(UNLIMITED);
  onTestFinished(undo);
  return undo;
}

function setLimit(soft: string): void {
  // The hard limit stays, so that the soft one can be raised again.
  execFileSync('prlimit', ['--pid', String(process.pid), `--fsize=${soft}:`]);
}

function isThere(): boolean {
  try {
    return execFileSync('prlimit', ['--fsize', '--output=HARD', '--noheadings'], {
      encoding: 'utf8',
    }).includes(UNLIMITED);
  } catch {
    return false;
  }
}
