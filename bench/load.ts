import { connect, type Socket } from 'node:net';

/** What came of a run of load. */
export interface LoadResult {
  readonly perSecond: number;
  readonly notOk: number;
}

/** Where the bodies go, and what an answer that is right holds. */
export interface Target {
  readonly port: number;
  readonly path: string;
  /** Lines of headers beside those of any JSON body. */
  readonly headers: readonly string[];
  readonly ok: string;
}

/** Where signed calls go. */
export function callsTo(port: number): Target {
  return { port, path: '/call', headers: [], ok: '"ok":true' };
}

/**
 * Sends the bodies over keep-alive connections, each connection one request at a time, with as little
 * work in this process as can be: the server must be what is measured.
 */
export async function load(
  { port, path, headers, ok: mark }: Target,
  bodies: readonly string[],
  connections: number,
): Promise<LoadResult> {
  const head = ['host: localhost', 'content-type: application/json', ...headers, ''].join('\r\n');
  const requests = bodies.map(
    (body) => `POST ${path} HTTP/1.1\r\n${head}content-length: ${body.length}\r\n\r\n${body}`,
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
          onReplies(socket, mark, (ok) => {
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

/** Calls back for each whole HTTP response, of a known length or in chunks. */
function onReplies(socket: Socket, mark: string, onReply: (ok: boolean) => void): void {
  let held = '';
  socket.setEncoding('latin1');
  socket.on('data', (chunk: string) => {
    held += chunk;
    for (;;) {
      const end = endOf(held);
      if (end === -1 || held.length < end) return;
      const ok = held.startsWith('HTTP/1.1 200') && held.slice(0, end).includes(mark);
      held = held.slice(end);
      onReply(ok);
    }
  });
}

/** Where the first response of a text ends, or -1 if that cannot be said yet. */
function endOf(text: string): number {
  const head = text.indexOf('\r\n\r\n');
  if (head === -1) return -1;
  const length = /content-length: (\d+)/i.exec(text.slice(0, head))?.[1];
  if (length !== undefined) return head + 4 + Number(length);
  const last = text.indexOf('\r\n0\r\n\r\n', head);
  return last === -1 ? -1 : last + 7;
}
