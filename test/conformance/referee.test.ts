import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { canonical, withSignature } from '../../conformance/runner/canonical.ts';
import { Failure, Unreachable } from '../../conformance/runner/endpoint.ts';
import { type Credential, hmac } from '../../conformance/runner/keys.ts';
import { allCases, selfCheck } from '../../conformance/runner/suites.ts';
import { defineTool } from '../../src/index.ts';
import { createServer, type Server } from '../../src/transports/index.ts';

interface Answer {
  readonly http: number;
  readonly type: string;
  readonly body: string;
}

type Members = Record<string, unknown>;

/** What a broken server does differently; `request` and `answer` are left alone where it says nothing. */
interface Fault {
  readonly request?: (bytes: Buffer) => Buffer;
  readonly answer?: (answer: Answer) => Answer;
}

const ECHO = 'conformance/echo';
const value = z.strictObject({ value: z.unknown() });
const tools = [
  defineTool({
    name: ECHO,
    description: 'Gives its value back.',
    annotations: { readOnlyHint: true },
    input: value,
    output: value,
    run: (args) => args,
  }),
  defineTool({
    name: 'conformance/crash',
    description: 'Breaks.',
    annotations: { readOnlyHint: true },
    input: z.strictObject({}),
    output: z.strictObject({}),
    run() {
      throw new Error('conformance-detail');
    },
  }),
];

const dir = mkdtempSync(join(tmpdir(), 'waybill-referee-'));
const silent = { debug() {}, info() {}, warn() {}, error() {} };
let server: Server;
let credential: Credential;
let fault: Fault = {};

/** A real server behind a door that can be made to misbehave. */
const door = createHttpServer((request, response) => {
  void buffer(request).then(async (bytes) => {
    const isJson = (request.headers['content-type'] ?? '').startsWith('application/json');
    const sent = fault.request?.(bytes) ?? bytes;
    const { httpStatus, body } = isJson
      ? await server.handle(sent)
      : { httpStatus: 415, body: unsupported() };
    const plain: Answer = { http: httpStatus, type: 'application/json', body };
    const { http, type, body: text } = fault.answer?.(plain) ?? plain;
    response.writeHead(http, { 'content-type': type });
    response.end(text);
  });
});

function unsupported(): string {
  const rest = { v: 'mcp/0.1', request_id: '-', ts_ms: Date.now(), server_id: server.serverId };
  const error = 'unsupported_media_type: send application/json';
  return JSON.stringify({ ...rest, ok: false, status: 'error', result: null, error, signature: '' });
}

beforeAll(async () => {
  server = await createServer({ tools, store: `sqlite:${dir}`, serverId: 'referee', log: silent });
  await new Promise<void>((resolve) => door.listen(0, '127.0.0.1', resolve));
  // A TCP server that listens has an AddressInfo.
  const { port } = door.address() as AddressInfo;
  credential = await server.addClient({ id: 'agent-1', url: `http://127.0.0.1:${port}/call` });
});

afterAll(async () => {
  await new Promise((resolve) => door.close(resolve));
  await server.close();
  rmSync(dir, { recursive: true, force: true });
});

/** A reply with other members, properly signed again if it was signed. */
function rewrite(change: (members: Members) => Members, secret?: string): (answer: Answer) => Answer {
  return (answer) => {
    const { signature, ...members } = JSON.parse(answer.body);
    const text = canonical(change(members));
    return {
      ...answer,
      body: withSignature(text, signature === '' ? '' : hmac(secret ?? credential.response_key, text)),
    };
  };
}

/** A request as a careless server reads it, signed anew so that the real one behind it takes it. */
function reread(change: (members: Members) => Members): (bytes: Buffer) => Buffer {
  return (bytes) => {
    const { signature, ...members } = JSON.parse(bytes.toString('utf8'));
    const held = hmac(credential.request_key, canonical(members)) === signature;
    const text = canonical(change(members));
    return Buffer.from(withSignature(text, held ? hmac(credential.request_key, text) : String(signature)));
  };
}

/** What a server that does not look at the signature makes of a request. */
function signAnew(bytes: Buffer): Buffer {
  const { signature: _signature, ...members } = JSON.parse(bytes.toString('utf8'));
  const text = canonical(members);
  return Buffer.from(withSignature(text, hmac(credential.request_key, text)));
}

/** The referee's word on one case: null for a pass, else why it failed. */
async function judge(name: string): Promise<string | null> {
  const found = allCases(credential, new Set(tools.map((tool) => tool.name))).filter(
    (one) => one.name === name,
  );
  const [one] = found;
  if (one === undefined || found.length > 1 || one.skip !== null)
    throw new Error(`no such case here: ${name}`);
  try {
    await one.run();
    return null;
  } catch (error) {
    if (error instanceof Failure || error instanceof Unreachable) return error.message;
    throw error;
  }
}

test('the referee holds to the vectors itself', () => {
  expect(selfCheck()).toBeNull();
});

const DOUBLED = 'a doubled name in args';
const REPLAY = 'replayed, the very same bytes';
const NONCE = 'replayed, the same nonce in another message';
const CHANGED = 'bad_signature for each member that was changed after signing';

const FAULTS: readonly (readonly [does: string, name: string, fault: () => Fault, says: RegExp])[] = [
  [
    'signs with the request key',
    'server_identity',
    () => ({ answer: rewrite((m) => m, credential.request_key) }),
    /does not hold under the response key/,
  ],
  [
    'flips a digit of its signature',
    'server_identity',
    () => ({
      answer: (a) => ({ ...a, body: a.body.replace(/.(?="\}$)/, (digit) => (digit === '0' ? '1' : '0')) }),
    }),
    /does not hold/,
  ],
  [
    'changes a result after signing',
    'server_identity',
    () => ({ answer: (a) => ({ ...a, body: a.body.replace('"async":true', '"async":false') }) }),
    /does not hold/,
  ],
  [
    'writes members in its own order',
    'server_identity',
    () => ({
      answer: (a) => ({
        ...a,
        body: JSON.stringify(Object.fromEntries(Object.entries(JSON.parse(a.body)).toReversed())),
      }),
    }),
    /not written in canonical form/,
  ],
  [
    'escapes what is not ASCII',
    `write: scripts and emoji`,
    () => ({ answer: (a) => ({ ...a, body: a.body.replaceAll('Д', '\\u0414') }) }),
    /not written in canonical form/,
  ],
  [
    'writes 1.0 for 1',
    'write: integral floats lose their fraction',
    () => ({ answer: (a) => ({ ...a, body: a.body.replace('[1,', '[1.0,') }) }),
    /not written in canonical form/,
  ],
  [
    'answers another request',
    'server_identity',
    () => ({ answer: rewrite((m) => ({ ...m, request_id: randomUUID() })) }),
    /the reply answers/,
  ],
  [
    'calls itself otherwise',
    'server_identity',
    () => ({ answer: rewrite((m) => ({ ...m, server_id: 'other' })) }),
    /wrong server_id/,
  ],
  [
    'has a clock that is an hour off',
    'server_identity',
    () => ({ answer: rewrite((m) => ({ ...m, ts_ms: Number(m['ts_ms']) - 3_600_000 })) }),
    /wrong ts_ms/,
  ],
  [
    'speaks another version',
    'server_identity',
    () => ({ answer: rewrite((m) => ({ ...m, v: 'mcp/0.2' })) }),
    /wrong v/,
  ],
  [
    'adds a member',
    'server_identity',
    () => ({ answer: rewrite((m) => ({ ...m, extra: 1 })) }),
    /has the members .*extra/,
  ],
  [
    'leaves a member out',
    'server_identity',
    () => ({ answer: rewrite(({ error: _error, ...rest }) => rest) }),
    /has the members ok/,
  ],
  [
    'shows a wrong fingerprint',
    'server_identity',
    () => ({
      answer: rewrite((m) => ({ ...m, result: { ...Object(m['result']), fingerprint: '0'.repeat(32) } })),
    }),
    /result is/,
  ],
  [
    'says status done for a direct call',
    'list_tools',
    () => ({ answer: rewrite((m) => ({ ...m, status: 'done' })) }),
    /status is done, not ok/,
  ],
  [
    'answers everything with HTTP 200',
    'unknown_tool',
    () => ({ answer: (a) => ({ ...a, http: 200 }) }),
    /HTTP status is 200, not 404/,
  ],
  [
    'answers with another content type',
    'server_identity',
    () => ({ answer: (a) => ({ ...a, type: 'text/html' }) }),
    /content type "text\/html"/,
  ],
  ['answers no JSON', 'server_identity', () => ({ answer: (a) => ({ ...a, body: 'OK' }) }), /not JSON: "OK"/],
  [
    'does not sign its refusals',
    'unknown_tool',
    () => ({ answer: (a) => ({ ...a, body: a.body.replace(/[0-9a-f]{64}"\}$/, '"}') }) }),
    /signed is false, not true/,
  ],
  [
    'signs what it could not authenticate',
    DOUBLED,
    () => ({
      answer: (a) => ({
        ...a,
        body: a.body.replace(
          '"signature":""',
          `"signature":"${hmac(credential.response_key, a.body.replace(',"signature":""', ''))}"`,
        ),
      }),
    }),
    /the reply is signed/,
  ],
  [
    'gives another code',
    'unknown_tool',
    () => ({ answer: rewrite((m) => ({ ...m, error: 'forbidden: no' })) }),
    /code is forbidden, not unknown_tool/,
  ],
  [
    'says which of client and signature was wrong',
    'bad_signature says the same for an unknown client and for a wrong MAC',
    () => ({ answer: rewrite((m) => ({ ...m, error: `bad_signature: ${randomUUID()}` })) }),
    /error is bad_signature/,
  ],
  [
    'leaks what a tool threw',
    'internal, when a tool breaks',
    () => ({ answer: rewrite((m) => ({ ...m, error: 'internal: Error: conformance-detail' })) }),
    /the reply shows "conformance-detail"/,
  ],
  [
    'gives the issues no path',
    'invalid_args',
    () => ({ answer: rewrite((m) => ({ ...m, result: { issues: [{ message: 'no' }] } })) }),
    /result is/,
  ],
  [
    'tells a foreign job from an unknown one',
    'not_found',
    () => ({ answer: rewrite((m) => ({ ...m, error: `not_found: ${randomUUID()}` })) }),
    /error is not_found/,
  ],
  [
    'takes the last of two names',
    DOUBLED,
    () => ({ request: reread((m) => m) }),
    /expected bad_envelope, got HTTP 401/,
  ],
  [
    'takes invalid UTF-8',
    'invalid UTF-8: an overlong slash',
    () => ({ request: reread((m) => m) }),
    /expected bad_envelope/,
  ],
  [
    'sees no replay',
    REPLAY,
    () => ({ request: reread((m) => ({ ...m, nonce: randomUUID() })) }),
    /step 2 of 3: HTTP status is 200, not 409/,
  ],
  [
    'keeps nonces for each request_id',
    NONCE,
    () => ({
      request: reread((m) => ({
        ...m,
        nonce: `${String(m['nonce']).slice(0, 60)}${String(m['request_id'])}`,
      })),
    }),
    /step 2 of 2: HTTP status is 200/,
  ],
  [
    'takes every signature',
    CHANGED,
    () => ({ request: signAnew }),
    /step 1 of 6: HTTP status is 422, not 401/,
  ],
  [
    'does not look at the clock',
    'stale, too old',
    () => ({ request: reread((m) => ({ ...m, ts_ms: Date.now() })) }),
    /HTTP status is 200, not 400/,
  ],
  [
    'does not look at server_id',
    'wrong_server',
    () => ({ request: reread((m) => ({ ...m, server_id: 'referee' })) }),
    /HTTP status is 200, not 421/,
  ],
  [
    'sorts names by code point',
    'read: names are sorted by UTF-16, not by code point',
    () => ({
      request: (bytes) =>
        Buffer.from(
          bytes
            .toString('utf8')
            .replace('"signature":"', '"signature":"0')
            .replace(/.(?="\}$)/, ''),
        ),
    }),
    /was not taken: bad_signature/,
  ],
];

describe('a server that', () => {
  test.each(FAULTS)('%s fails %s', async (_does, name, make, says) => {
    fault = {};
    expect(await judge(name)).toBeNull();
    fault = make();
    try {
      expect(await judge(name)).toMatch(says);
    } finally {
      fault = {};
    }
  });

  test('behaves passes every case that it has the tools for', async () => {
    const cases = allCases(credential, new Set(tools.map((tool) => tool.name)));
    const verdicts: string[] = [];
    for (const { suite, name, skip, run } of cases) {
      if (skip !== null) continue;
      await run().catch((error: unknown) => verdicts.push(`${suite}: ${name}: ${String(error)}`));
    }
    expect(verdicts).toEqual([]);
    expect(cases.filter(({ skip }) => skip === null).length).toBeGreaterThan(400);
  });

  test('cannot be reached fails', async () => {
    const url = 'http://127.0.0.1:1/call';
    const [one] = allCases({ ...credential, url }, new Set());
    await expect(one?.run()).rejects.toBeInstanceOf(Unreachable);
  });
});
