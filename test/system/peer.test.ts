import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { canonicalize } from '../../src/wire/index.ts';
import { anyFiniteNumber, anyJson } from '../wire/arbitraries.ts';
import { makeFolder, SERVER_ID, startServer } from './server-process.ts';

const PEER = fileURLToPath(new URL('peer.py', import.meta.url));
const JCS_VECTORS = fileURLToPath(new URL('../../../shared/vectors/jcs', import.meta.url));
const python = spawnSync('python3', ['--version']).status === 0 ? 'python3' : null;

if (python === null) {
  console.warn(
    'SKIPPED: python3 is not installed, so no client in another language was run (test/system/peer.test.ts)',
  );
}

/** One line that the peer printed: a step, the reply it got, and what it found about it. */
interface Step {
  readonly step: string;
  readonly verified: boolean;
  readonly http_status: number;
  readonly ok: boolean;
  readonly status: string;
  readonly result: Result | null;
  readonly error: string | null;
  readonly [fact: string]: unknown;
}

/** The members of results that tests look into. */
interface Result {
  readonly job_id?: string;
  readonly progress?: { readonly completed: number } | null;
  readonly tools?: readonly { readonly name: string }[];
  readonly jobs?: readonly { readonly job_id: string }[];
}

function runPeer(args: readonly string[], input = ''): Promise<string> {
  const child = spawn('python3', [PEER, ...args]);
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  child.stdin.end(input);
  return new Promise((resolve, reject) => {
    child.on('close', (code) =>
      code === 0 ? resolve(stdout) : reject(new Error(`the peer failed: ${stderr}`)),
    );
  });
}

describe.skipIf(python === null)('canonical JSON of a peer written from the protocol, in Python', () => {
  async function textsOf(
    values: readonly unknown[],
    way: 'canonical' | 'short' = 'canonical',
  ): Promise<string[]> {
    const lines = await runPeer([way], values.map((value) => `${JSON.stringify(value)}\n`).join(''));
    return lines.split('\n').slice(0, -1);
  }

  test('both write the same text for any JSON value', async () => {
    const seed = Date.now();
    const values = fc.sample(anyJson, { numRuns: 2_000, seed });
    expect(await textsOf(values), `seed ${seed}`).toEqual(values.map((value) => canonicalize(value)));
  });

  test('both write the same text for any double', async () => {
    const seed = Date.now();
    const numbers = fc.sample(anyFiniteNumber, { numRuns: 10_000, seed });
    expect(await textsOf(numbers), `seed ${seed}`).toEqual(numbers.map((number) => canonicalize(number)));
  });

  test('json.dumps writes it too, within the bounds of §11', async () => {
    const seed = Date.now();
    // Each bound as §11 states it; the ends of the range below 1e-4 are tried on purpose.
    const isIn = (number: number) => {
      const size = Math.abs(number);
      return Number.isInteger(number) ? size < 2 ** 53 : size >= 1e-4 || size < 1e-9;
    };
    const number = fc.oneof(
      anyFiniteNumber.filter(isIn),
      fc.double({ min: -1e16, max: 1e16, noNaN: true }).filter(isIn),
      fc.constantFrom(1e-4, 9.999999999999999e-10, 2 ** 53 - 1, -(2 ** 53) + 1, 0.1 + 0.2),
    );
    const letter = fc.integer({ min: 0, max: 0x7e }).map((code) => String.fromCharCode(code));
    const text = fc.string({ unit: letter }).filter((name) => name !== '__proto__');
    const scalar = fc.oneof(number, text, fc.constantFrom(null, true, false));
    const value = fc.array(fc.dictionary(text, fc.oneof(scalar, fc.array(scalar))));
    const values = fc.sample(value, { numRuns: 1_000, seed });
    expect(await textsOf(values, 'short'), `seed ${seed}`).toEqual(values.map((each) => canonicalize(each)));
  });

  test('json.dumps writes another text just outside of the bounds of §11', async () => {
    const outside = [['Zoë'], ['\u007f'], [1e-5], [9.99e-5], [1e-9], [2 ** 53 * 2 ** 10], [1e20]];
    const texts = await textsOf(outside, 'short');
    expect(outside.filter((value, index) => texts[index] === canonicalize(value))).toEqual([]);
  });

  test.skipIf(!existsSync(JCS_VECTORS))('the peer passes the test data of RFC 8785', async () => {
    const names = readdirSync(join(JCS_VECTORS, 'input'));
    const read = (folder: string) =>
      names.map((name) => readFileSync(join(JCS_VECTORS, folder, name), 'utf8'));
    expect(await textsOf(read('input').map((text) => JSON.parse(text)))).toEqual(
      read('output').map((text) => text.trimEnd()),
    );
  });
});

describe.skipIf(python === null)('the published flow, walked by a client in Python', () => {
  const steps: Step[] = [];
  const called = (name: string): Step[] => steps.filter(({ step }) => step === name);

  function only(name: string): Step {
    const [step, ...others] = called(name);
    if (step === undefined || others.length > 0) throw new Error(`${others.length + 1} steps ${name}`);
    return step;
  }

  const answer = (result: unknown) => ({ verified: true, http_status: 200, ok: true, status: 'ok', result });
  const refusal = (code: string, http_status: number) => ({
    verified: true,
    http_status,
    ok: false,
    status: 'error',
    error: expect.stringMatching(`^${code}: .`),
  });
  const unsignedRefusal = (code: string, http_status: number) => ({
    ...refusal(code, http_status),
    verified: false,
    result: null,
  });

  beforeAll(async () => {
    const folder = makeFolder();
    const { file } = await folder.addClient('python-agent');
    const { file: otherFile } = await folder.addClient('another-agent');
    const server = await startServer(folder, null);
    const lines = await runPeer(['walk', server.url, file, otherFile]);
    for (const line of lines.split('\n').slice(0, -1)) steps.push(JSON.parse(line));
    server.kill('SIGTERM');
    await server.exited;
  });

  test('every reply verifies, but for those that are sent before the MAC holds', () => {
    const unverified = steps.filter(({ verified }) => !verified).map(({ step }) => step);
    expect(unverified).toEqual([
      'json.dumps floats',
      'integer no double holds',
      'tampered',
      'unknown client',
      'key of another client',
      'bad_envelope',
      'unsupported_media_type',
    ]);
    expect(steps.at(-1)?.step).toBe('foreign list');
  });

  test('server_identity names the server and proves its response key by the fingerprint', () => {
    expect(only('server_identity')).toMatchObject(
      answer({
        server_id: SERVER_ID,
        fingerprint: expect.stringMatching(/^[0-9a-f]{32}$/),
        capabilities: { async: true, stateless: true, versions: ['mcp/0.1'] },
      }),
    );
    expect(only('fingerprint')['matches']).toBe(true);
  });

  test('list_tools shows the built-in tools and those of the example', () => {
    const { result } = only('list_tools');
    const names = result?.tools?.map(({ name }) => name);
    const builtIn = [
      'answer_job',
      'cancel_job',
      'explain_call',
      'list_jobs',
      'list_tools',
      'poll_job',
      'server_identity',
    ];
    expect(names).toEqual([...builtIn, 'batch_sum', 'start_long_task'].sort());
  });

  test('batch_sum adds integers, floats and doubles beyond every integer', () => {
    expect(only('batch_sum')).toMatchObject(answer({ count: 3, total: 6.5 }));
    expect(only('batch_sum floats')).toMatchObject(answer({ count: 3, total: 3.00001 }));
    expect(only('batch_sum large')).toMatchObject(answer({ count: 3, total: 1e21 + 1e16 + (2 ** 53 + 2) }));
    expect(only('batch_sum small')).toMatchObject(answer({ count: 3, total: 1.5e-7 }));
  });

  test('a form that is not canonical, and an integer that no double holds, never verify', () => {
    expect(only('json.dumps floats')).toMatchObject(unsignedRefusal('bad_signature', 401));
    expect(only('integer no double holds')).toMatchObject(unsignedRefusal('bad_signature', 401));
  });

  test('arguments that break the schema are refused with their issues', () => {
    const issues = [{ path: expect.stringContaining('numbers'), message: expect.any(String) }];
    expect(only('invalid_args')).toMatchObject({ ...refusal('invalid_args', 422), result: { issues } });
    expect(only('unknown_tool')).toMatchObject(refusal('unknown_tool', 404));
  });

  test('a tampered request, an unknown client and the key of another get one and the same bad_signature', () => {
    const forged = ['tampered', 'unknown client', 'key of another client'].map(only);
    for (const step of forged) expect(step).toMatchObject(unsignedRefusal('bad_signature', 401));
    expect(new Set(forged.map(({ error }) => error)).size).toBe(1);
  });

  test('a captured request sent again is replayed and fetches nothing', () => {
    expect(only('captured')).toMatchObject(answer({ count: 2, total: 3 }));
    expect(only('replayed')).toMatchObject({ ...refusal('replayed', 409), result: null });
  });

  test('a request for another server is refused, signed', () => {
    expect(only('wrong_server')).toMatchObject(refusal('wrong_server', 421));
  });

  test('a tenth member and another media type are refused before the MAC', () => {
    expect(only('bad_envelope')).toMatchObject(unsignedRefusal('bad_envelope', 400));
    expect(only('unsupported_media_type')).toMatchObject(unsignedRefusal('unsupported_media_type', 415));
  });

  test('a client with a wrong clock corrects it from the stale reply and retries the same request_id', () => {
    const stale = only('stale');
    const corrected = only('corrected');
    expect(stale).toMatchObject(refusal('stale', 400));
    expect(corrected).toMatchObject({ ...answer({ count: 2, total: 3 }), request_id: stale['request_id'] });
    expect(Math.round(Number(corrected['skew_ms']) / 60_000)).toBe(60);
  });

  test('a job is accepted, reports progress while it runs, and gives its payload back', () => {
    const job_id = expect.stringMatching(/.{16,}/);
    const accepted = { verified: true, http_status: 202, ok: true, status: 'accepted', error: null };
    expect(only('start_long_task')).toMatchObject({
      ...accepted,
      result: { job_id, poll_after_ms: expect.any(Number) },
    });
    expect(['accepted', 'running']).toContain(only('poll at once').status);

    const polls = called('poll');
    const completed = polls.flatMap(({ status, result }) =>
      status === 'running' ? [result?.progress?.completed ?? 0] : [],
    );
    expect(polls.at(-1)?.status).toBe('done');
    expect(Math.max(...completed)).toBeGreaterThan(0);
    expect(completed).toEqual([...completed].sort((a, b) => a - b));
    expect(only('done')['is_payload']).toBe(true);
  });

  test('a retry of the same request_id gets the same job, other args under it are a conflict', () => {
    const retry = only('retry');
    expect(retry).toMatchObject({ verified: true, http_status: 202, ok: true, status: 'accepted' });
    expect(retry.result?.job_id).toBe(retry['same_job']);
    expect(only('conflict')).toMatchObject(refusal('request_id_conflict', 422));
  });

  test('a cancelled job answers polls with ok and the error cancelled', () => {
    const cancelled = only('cancel_job');
    expect(cancelled).toMatchObject(answer({ job_id: cancelled['cancelled_job'], status: 'cancelled' }));
    const poll = {
      verified: true,
      http_status: 200,
      ok: true,
      status: 'error',
      error: expect.stringMatching(/^cancelled: ./),
    };
    expect(only('poll cancelled')).toMatchObject({ ...poll, result: null });
  });

  test('list_jobs shows the jobs of this client and of no other', () => {
    const list = only('list_jobs');
    const ids = list.result?.jobs?.map(({ job_id }) => job_id);
    // Newest first.
    expect(ids?.toReversed()).toEqual(list['started']);
    expect(only('foreign list').result?.jobs).toEqual([]);
  });

  test('the job of another client and an unknown job get the same not_found', () => {
    const strip = ({ step: _step, ts_ms: _ts, ...rest }: Step) => rest;
    expect(only('foreign job')).toMatchObject(refusal('not_found', 404));
    expect(strip(only('foreign job'))).toEqual(strip(only('unknown job')));
    expect(strip(only('foreign cancel'))).toEqual(strip(only('unknown job')));
  });
});
