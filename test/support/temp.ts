import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { DATA_VARIABLE } from './services/index.ts';

/** A new folder that goes when the test ends. */
export function tempFolder(): string {
  return folderIn(tmpdir());
}

/** The same for a store: where the data of services is, which may be in memory and then waits for no disk. */
export function storeFolder(): string {
  return folderIn(process.env[DATA_VARIABLE] ?? tmpdir());
}

function folderIn(parent: string): string {
  const dir = mkdtempSync(join(parent, 'waybill-test-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}
