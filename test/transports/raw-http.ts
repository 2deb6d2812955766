import { connect, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';

export interface RawResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** One TCP connection on which the test writes what it likes. */
export interface RawConnection {
  readonly socket: Socket;
  write(data: string | Uint8Array): void;
  /** The next response, read by its content-length; null when the connection has ended before it. */
  next(hasBody?: boolean): Promise<RawResponse | null>;
  /** Resolves when the server has ended the connection. */
  readonly closed: Promise<void>;
}

export function openConnection(port: number): RawConnection {
  const socket = connect(port, '127.0.0.1');
  onTestFinished(() => void socket.destroy());
  let received = Buffer.alloc(0);
  let ended = false;
  let wake = () => {};
  const closed = new Promise<void>((resolve) => {
    const end = () => {
      ended = true;
      wake();
      resolve();
    };
    socket.on('end', end).on('close', end);
    // A reset tells no more than the end.
    socket.on('error', end);
  });
  socket.on('data', (chunk) => {
    received = Buffer.concat([received, chunk]);
    wake();
  });

  function take(hasBody: boolean): RawResponse | null {
    const headEnd = received.indexOf('\r\n\r\n');
    if (headEnd === -1) return null;
    const [statusLine = '', ...lines] = received.toString('latin1', 0, headEnd).split('\r\n');
    const headers = Object.fromEntries(
      lines.map((line) => [
        line.slice(0, line.indexOf(':')).toLowerCase(),
        line.slice(line.indexOf(':') + 1).trim(),
      ]),
    );
    const length = hasBody ? Number(headers['content-length'] ?? 0) : 0;
    const end = headEnd + 4 + length;
    if (received.length < end) return null;
    const body = received.toString('utf8', headEnd + 4, end);
    received = received.subarray(end);
    return { status: Number(statusLine.split(' ')[1]), headers, body };
  }

  return {
    socket,
    closed,
    write: (data) => void socket.write(data),
    async next(hasBody = true) {
      for (;;) {
        const response = take(hasBody);
        if (response !== null || ended) return response;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
  };
}

/** The bytes of one POST. */
export function post(
  body: Uint8Array,
  headers: Readonly<Record<string, string>> = {},
  path = '/call',
): Buffer {
  const all = {
    host: 'test',
    'content-type': 'application/json',
    'content-length': String(body.length),
    ...headers,
  };
  return Buffer.concat([Buffer.from(`${head('POST', path, all)}\r\n`), body]);
}

export function head(method: string, path: string, headers: Readonly<Record<string, string>>): string {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${method} ${path} HTTP/1.1\r\n${lines.join('')}`;
}
