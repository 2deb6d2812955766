import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { randomUUID } from 'node:crypto';
import { canonicalize, withSignature } from '../src/wire/index.ts';
import { keyOf, sign } from '../src/wire/signature.ts';

export const BENCH_CLIENT = {
  serverId: 'bench-server',
  clientId: 'bench-client',
  // Fixed, so that a request can be signed before its server runs; made up for this file.
  keys: {
    request: 'request-key of the bench: 7KfX2mQ9vB4tL8sR1wZ6',
    response: 'response-key of the bench: 3HnY5pD0cJ7gU2eA9xV4',
  },
} as const;

const requestKey = keyOf(BENCH_CLIENT.keys.request);

/** One freshly signed batch_sum of three numbers, as text. */
export function signedRequest(nowMs: number = Date.now()): string {
  const text = canonicalize({
    v: 'mcp/0.1',
    request_id: randomUUID(),
    ts_ms: nowMs,
    client_id: BENCH_CLIENT.clientId,
    server_id: BENCH_CLIENT.serverId,
    tool: 'batch_sum',
    args: { numbers: [1, 2.5, 1000] },
    nonce: randomUUID(),
  });
  return withSignature(text, sign(text, requestKey));
}

/** The command line as it is published; `npm run bench` has built it. */
export const CLI_MAIN = fileURLToPath(new URL('../../../dist/cli/main.js', import.meta.url));

/** One line of the table. */
export interface Line {
  readonly what: string;
  readonly ours: string;
  readonly baseline: string;
  /** ours / baseline, or the figure itself where there is no baseline. */
  readonly figure: string;
  readonly target: string;
  readonly ok: boolean;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

/** Runs the work with a folder that is removed afterwards. */
export async function withFolder<T>(work: (dir: string) => Promise<T>): Promise<T> {
  const dir = mkdtempSync(join(tmpdir(), 'waybill-bench-'));
  try {
    return await work(dir);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

export function thousands(perSecond: number): string {
  return `${(perSecond / 1_000).toFixed(1)} k/s`;
}
