import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { onTestFinished } from 'vitest';

/** Changes the bytes of one reply, or gives others. */
export type Tamper = (reply: string, request: { readonly tool: string }) => string;

export interface Relay {
  readonly url: string;
  /** From now on; without one, replies pass as they are. */
  tamper: Tamper | null;
  /** Breaks every connection, as if nobody were there. */
  down: boolean;
}

/** Stands between a client and a server on a port of its own, as whoever owns the wire could. */
export async function startRelay(target: string): Promise<Relay> {
  const relay: { url: string; tamper: Tamper | null; down: boolean } = { url: '', tamper: null, down: false };

  async function pass(request: IncomingMessage): Promise<{ status: number; body: string }> {
    const body = await text(request);
    const headers = { 'content-type': 'application/json' };
    const answer = await fetch(target, { method: 'POST', headers, body });
    const reply = await answer.text();
    return { status: answer.status, body: relay.tamper?.(reply, JSON.parse(body)) ?? reply };
  }

  const server = createServer((request, response) => {
    const passed = relay.down ? Promise.reject(new Error('down')) : pass(request);
    passed.then(
      ({ status, body }) => response.writeHead(status, { 'content-type': 'application/json' }).end(body),
      () => response.destroy(),
    );
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  relay.url = `http://127.0.0.1:${port}/call`;
  return relay;
}
