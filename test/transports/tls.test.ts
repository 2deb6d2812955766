import { once } from 'node:events';
import { Agent, request } from 'node:https';
import { connect as connectTcp } from 'node:net';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { describe, expect, onTestFinished, test } from 'vitest';
import { SetupError } from '../../src/errors/index.ts';
import { type Listener, listen, type TlsPair } from '../../src/transports/index.ts';
import { hasOpenssl, lockKey, makeCertificate } from '../support/certificates.ts';
import { startServer } from '../support/server.ts';
import { verifiedReply } from '../support/signing.ts';
import { tempFolder } from '../support/temp.ts';
import { openConnection } from './raw-http.ts';
import { serve } from './served.ts';

/** A TLS connection whose peer is trusted by its certificate alone. */
async function open({ port }: Listener, options: ConnectionOptions): Promise<TLSSocket> {
  const socket = connect({ port, host: '127.0.0.1', ...options });
  onTestFinished(() => void socket.destroy());
  await once(socket, 'secureConnect');
  return socket;
}

/** Its common name, as a connection that is made now sees it. */
async function nameOf(listener: Listener, ca: string): Promise<unknown> {
  return (await open(listener, { ca })).getPeerX509Certificate()?.subject;
}

function ask(url: string, ca: string, body: Uint8Array, agent = new Agent()) {
  return new Promise<{ status: number | undefined; hsts: string | undefined; text: string }>(
    (resolve, reject) => {
      onTestFinished(() => agent.destroy());
      const headers = { 'content-type': 'application/json' };
      const sent = request(url, { method: 'POST', ca, agent, headers }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
        const hsts = response.headers['strict-transport-security'];
        response.on('end', () => resolve({ status: response.statusCode, hsts, text }));
      });
      sent.on('error', reject).end(body);
    },
  );
}

describe.skipIf(!hasOpenssl)('listen with tls', () => {
  test('serves calls over HTTPS, and browsers stay with it', async () => {
    const tls = makeCertificate(tempFolder());
    const { peer, listener } = await serve({ tls });
    expect(listener.url).toBe(`https://127.0.0.1:${listener.port}/call`);
    const { status, hsts, text } = await ask(listener.url, tls.cert, peer.request('echo', { text: 'ü' }));
    expect(verifiedReply(text, peer.credential).result).toEqual({ text: 'ü' });
    expect([status, hsts]).toEqual([200, 'max-age=31536000']);
  });

  test('speaks TLS 1.2 and 1.3, nothing older', async () => {
    const tls = makeCertificate(tempFolder());
    const { listener } = await serve({ tls });
    const spoken = async (version: 'TLSv1.1' | 'TLSv1.2' | 'TLSv1.3') => {
      // Or our own side would not offer what is old.
      const ciphers = 'DEFAULT@SECLEVEL=0';
      const options = { ca: tls.cert, minVersion: version, maxVersion: version, ciphers };
      return (await open(listener, options)).getProtocol();
    };
    expect(await spoken('TLSv1.3')).toBe('TLSv1.3');
    expect(await spoken('TLSv1.2')).toBe('TLSv1.2');
    await expect(spoken('TLSv1.1')).rejects.toThrow(/protocol version/);
  });

  test('a peer that speaks plain HTTP gets nothing, and harms nobody', async () => {
    const tls = makeCertificate(tempFolder());
    const { peer, listener } = await serve({ tls });
    const plain = openConnection(listener.port);
    plain.write('GET /livez HTTP/1.1\r\nhost: x\r\n\r\n');
    expect(await plain.next()).toBeNull();
    expect((await ask(listener.url, tls.cert, peer.request('echo'))).status).toBe(200);
  });

  test('silence before the handshake ends, and so does silence after it', async () => {
    const tls = makeCertificate(tempFolder());
    const { listener: hasty } = await serve({ tls, handshakeTimeoutMs: 50 });
    await openConnection(hasty.port).closed;
    // Another one, because a handshake on a busy machine may take longer than that.
    const { listener } = await serve({ tls, headersTimeoutMs: 100, requestTimeoutMs: 100 });
    const silent = await open(listener, { ca: tls.cert });
    silent.write('POST /call HTTP/1.1\r\nhost: x\r\n');
    const [answer] = await once(silent, 'data');
    expect(String(answer)).toMatch(/^HTTP\/1\.1 408 /);
  });

  test('a peer in the middle of its handshake does not keep it from closing', async () => {
    const tls = makeCertificate(tempFolder());
    const { server } = await startServer();
    const listener = await listen(server, { tls, handshakeTimeoutMs: 3_600_000 });
    const silent = connectTcp(listener.port, '127.0.0.1');
    onTestFinished(() => void silent.destroy());
    await once(silent, 'connect');
    // Once this one is through, the server has seen the one before it.
    await open(listener, { ca: tls.cert });
    await listener.close();
    await expect(once(connectTcp(listener.port, '127.0.0.1'), 'connect')).rejects.toThrow('ECONNREFUSED');
  });
});

describe.skipIf(!hasOpenssl)('renewTls', () => {
  test('gives new connections the new certificate, and open ones go on', async () => {
    const dir = tempFolder();
    const [first, second] = ['first', 'second'].map((name) => makeCertificate(dir, { name }));
    if (first === undefined || second === undefined) throw new Error('made none');
    const { peer, listener } = await serve({ tls: first });
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const send = () => ask(listener.url, first.cert, peer.request('echo'), agent);
    expect((await send()).status).toBe(200);
    expect(await nameOf(listener, first.cert)).toBe('CN=first');
    listener.renewTls(second);
    expect(await nameOf(listener, second.cert)).toBe('CN=second');
    await expect(nameOf(listener, first.cert)).rejects.toThrow(/self-signed certificate/);
    expect((await send()).status).toBe(200);
  });

  test('keeps the old one when the new one does not serve', async () => {
    const dir = tempFolder();
    const tls = makeCertificate(dir);
    const { listener } = await serve({ tls });
    const other = makeCertificate(dir, { name: 'other' });
    expect(() => listener.renewTls({ cert: other.cert, key: tls.key })).toThrow(SetupError);
    expect(await nameOf(listener, tls.cert)).toBe('CN=tls');
  });

  test('is a TypeError of a listener without tls', async () => {
    const { listener } = await serve();
    expect(() => listener.renewTls(makeCertificate(tempFolder()))).toThrow(TypeError);
  });
});

describe.skipIf(!hasOpenssl)('listen refuses', () => {
  test.each<[string, (pair: TlsPair, dir: string) => TlsPair, RegExp]>([
    [
      'text that is no certificate',
      ({ key }) => ({ cert: 'hello', key }),
      /^tls\.cert holds no certificate in PEM/,
    ],
    ['an empty certificate', ({ key }) => ({ cert: '', key }), /^tls\.cert holds no certificate in PEM/],
    [
      'the two the wrong way round',
      ({ cert, key }) => ({ cert: key, key: cert }),
      /^tls\.cert holds no certificate/,
    ],
    ['text that is no key', ({ cert }) => ({ cert, key: 'hello' }), /^tls\.key holds no private key in PEM/],
    ['an empty key', ({ cert }) => ({ cert, key: '' }), /^tls\.key holds no private key in PEM/],
    ['a locked key', ({ cert }, dir) => ({ cert, key: lockKey(dir) }), /^tls\.key is locked by a passphrase/],
    [
      'a key of another certificate',
      ({ cert }, dir) => ({ cert, key: makeCertificate(dir, { name: 'other' }).key }),
      /^tls\.key is not the key of the certificate of tls\.cert/,
    ],
    [
      'a key that is too short for TLS',
      (_, dir) => makeCertificate(dir, { name: 'short', algorithm: ['rsa:512'] }),
      /^tls\.cert cannot be served: .*key too small/,
    ],
  ])('%s', async (_what, change, message) => {
    const dir = tempFolder();
    const { server } = await startServer();
    const pair = change(makeCertificate(dir), dir);
    const refused: unknown = await listen(server, { tls: pair }).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(SetupError);
    // Of a SetupError, which it is.
    const said = (refused as SetupError).message;
    expect(said).toMatch(message);
    expect(said).not.toMatch(/\n|hello|MII/);
  });
});
