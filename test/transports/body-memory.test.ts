import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { type Calls, receive } from '../../src/transports/node-body.ts';
import { safeHeaders } from '../../src/transports/safe-headers.ts';

/** Of what is still referred to. */
function heapBytes(): number {
  setFlagsFromString('--expose-gc');
  // The flag shows in new contexts only.
  const gc = runInNewContext('gc') as () => void;
  gc();
  return process.memoryUsage().heapUsed;
}

test('a body that comes byte by byte takes little more memory than its bytes, and arrives whole', async () => {
  const request = new IncomingMessage(new Socket());
  const calls: Calls = { open: 0, heldBytes: 0, maxHeldBytes: 10_000_000, headers: safeHeaders(false) };
  const sent = Buffer.from(Array.from({ length: 300_000 }, (_, n) => n % 251));
  const taken = new Promise<Uint8Array | null>((resolve) => {
    receive(request, new ServerResponse(request), calls, 1_000_000, resolve);
  });
  const before = heapBytes();
  // Each piece is an object of its own, of more than a hundred bytes.
  for (let at = 0; at < sent.length; at++) request.emit('data', sent.subarray(at, at + 1));
  expect(heapBytes() - before).toBeLessThan(5_000_000);
  expect(calls.heldBytes).toBe(sent.length);
  request.emit('end');
  expect(Buffer.compare((await taken) ?? Buffer.alloc(0), sent)).toBe(0);
});
