import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parseCredential } from '../../src/client/index.ts';
import { createServer } from '../../src/server/index.ts';
import { tempFolder } from '../support/temp.ts';
import { serve, waybill } from './waybill.ts';

describe('waybill clients add', () => {
  test('prints a credential once, that a running server believes', async () => {
    const cwd = tempFolder();
    const { url } = await serve(cwd, '--server-id', 'one', '--data', 'd');
    const added = await waybill(
      ['clients', 'add', 'alice', '--server-id', 'one', '--data', 'd', '--url', url],
      { cwd },
    );
    expect(added.code).toBe(0);
    const credential = parseCredential(added.stdout);
    expect(credential).toMatchObject({ client_id: 'alice', server_id: 'one', url });
    expect(credential.request_key).toMatch(/^wb_/);
    expect(credential.response_key).not.toBe(credential.request_key);
    writeFileSync(join(cwd, 'alice.json'), added.stdout, { mode: 0o600 });
    const called = await waybill(
      ['call', 'batch_sum', '{"numbers":[1,2]}', '--credential', 'alice.json', '--json'],
      { cwd },
    );
    expect(called).toEqual({ code: 0, stdout: '{"count":2,"total":3}\n', stderr: '' });
  });

  test('--json prints it as one line; --out writes it for its owner only and prints no secret', async () => {
    const cwd = tempFolder();
    const [json, out] = await Promise.all([
      waybill(['clients', 'add', 'a', '--json'], { cwd }),
      waybill(['clients', 'add', 'b', '--json', '--out', 'b.json'], { cwd }),
    ]);
    expect(json).toMatchObject({ code: 0, stderr: '' });
    expect(json.stdout).toMatch(/^[^\n]+\n$/);
    expect(parseCredential(json.stdout)).toMatchObject({ client_id: 'a', url: 'http://127.0.0.1:8080/call' });
    const written = parseCredential(readFileSync(join(cwd, 'b.json'), 'utf8'));
    expect(statSync(join(cwd, 'b.json')).mode & 0o777).toBe(0o600);
    expect(out).toMatchObject({ code: 0, stderr: '' });
    expect(JSON.parse(out.stdout)).toEqual({
      client_id: 'b',
      server_id: 'waybill',
      url: written.url,
      file: 'b.json',
    });
  });

  test('--out says where the client will look for the server', async () => {
    const url = 'https://acme.example/call';
    const args = ['clients', 'add', 'a', '--server-id', 'acme', '--url', url, '--out', 'a.json'];
    expect((await waybill(args, { cwd: tempFolder() })).stdout).toBe(
      `a.json is the credential of client a for server acme at ${url}\n`,
    );
  });

  test('takes two secrets of the operator’s own, without the line feed at the end of their files', async () => {
    const cwd = tempFolder();
    const secrets = { request: 'Zq3-vV8_kL2.xN7+tB5/rM9=wJ4~hG6*', response: ' pass phrase\twith spaces ' };
    writeFileSync(join(cwd, 'request'), `${secrets.request}\n`, { mode: 0o600 });
    writeFileSync(join(cwd, 'response'), `${secrets.response}\r\n`, { mode: 0o600 });
    const env = { WAYBILL_REQUEST_KEY_FILE: 'request', WAYBILL_RESPONSE_KEY_FILE: 'response' };
    const added = await waybill(['clients', 'add', 'a', '--allow-weak-key', '--json'], { cwd, env });
    expect(JSON.parse(added.stdout)).toMatchObject({
      request_key: secrets.request,
      response_key: secrets.response,
    });
  });

  test('refuses an id that is taken, and takes back the file that it made', async () => {
    const cwd = tempFolder();
    await waybill(['clients', 'add', 'a', '--out', 'a.json'], { cwd });
    const before = readFileSync(join(cwd, 'a.json'), 'utf8');
    const again = await waybill(['clients', 'add', 'a', '--out', 'second.json'], { cwd });
    expect(again).toEqual({
      code: 2,
      stdout: '',
      stderr: 'waybill: client a exists already: choose another id\n',
    });
    expect(() => statSync(join(cwd, 'second.json'))).toThrow('ENOENT');
    expect(readFileSync(join(cwd, 'a.json'), 'utf8')).toBe(before);
  });
});

describe('waybill clients list', () => {
  test('lists the clients of a folder beside its server, with fingerprints and without secrets', async () => {
    const cwd = tempFolder();
    const server = await createServer({ tools: [], store: `sqlite:${join(cwd, 'd')}`, serverId: 'one' });
    const { request_key, response_key } = await server.addClient({ id: 'bob', url: 'http://x/' });
    const [text, json] = await Promise.all([
      waybill(['clients', 'list', '--data', 'd'], { cwd }),
      waybill(['clients', 'list', '--data', 'd', '--json'], { cwd }),
    ]);
    await server.close();
    expect(text).toMatchObject({ code: 0, stderr: '' });
    expect(text.stdout).toMatch(/^bob {2}\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC {2}[0-9a-f]{32}\n$/);
    expect(JSON.parse(json.stdout)).toEqual({
      server_id: 'one',
      clients: [
        {
          client_id: 'bob',
          created_ms: expect.any(Number),
          fingerprint: expect.stringMatching(/^[0-9a-f]{32}$/),
        },
      ],
    });
    for (const secret of [request_key, response_key]) expect(text.stdout + json.stdout).not.toContain(secret);
  });
});
