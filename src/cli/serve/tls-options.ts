import { readFileSync } from 'node:fs';
import { isIPv4 } from 'node:net';
import { type Command, Option } from 'commander';
import { SetupError } from '../../errors/index.ts';
import type { Listener, TlsPair } from '../../transports/index.ts';
import { filled } from '../options.ts';
import { readSecretFile, reasonOf } from '../read-file.ts';
import type { Service } from './service.ts';

/** Who may read along: TLS here, TLS in a proxy, or an address that nobody but this machine reaches. */

export interface TlsFlags {
  readonly host: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly behindProxy?: true;
  readonly stdio?: true;
  readonly mcpAnonymous?: string;
}

const PROXY_VARIABLE = 'WAYBILL_BEHIND_PROXY';

export function addTlsOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--tls-cert <file>', 'certificate in PEM, with its chain: HTTPS in place of HTTP')
        .env('WAYBILL_TLS_CERT')
        .argParser(filled),
    )
    .addOption(
      new Option('--tls-key <file>', 'its private key in PEM, readable by you alone')
        .env('WAYBILL_TLS_KEY')
        .argParser(filled),
    )
    .addOption(
      new Option('--behind-proxy', 'plain HTTP on any --host: only a proxy with TLS can reach it').env(
        PROXY_VARIABLE,
      ),
    );
}

/** Two files that are read at the start, and again at SIGHUP. */
export interface TlsFiles {
  readonly cert: string;
  readonly key: string;
}

/**
 * The certificate to serve with, or null for plain HTTP.
 *
 * @throws Failure when strangers could read along, or options contradict each other
 */
export function tlsFiles(command: Command, options: TlsFlags): TlsFiles | null {
  const { host, tlsCert: cert, tlsKey: key, stdio, mcpAnonymous } = options;
  const behindProxy = isBehindProxy(command, options);
  if (stdio) return null;
  if (behindProxy && mcpAnonymous !== undefined)
    command.error('--mcp-anonymous lets everybody in whom the proxy lets in: it is not for --behind-proxy');
  if (cert !== undefined && key !== undefined) return { cert, key };
  if (cert !== undefined) command.error('--tls-cert needs the private key beside it: add --tls-key FILE');
  if (key !== undefined) command.error('--tls-key needs the certificate beside it: add --tls-cert FILE');
  if (!behindProxy && !isLoopback(host))
    command.error(
      `--host ${host} is reachable from other machines: add --tls-cert FILE --tls-key FILE, or --behind-proxy if only a proxy with TLS can reach it`,
    );
  return null;
}

/** Of a flag without a value commander only sees that its variable is set. */
function isBehindProxy(command: Command, { behindProxy }: TlsFlags): boolean {
  if (command.getOptionValueSource('behindProxy') !== 'env') return behindProxy === true;
  const value = process.env[PROXY_VARIABLE];
  if (value !== 'true' && value !== 'false') command.error(`${PROXY_VARIABLE} must be true or false`);
  return value === 'true';
}

/** Does this machine alone reach what listens there? */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIPv4(host) && host.startsWith('127.'));
}

/** Reads both files. @throws SetupError when one cannot be read, or they do not serve */
export async function loadTls({ cert, key }: TlsFiles, log: Service['log']): Promise<TlsPair> {
  const { checkTls } = await import('../../transports/tls.ts');
  const pair = { cert: readCertificate(cert), key: readSecretFile(key, 'TLS key') };
  const { validTo } = checkTls(pair, { cert: `--tls-cert ${cert}`, key: `--tls-key ${key}` });
  if (Date.parse(validTo) < Date.now())
    log.warn({ cert, valid_to: validTo }, 'the certificate has expired: clients will refuse it');
  else log.info({ cert, valid_to: validTo }, 'TLS certificate read');
  return pair;
}

/** No secret: others may read it. */
function readCertificate(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new SetupError(`cannot read --tls-cert ${path}: ${reasonOf(error)}`);
  }
}

/** At SIGHUP the files are read again, so that a renewed certificate needs no restart. */
export function renewAtHangUp({ renewTls }: Listener, files: TlsFiles, log: Service['log']): void {
  process.on('SIGHUP', () => {
    loadTls(files, log)
      .then(renewTls)
      .catch((error: unknown) => {
        // It holds no secret: those of files are never in messages.
        const reason = error instanceof Error ? error.message : String(error);
        log.warn({ reason }, 'SIGHUP: the old certificate stays');
      });
  });
}
