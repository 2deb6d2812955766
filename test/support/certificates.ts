import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TlsPair } from '../../src/transports/index.ts';

/** Node reads certificates and makes none. */
const OPENSSL = 'openssl';
export const hasOpenssl = spawnSync(OPENSSL, ['version']).status === 0;
if (!hasOpenssl) console.warn('⚠ no openssl here: tests of TLS are skipped');

export interface CertificateOptions {
  readonly name?: string;
  /** As `openssl req -newkey` takes it. */
  readonly algorithm?: readonly string[];
}

/** A certificate for 127.0.0.1 that signs itself, as `${name}.crt` and `${name}.key` in the folder. */
export function makeCertificate(dir: string, { name = 'tls', algorithm }: CertificateOptions = {}): TlsPair {
  const [cert, key] = [join(dir, `${name}.crt`), join(dir, `${name}.key`)];
  const kind = algorithm ?? ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256'];
  openssl(
    'req',
    '-x509',
    '-newkey',
    ...kind,
    '-nodes',
    '-keyout',
    key,
    '-out',
    cert,
    '-days',
    '2',
    ...subject(name),
  );
  return { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') };
}

/** The same key, which a passphrase locks. */
export function lockKey(dir: string, name = 'tls'): string {
  const path = join(dir, `${name}.key`);
  return openssl('pkcs8', '-topk8', '-in', path, '-passout', 'pass:hunter2');
}

/** A certificate for 127.0.0.1 whose time is over. */
export function makeExpired(dir: string, name = 'expired'): TlsPair {
  makeCertificate(dir, { name });
  const [cert, key] = [join(dir, `${name}.crt`), join(dir, `${name}.key`)];
  const request = join(dir, `${name}.csr`);
  openssl('req', '-new', '-key', key, '-out', request, '-subj', `/CN=${name}`);
  // `-days` of x509 takes what lies behind us, too.
  openssl('x509', '-req', '-in', request, '-signkey', key, '-out', cert, '-days', '-1');
  return { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') };
}

const subject = (name: string) => ['-subj', `/CN=${name}`, '-addext', 'subjectAltName=IP:127.0.0.1'];

function openssl(...args: string[]): string {
  return execFileSync(OPENSSL, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}
