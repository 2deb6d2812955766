import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { dateText } from '../output.ts';
import { type Line, line, SOON_MS } from './screen.ts';

/** The way to the server, below the messages. */
export async function addressLines(url: URL, timeoutMs: number): Promise<readonly Line[]> {
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const lines: Line[] = [];
  let isLocal = false;
  try {
    const found = isIP(host) === 0 ? await lookup(host, { all: true }) : [{ address: host }];
    const addresses = found.map(({ address }) => address);
    isLocal = addresses.every((address) => /^127\.|^::1$/.test(address));
    lines.push(line('address', 'ok', isIP(host) === 0 ? `${host} is ${addresses.join(', ')}` : host));
  } catch (error) {
    lines.push(line('address', 'refused', `${host} is not found (${codeOf(error)}): is it spelled right?`));
  }
  if (url.protocol === 'https:') return [...lines, await certificateLine(host, url.port, timeoutMs)];
  const plain = isLocal ? 'plain HTTP, on this machine' : 'plain HTTP: who is on the way reads every call';
  return [...lines, line('tls', isLocal ? 'ok' : 'warning', plain)];
}

async function certificateLine(host: string, port: string, timeoutMs: number): Promise<Line> {
  const { certificateOf } = await import('./certificate.ts');
  try {
    const { validToMs, problem } = await certificateOf(host, port, timeoutMs);
    const until = `valid until ${dateText(validToMs)}`;
    if (problem !== null)
      return line('tls', 'refused', `the certificate is not believed: ${problem}; ${until}`);
    const isSoon = validToMs - Date.now() < SOON_MS;
    return line(
      'tls',
      isSoon ? 'warning' : 'ok',
      `certificate ${until}${isSoon ? ': it must be renewed' : ''}`,
    );
  } catch (error) {
    return line('tls', 'refused', `no handshake of TLS: ${codeOf(error)}`);
  }
}

function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return 'code' in error && typeof error.code === 'string' ? error.code : error.message;
}
