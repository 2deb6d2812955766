/**
 * What somebody would write by hand in forty lines for one tool: parse, verify, window, nonce, sum, sign.
 * No strict envelope, no limits, no canonical-form checks, nonces in a Map that is lost with the process.
 */
import { createHmac, createSecretKey, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:http';

interface Keys {
  readonly request: string;
  readonly response: string;
}

function canonicalize(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalize).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const object = value as Record<string, unknown>;
  const names = Object.keys(object).sort();
  return `{${names.map((name) => `${JSON.stringify(name)}:${canonicalize(object[name])}`).join(',')}}`;
}

export function startMinimalServer(keys: Keys, serverId: string): Promise<number> {
  const requestKey = createSecretKey(Buffer.from(keys.request));
  const responseKey = createSecretKey(Buffer.from(keys.response));
  const nonces = new Map<string, number>();

  function handle(text: string): string {
    const { signature: given, ...message } = JSON.parse(text);
    const mac = createHmac('sha256', requestKey).update(canonicalize(message)).digest();
    const claimed = Buffer.from(given, 'hex');
    if (claimed.length !== mac.length || !timingSafeEqual(claimed, mac)) throw new Error('bad_signature');
    const now = Date.now();
    if (Math.abs(now - message.ts_ms) > 300_000) throw new Error('stale');
    if (nonces.has(message.nonce)) throw new Error('replayed');
    nonces.set(message.nonce, now);
    const { numbers } = message.args as { numbers: number[] };
    const result = { count: numbers.length, total: numbers.reduce((a, b) => a + b, 0) };
    const reply = {
      v: 'mcp/0.1',
      request_id: message.request_id,
      ts_ms: now,
      server_id: serverId,
      ok: true,
      status: 'ok',
      result,
      error: null,
    };
    const unsigned = canonicalize(reply);
    const signature = createHmac('sha256', responseKey).update(unsigned).digest('hex');
    return `${unsigned.slice(0, -1)},"signature":"${signature}"}`;
  }

  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => {
      let body: string;
      let status = 200;
      try {
        body = handle(Buffer.concat(chunks).toString());
      } catch (error) {
        status = 400;
        body = JSON.stringify({ error: String(error) });
      }
      response.writeHead(status, {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(body),
      });
      response.end(body);
    });
  });
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve((server.address() as { port: number }).port));
  });
}
