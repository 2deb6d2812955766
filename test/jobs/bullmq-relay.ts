import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';

/** Stands between clients and a service on TCP, until the test ends. */
export interface Relay {
  readonly url: string;
  /** Pieces of data that clients have sent. */
  readonly pieces: number;
  /** From now on it takes connections and data, and passes nothing on. */
  hang(): void;
  /** Serves new connections; those that there are stay silent for ever. */
  thaw(): void;
}

/** @param rewrite what the service says, to text of the same length */
export async function openRelay(target: string, rewrite = (text: string) => text): Promise<Relay> {
  const service = new URL(target);
  const sockets = new Set<Socket>();
  let pieces = 0;
  let hangs = false;
  /** Connections of an earlier one are silent. */
  let generation = 0;

  const hold = (socket: Socket) => {
    sockets.add(socket);
    // Whatever ends it, the other side ends too.
    socket.on('error', () => {}).on('close', () => sockets.delete(socket));
    return socket;
  };
  const server = createServer((client) => {
    hold(client);
    if (hangs) return;
    const own = generation;
    const upstream = hold(connect(Number(service.port), service.hostname));
    client.on('data', (data) => {
      pieces++;
      if (own === generation) upstream.write(data);
    });
    upstream.on('data', (data) => {
      if (own === generation) client.write(Buffer.from(rewrite(data.toString('latin1')), 'latin1'));
    });
    client.on('close', () => upstream.destroy());
    upstream.on('close', () => client.destroy());
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const end = () => {
    for (const socket of sockets) socket.destroy();
  };
  onTestFinished(() => {
    server.close();
    end();
  });
  const address = server.address();
  const url = new URL(target);
  // A server on TCP has an address with a port.
  url.host = `127.0.0.1:${typeof address === 'object' ? address?.port : ''}`;
  return {
    url: url.href,
    get pieces() {
      return pieces;
    },
    hang() {
      hangs = true;
      generation++;
    },
    thaw() {
      hangs = false;
    },
  };
}
