import { existsSync } from 'node:fs';
import type { RequestMessage, ResponseMessage } from '../../src/wire/index.ts';

/** Published test data that is not part of this project; tests of it are skipped where it is not there. */
export const VECTORS = new URL('../../../shared/vectors/', import.meta.url);
export const haveVectors = existsSync(VECTORS);

/** A well-formed one that holds for nothing. */
export const ED25519_SIGNATURE = `ed25519:${'_-Zz9'.repeat(17)}w`;

export const REQUEST: RequestMessage = {
  v: 'mcp/0.1',
  request_id: '6b1f1f0e-2a0f-4f0c-9f57-2f6a4f1d9c11',
  ts_ms: 1_790_000_000_000,
  client_id: 'agent-1',
  server_id: 'example.server:1',
  tool: 'batch_sum',
  args: { numbers: [1, 2.5, -3] },
  nonce: 'nonce-00000001',
  signature: '0'.repeat(64),
};

export const RESPONSE: ResponseMessage = {
  v: 'mcp/0.1',
  request_id: REQUEST.request_id,
  ts_ms: 1_790_000_000_123,
  server_id: 'example.server:1',
  ok: true,
  status: 'ok',
  result: { count: 3, total: 0.5 },
  error: null,
  signature: 'f'.repeat(64),
};

export function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** The thrown value of a call that must throw. */
export function thrownBy(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}
