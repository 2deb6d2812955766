import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { describe, expect, onTestFinished, test } from 'vitest';
import { hasOpenssl, lockKey, makeCertificate, makeExpired } from '../support/certificates.ts';
import { tempFolder } from '../support/temp.ts';
import { assertWrongUse, type Running, serve, snapshot, start, waybill } from './waybill.ts';

const PAIR = ['--tls-cert', 'tls.crt', '--tls-key', 'tls.key'];

/** `waybill serve` with the certificate in the folder. */
async function serveTls(cwd: string, ...args: string[]): Promise<Running & { readonly url: string }> {
  return serve(cwd, ...PAIR, ...args);
}

/** What the certificate that a connection gets now calls itself. */
function nameAt(url: string): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const port = Number(new URL(url).port);
    const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false });
    onTestFinished(() => void socket.destroy());
    socket.once('error', reject);
    socket.once('secureConnect', () => resolve(socket.getPeerX509Certificate()?.subject));
  });
}

describe('an address that other machines reach', () => {
  const said =
    /--host \S+ is reachable from other machines: add --tls-cert FILE --tls-key FILE, or --behind-proxy/;

  test.each<[string[], Record<string, string>]>([
    [['serve', '--host', '0.0.0.0'], {}],
    [['serve', '--host', '::'], {}],
    [['serve', '--host', '192.0.2.1'], {}],
    [['serve', '--host', 'tools.example'], {}],
    [['serve', '--host', '127.0.0.1.example'], {}],
    [['serve'], { WAYBILL_HOST: '0.0.0.0' }],
    [['serve', '--host', '0.0.0.0'], { WAYBILL_BEHIND_PROXY: 'false' }],
    [['wrap', '--host', '0.0.0.0', '--', 'node', 'server.js'], {}],
    [['wrap', '--', 'node', 'server.js'], { WAYBILL_HOST: '0.0.0.0' }],
  ])('is refused without TLS: %j %j', async (args, env) => {
    const cwd = tempFolder();
    assertWrongUse(await waybill(args, { cwd, env }), said);
    expect(snapshot(cwd)).toEqual({});
  });

  test.each<[string[], Record<string, string>]>([
    [['--behind-proxy'], {}],
    [[], { WAYBILL_BEHIND_PROXY: 'true' }],
  ])('is served behind a proxy: %j %j', async (flags, env) => {
    const args = ['serve', '--json', '--port', '0', '--host', '0.0.0.0', ...flags];
    const [line] = await start(args, { cwd: tempFolder(), env }).until('stdout', /^.*\n/);
    expect(JSON.parse(line).url).toMatch(/^http:\/\/0\.0\.0\.0:\d+\/call$/);
  });

  test('leaves --stdio alone, which has none', async () => {
    const env = { WAYBILL_HOST: '0.0.0.0' };
    const ended = await waybill(['serve', '--stdio'], { cwd: tempFolder(), env, stdin: '' });
    expect(ended.code).toBe(0);
  });

  test.each<[string[], Record<string, string>, RegExp]>([
    [['--tls-cert', 'tls.crt'], {}, /--tls-cert needs the private key beside it: add --tls-key FILE/],
    [[], { WAYBILL_TLS_KEY: 'tls.key' }, /--tls-key needs the certificate beside it: add --tls-cert FILE/],
    [['--tls-cert', ''], {}, /It must not be empty/],
    [[], { WAYBILL_BEHIND_PROXY: 'yes' }, /WAYBILL_BEHIND_PROXY must be true or false/],
    [[], { WAYBILL_BEHIND_PROXY: '' }, /WAYBILL_BEHIND_PROXY must be true or false/],
    [['--behind-proxy', '--mcp-anonymous', 'a'], {}, /--mcp-anonymous .*: it is not for --behind-proxy/],
    [['--stdio', ...PAIR], {}, /--stdio leaves no use for --tls-cert/],
    [['--stdio', '--behind-proxy'], {}, /--stdio leaves no use for --behind-proxy/],
  ])('is told what is missing or too much: %j %j', async (args, env, message) => {
    const cwd = tempFolder();
    assertWrongUse(await waybill(['serve', ...args], { cwd, env }), message);
    expect(snapshot(cwd)).toEqual({});
  });

  test.skipIf(!hasOpenssl)('stays closed to --mcp-anonymous, with TLS too', async () => {
    const cwd = tempFolder();
    makeCertificate(cwd);
    const args = ['serve', '--host', '0.0.0.0', ...PAIR, '--mcp-anonymous', 'a'];
    assertWrongUse(await waybill(args, { cwd }), /loopback --host only/);
  });
});

describe.skipIf(!hasOpenssl)('waybill serve with a certificate', () => {
  test('serves HTTPS; clients trust a private authority that NODE_EXTRA_CA_CERTS names, and no other', async () => {
    const cwd = tempFolder();
    makeCertificate(cwd);
    const { url } = await serveTls(cwd, '--host', '0.0.0.0');
    const port = new URL(url).port;
    expect(url).toBe(`https://0.0.0.0:${port}/call`);
    const at = `https://127.0.0.1:${port}/call`;
    await waybill(['clients', 'add', 'alice', '--url', at, '--out', 'alice.json'], { cwd });
    const call = ['call', 'batch_sum', '{"numbers":[1,2]}', '--credential', 'alice.json'];
    const trusting = await waybill(call, { cwd, env: { NODE_EXTRA_CA_CERTS: 'tls.crt' } });
    expect(JSON.parse(trusting.stdout)).toEqual({ count: 2, total: 3 });
    const doubting = await waybill([...call, '--timeout-ms', '5000'], { cwd });
    expect(doubting).toMatchObject({
      code: 3,
      stderr: expect.stringContaining('DEPTH_ZERO_SELF_SIGNED_CERT'),
    });
  });

  test('reads it again at SIGHUP, and keeps the old one when the new one does not serve', async () => {
    const cwd = tempFolder();
    makeCertificate(cwd);
    const { url, child, until, output } = await serveTls(cwd);
    expect(await nameAt(url)).toBe('CN=tls');
    const other = makeCertificate(cwd, { name: 'renewed' });
    writeFileSync(join(cwd, 'tls.crt'), other.cert);
    child.kill('SIGHUP');
    await until('stderr', /"--tls-key tls\.key is not the key of .*"SIGHUP: the old certificate stays"/);
    expect(await nameAt(url)).toBe('CN=tls');
    writeFileSync(join(cwd, 'tls.key'), other.key);
    child.kill('SIGHUP');
    await until('stderr', /(TLS certificate read[^]*){2}/);
    expect(await nameAt(url)).toBe('CN=renewed');
    expect(output.stderr).not.toMatch(/PRIVATE|MII/);
  });

  test('says when its time is over', async () => {
    const cwd = tempFolder();
    makeExpired(cwd, 'tls');
    const { output } = await serveTls(cwd);
    await expect.poll(() => output.stderr).toMatch(/"level":"warn".*the certificate has expired/);
  });

  test('refuses files that do not serve, and has changed nothing', async () => {
    const cwd = tempFolder();
    makeCertificate(cwd);
    writeFileSync(join(cwd, 'locked.key'), lockKey(cwd), { mode: 0o600 });
    writeFileSync(join(cwd, 'open.key'), 'x', { mode: 0o600 });
    chmodSync(join(cwd, 'open.key'), 0o644);
    makeCertificate(cwd, { name: 'other' });
    mkdirSync(join(cwd, 'folder'));
    const before = snapshot(cwd);
    const cases: readonly (readonly [cert: string, key: string, RegExp])[] = [
      ['none.crt', 'tls.key', /cannot read --tls-cert none\.crt: there is no such file/],
      ['folder', 'tls.key', /cannot read --tls-cert folder: it is a folder/],
      ['tls.crt', 'none.key', /cannot read TLS key none\.key: there is no such file/],
      [
        'tls.crt',
        'open.key',
        /TLS key open\.key is open to other users \(mode 644\): run chmod 600 open\.key/,
      ],
      ['tls.crt', 'locked.key', /--tls-key locked\.key is locked by a passphrase/],
      [
        'tls.crt',
        'other.key',
        /--tls-key other\.key is not the key of the certificate of --tls-cert tls\.crt/,
      ],
      ['tls.key', 'tls.key', /--tls-cert tls\.key holds no certificate in PEM/],
      [
        'tls.crt',
        'tls.crt',
        /TLS key tls\.crt is open to other users|--tls-key tls\.crt holds no private key/,
      ],
    ];
    for (const [cert, key, message] of cases) {
      const args = ['serve', '--port', '0', '--tls-cert', cert, '--tls-key', key];
      assertWrongUse(await waybill(args, { cwd }), message);
    }
    expect(snapshot(cwd)).toEqual(before);
    expect(existsSync(join(cwd, '.waybill'))).toBe(false);
  });
});
