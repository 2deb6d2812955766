import { connect, type Socket } from 'node:net';

/** What came of a run of load. */
export interface LoadResult {
  readonly perSecond: number;
  readonly notOk: number;
}

/**
 * Sends the bodies over keep-alive connections, each connection one request at a time, with as little
 * work in this process as can be: the server must be what is measured.
 */
export async function load(
  port: number,
  bodies: readonly string[],
  connections: number,
): Promise<LoadResult> {
  const requests = bodies.map(
    (body) =>
      `POST /call HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  );
  const sockets = await Promise.all(Array.from({ length: connections }, () => open(port)));
  let next = 0;
  let notOk = 0;
  const startMs = performance.now();
  await Promise.all(
    sockets.map(
      (socket) =>
        new Promise<void>((resolve, reject) => {
          const send = () => {
            const request = requests[next++];
            if (request === undefined) resolve();
            else socket.write(request, 'latin1');
          };
          socket.on('error', reject);
          onReplies(socket, (ok) => {
            if (!ok) notOk++;
            send();
          });
          send();
        }),
    ),
  );
  const seconds = (performance.now() - startMs) / 1_000;
  for (const socket of sockets) socket.destroy();
  return { perSecond: bodies.length / seconds, notOk };
}

function open(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true }, () => resolve(socket));
    socket.on('error', reject);
  });
}

/** Calls back for each whole HTTP response. */
function onReplies(socket: Socket, onReply: (ok: boolean) => void): void {
  let held = '';
  socket.setEncoding('latin1');
  socket.on('data', (chunk: string) => {
    held += chunk;
    for (;;) {
      const head = held.indexOf('\r\n\r\n');
      if (head === -1) return;
      const length = Number(/content-length: (\d+)/i.exec(held.slice(0, head))?.[1]);
      const end = head + 4 + length;
      if (held.length < end) return;
      const ok = held.startsWith('HTTP/1.1 200') && held.includes('"ok":true');
      held = held.slice(end);
      onReply(ok);
    }
  });
}
