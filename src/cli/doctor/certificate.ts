import { isIP } from 'node:net';
import { connect } from 'node:tls';

/** What a server shows in the handshake of TLS. */
export interface Certificate {
  readonly validToMs: number;
  /** Why it is not believed, as OpenSSL and Node name it; null: it is. */
  readonly problem: string | null;
}

/** Looks at the certificate of an `https` server also if it is not believed. @throws what the connection ended with */
export function certificateOf(host: string, port: string, timeoutMs: number): Promise<Certificate> {
  return new Promise((resolve, reject) => {
    const name = isIP(host) === 0 ? { servername: host } : {};
    const where = { host, port: port === '' ? 443 : Number(port) };
    // Nothing is sent over this connection: it is only there to look.
    const socket = connect({ ...where, ...name, rejectUnauthorized: false }, () => {
      const { valid_to } = socket.getPeerCertificate();
      // Typed as an error, but Node sets its code.
      const why: unknown = socket.authorizationError;
      resolve({ validToMs: Date.parse(valid_to), problem: socket.authorized ? null : String(why) });
      socket.destroy();
    });
    socket.setTimeout(timeoutMs, () => socket.destroy(new Error('no handshake in time')));
    socket.on('error', reject);
  });
}
