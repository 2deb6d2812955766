import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import {
  createServer as createHttpsServer,
  type Server as HttpsServer,
  type ServerOptions,
} from 'node:https';
import type { RequestListener } from 'node:http';
import type { Socket } from 'node:net';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import { SetupError, systemCodeOf } from '../errors/index.ts';

/** A certificate and its private key, as PEM text. */
export interface TlsPair {
  /** The server's own certificate first, then those between it and its authority. */
  readonly cert: string;
  /** Without a passphrase. */
  readonly key: string;
}

/** How messages call the two, such as `--tls-cert cert.pem`. */
export interface TlsNames {
  readonly cert: string;
  readonly key: string;
}

const OPTION_NAMES: TlsNames = { cert: 'tls.cert', key: 'tls.key' };

/**
 * Does the pair serve? Gives the certificate, for those who want to say until when.
 *
 * @throws SetupError when one of the two is not what it should be, or they do not belong together; never with the key
 */
export function checkTls({ cert, key }: TlsPair, names: TlsNames = OPTION_NAMES): X509Certificate {
  const certificate = parseCertificate(cert, names.cert);
  if (!certificate.checkPrivateKey(parseKey(key, names.key)))
    throw new SetupError(
      `${names.key} is not the key of the certificate of ${names.cert}: name the two of one pair`,
    );
  try {
    createSecureContext(contextOf({ cert, key }));
  } catch (error) {
    // What only OpenSSL knows, such as a key that is too short for it.
    const why = error instanceof Error ? error.message : String(error);
    throw new SetupError(`${names.cert} cannot be served: ${why}`);
  }
  return certificate;
}

function parseCertificate(text: string, name: string): X509Certificate {
  try {
    return new X509Certificate(text);
  } catch {
    throw new SetupError(
      `${name} holds no certificate in PEM, which begins with -----BEGIN CERTIFICATE-----`,
    );
  }
}

function parseKey(text: string, name: string): KeyObject {
  try {
    return createPrivateKey(text);
  } catch (error) {
    const locked = systemCodeOf(error) === 'ERR_MISSING_PASSPHRASE';
    throw new SetupError(
      locked || text.includes('ENCRYPTED')
        ? `${name} is locked by a passphrase: give the key without one, readable by you alone`
        : `${name} holds no private key in PEM, which begins with -----BEGIN PRIVATE KEY-----`,
    );
  }
}

/** Said here, or `NODE_OPTIONS` could lower it. */
const contextOf = (pair: TlsPair): SecureContextOptions => ({ ...pair, minVersion: 'TLSv1.2' });

/** A server of node:https, and what node:http would do for one of its own. */
export interface TlsServer {
  readonly http: HttpsServer;
  /** New connections get this pair, those that are open keep theirs. @throws SetupError; then nothing has changed */
  renew(pair: TlsPair): void;
  /** Ends connections that have not come as far as HTTP: they would hold it open until their time is up. */
  destroyAll(): void;
}

/** @throws SetupError, see `checkTls` */
export function createTlsServer(
  pair: TlsPair,
  settings: ServerOptions,
  onRequest: RequestListener,
): TlsServer {
  checkTls(pair);
  const http = createHttpsServer({ ...settings, ...contextOf(pair) }, onRequest);
  const open = new Set<Socket>();
  http.on('connection', (socket: Socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
  });
  return {
    http,
    renew(next) {
      checkTls(next);
      http.setSecureContext(contextOf(next));
    },
    destroyAll() {
      for (const socket of open) socket.destroy();
    },
  };
}
