import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { z } from 'zod';
import { type Stage, STEPS } from '../../src/cli/demo/steps.ts';
import { ClientError, createClient } from '../../src/client/index.ts';
import { defineTool } from '../../src/tools/index.ts';
import { createServer, inProcess } from '../../src/transports/index.ts';
import { request } from '../support/signing.ts';
import { tempFolder } from '../support/temp.ts';
import { start, waybill } from './waybill.ts';

const NAMES = [
  'server_identity',
  'batch_sum',
  'invalid_args',
  'bad_signature',
  'replayed',
  'start_long_task',
];

/** A folder for temporary files of one demo alone, to see that it leaves nothing there. */
function temporary(): { cwd: string; tmp: string; env: Record<string, string> } {
  const cwd = tempFolder();
  const tmp = join(cwd, 'tmp');
  mkdirSync(tmp);
  return { cwd, tmp, env: { TMPDIR: tmp, TMP: tmp, TEMP: tmp } };
}

describe('the steps of the demo', () => {
  test('are not taken for right when they come out otherwise', async () => {
    const schemas = { input: z.looseObject({}), output: z.looseObject({}) };
    const tools = [
      defineTool({
        name: 'batch_sum',
        description: 'Miscounts.',
        ...schemas,
        run: () => ({ count: 3, total: 6 }),
      }),
      defineTool({
        name: 'start_long_task',
        description: 'Forgets.',
        job: true,
        ...schemas,
        run: () => ({}),
      }),
    ];
    const server = await createServer({ tools, store: `sqlite:${tempFolder()}`, serverId: 'demo' });
    onTestFinished(() => server.close());
    const credential = await server.addClient({ id: 'alice', url: 'http://x/' });
    const sent: Uint8Array<ArrayBuffer>[] = [];
    const client = createClient(credential, {
      transport: (bytes, options) => {
        sent.push(bytes);
        return inProcess(server)(bytes, options);
      },
    });
    // Whatever is sent, somebody who knows the keys makes an honest call of it.
    const send: Stage['send'] = async (_bytes, options) => {
      const honest = request(credential, 'batch_sum', {}, { ts_ms: Date.now() });
      return inProcess(server)(new Uint8Array(honest), options);
    };
    const { signal } = new AbortController();
    const stage: Stage = { client, credential: { ...credential, server_id: 'another' }, send, sent, signal };
    for (const { name, run } of STEPS) {
      const right = await run(stage).catch((error: unknown) => {
        expect(error).toBeInstanceOf(ClientError);
        return false;
      });
      expect({ name, right }).toEqual({ name, right: false });
    }
  });
});

describe('waybill demo', () => {
  test('walks the published flow, says what each step shows, and leaves nothing behind', async () => {
    const { cwd, tmp, env } = temporary();
    const { code, stdout, stderr } = await waybill(['demo'], { cwd, env });
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(readdirSync(tmp)).toEqual([]);
    expect(readdirSync(cwd)).toEqual(['tmp']);
    // Plain text: without a terminal there is nothing to steer.
    expect([...stdout].filter((char) => char < ' ' && char !== '\n')).toEqual([]);
    expect(stdout.match(/^\d {2}.*$/gm)).toHaveLength(NAMES.length);
    for (const line of [
      /→ server_identity \{\} +signed [0-9a-f]{8}…$/m,
      /← ok \{"audit_key":"wbp_.*"fingerprint":"[0-9a-f]+.* signed [0-9a-f]{8}…$/m,
      /→ batch_sum \{"numbers":\[1,2,3\.5\]\} +signed/,
      /← ok \{"count":3,"total":6\.5\} +signed/,
      /→ batch_sum \{"numbers":\[\]\}/,
      /← error invalid_args: numbers: /,
      /→ batch_sum \{"numbers":\[1,9,3\.5\]\}/,
      /← error bad_signature: .* not signed$/m,
      /← error replayed: .* signed [0-9a-f]{8}…$/m,
      /← accepted \{"job_id":"job_/,
      /← running \d+ % \(\d+\/16\)$/m,
      /← done \{"report":"spring"\}/,
      /^✓ 6 of 6 steps came out as they must, in \d+\.\d s\.$/m,
    ]) {
      expect(stdout).toMatch(line);
    }
  });

  test('--json gives every step with the real messages of both sides', async () => {
    const { cwd, env } = temporary();
    const { code, stdout, stderr } = await waybill(['demo', '--json'], { cwd, env });
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^[^\n]+\n$/);
    const { ok, steps } = JSON.parse(stdout);
    expect(ok).toBe(true);
    expect(steps.map(({ name }: { name: string }) => name)).toEqual(NAMES);
    for (const step of steps) {
      expect(step).toEqual({
        name: expect.any(String),
        shows: expect.any(String),
        ok: true,
        exchanges: expect.any(Array),
      });
      for (const { sent, got } of step.exchanges) {
        expect(Object.keys(sent)).toHaveLength(9);
        expect(Object.keys(got)).toHaveLength(9);
      }
    }
    const [, honest, , tampered, replayed, job] = steps.map(
      ({ exchanges }: { exchanges: unknown[] }) => exchanges,
    );
    expect(replayed[0].sent).toEqual(honest[0].sent);
    expect(replayed[0].got).toMatchObject({
      ok: false,
      error: expect.stringMatching(/^replayed: /),
      result: null,
    });
    expect(tampered[0].sent).toEqual({ ...honest[0].sent, args: { numbers: [1, 9, 3.5] } });
    expect(tampered[0].got).toMatchObject({
      error: expect.stringMatching(/^bad_signature: /),
      signature: '',
    });
    const statuses = job.map(({ got }: { got: { status: string } }) => got.status);
    expect([...new Set(statuses)]).toEqual(['accepted', 'running', 'done']);
  });

  test('Ctrl-C ends it with exit code 130, and it leaves nothing behind', async () => {
    const { cwd, tmp, env } = temporary();
    const running = start(['demo'], { cwd, env });
    await running.until('stdout', /← running/);
    // As npm does, which passes on what the terminal has sent already.
    running.child.kill('SIGINT');
    running.child.kill('SIGINT');
    const { code, stderr } = await running.ended;
    expect({ code, stderr }).toEqual({
      code: 130,
      stderr: 'waybill: interrupted: the demo has cleaned up after itself\n',
    });
    expect(readdirSync(tmp)).toEqual([]);
  });
});
