import { randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';

import { exchange, Failure, type Reply, writeRequest } from './endpoint.ts';
import { type Credential, hmac, keysOf } from './keys.ts';
import { bytesOf, type Part } from './parts.ts';

/** What a reply must be. Members that are left out may be anything. */
interface Expected {
  readonly http: number;
  readonly signed: boolean;
  /** Default false; with it goes the status `error`. */
  readonly ok?: boolean;
  readonly status?: string;
  readonly code?: string;
  readonly error?: string;
  readonly error_without?: string;
  readonly result?: unknown;
}

/** One transmission, or some at once; README.md explains each member. */
interface Step {
  readonly send?: Readonly<Record<string, unknown>>;
  readonly body?: readonly Part[];
  readonly again?: number;
  readonly key?: 'request_key' | 'response_key' | 'wrong';
  readonly after_signing?: Readonly<Record<string, unknown>>;
  readonly content_type?: string | null;
  readonly together?: number;
  readonly while?: readonly string[];
  readonly save?: Readonly<Record<string, string>>;
  readonly expect: Expected | readonly Expected[];
}

/** A case of errors.json or calls.json. */
export interface StepCase {
  readonly name: string;
  readonly needs?: readonly string[];
  readonly steps: readonly Step[];
}

type Variables = Map<string, unknown>;

const MAX_POLLS = 30;
const FINGERPRINT_TEXT = 'mcp fingerprint';

/** Any value of a type; the names that `$…` may have in `expect.result` beside those of variables. */
const TYPES: Readonly<Record<string, (value: unknown) => boolean>> = {
  $any: () => true,
  $integer: Number.isSafeInteger,
  $string: (value) => typeof value === 'string',
  $array: Array.isArray,
};

/**
 * Runs the steps of one case.
 *
 * @throws Failure at the first step that goes otherwise
 */
export async function runSteps({ steps }: StepCase, credential: Credential): Promise<void> {
  const variables: Variables = new Map<string, unknown>([
    ['$client_id', credential.client_id],
    ['$server_id', credential.server_id],
    ['$fingerprint', hmac(credential.response_key, FINGERPRINT_TEXT).slice(0, 32)],
  ]);
  const sent: Buffer[] = [];
  for (const [index, step] of steps.entries()) {
    try {
      await runStep(step, credential, variables, sent);
    } catch (error) {
      if (!(error instanceof Failure) || steps.length === 1) throw error;
      throw new Failure(`step ${index + 1} of ${steps.length}: ${error.message}`);
    }
  }
}

async function runStep(
  step: Step,
  credential: Credential,
  variables: Variables,
  sent: Buffer[],
): Promise<void> {
  const transmit = async (): Promise<Reply> => {
    const body = bodyOf(step, credential, variables, sent);
    sent.push(body);
    const reply = await exchange(credential, body, step.content_type);
    const { request_id } = reply.signed ? JSON.parse(body.toString('utf8')) : reply;
    if (reply.request_id !== request_id) throw new Failure(`the reply answers ${reply.request_id}`);
    return reply;
  };
  const copies = Array.from({ length: (step.together ?? 1) - 1 }, transmit);
  let first = await transmit();
  for (let polls = 0; step.while?.includes(first.status); polls++) {
    if (polls === MAX_POLLS) throw new Failure(`still ${first.status} after ${MAX_POLLS} polls`);
    first = await transmit();
  }
  const replies = [first, ...(await Promise.all(copies))];
  const wanted = [step.expect].flat();
  const kept = wanted.length === 1 ? first : assign(wanted, replies, variables);
  if (wanted.length === 1) compare(wanted[0] ?? step.expect, first, variables);
  for (const [name, path] of Object.entries(step.save ?? {})) variables.set(`$${name}`, at(kept, path));
}

/** Finds for each expectation a reply of its own; returns the reply of the first. */
function assign(wanted: readonly Expected[], replies: readonly Reply[], variables: Variables): Reply {
  const left = [...replies];
  const found = wanted.map((expected) => {
    const index = left.findIndex((reply) => differences(expected, reply, variables).length === 0);
    const [reply] = index === -1 ? [] : left.splice(index, 1);
    if (reply !== undefined) return reply;
    const seen = replies.map(({ http, status, error }) => `${http} ${error ?? status}`).join(' and ');
    throw new Failure(`none of the replies is ${expected.http} ${expected.code ?? expected.status}: ${seen}`);
  });
  // `wanted` has two members or more.
  return found[0] as Reply;
}

function bodyOf(step: Step, credential: Credential, variables: Variables, sent: readonly Buffer[]): Buffer {
  if (step.body !== undefined) return bytesOf(step.body);
  const before = step.again === undefined ? undefined : sent[step.again];
  if (before !== undefined) return before;
  const { key = 'request_key' } = step;
  const sign = (text: string) => keysOf(credential).sign(text, key);
  const members = {
    v: 'mcp/0.1',
    request_id: randomUUID(),
    ts_ms: Date.now(),
    client_id: credential.client_id,
    server_id: credential.server_id,
    tool: 'server_identity',
    args: {},
    nonce: randomUUID(),
    ...resolve(step.send ?? {}, variables),
  };
  return writeRequest(members, sign, resolve(step.after_signing ?? {}, variables));
}

/** Members with their variables filled in: `$name` is a value that was saved, or a new UUID. */
function resolve(members: Readonly<Record<string, unknown>>, variables: Variables): Record<string, unknown> {
  const fill = (value: unknown): unknown => {
    if (typeof value === 'string' && value.startsWith('$')) {
      if (!variables.has(value)) variables.set(value, randomUUID());
      return variables.get(value);
    }
    if (Array.isArray(value)) return value.map(fill);
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, fill(member)]));
  };
  const { ts_ms, ...rest } = members;
  const offset = typeof ts_ms === 'object' && ts_ms !== null && 'now' in ts_ms ? Number(ts_ms.now) : null;
  const time = offset === null ? ts_ms : Date.now() + offset;
  // `fill` maps an object to an object.
  return { ...(fill(rest) as Record<string, unknown>), ...(time !== undefined && { ts_ms: time }) };
}

function compare(expected: Expected | readonly Expected[], reply: Reply, variables: Variables): void {
  const found = [expected].flat().flatMap((one) => differences(one, reply, variables));
  if (found.length > 0)
    throw new Failure(`${found.join('; ')}; the reply is HTTP ${reply.http} ${reply.text.slice(0, 300)}`);
}

function differences(expected: Expected, reply: Reply, variables: Variables): string[] {
  const { http, signed, ok = false, status = ok ? 'ok' : 'error', code, error, error_without } = expected;
  const found: string[] = [];
  const differ = (what: string, wanted: unknown, got: unknown): void => {
    if (wanted !== got) found.push(`${what} is ${String(got)}, not ${String(wanted)}`);
  };
  differ('HTTP status', http, reply.http);
  differ('signed', signed, reply.signed);
  differ('ok', ok, reply.ok);
  differ('status', status, reply.status);
  if (code !== undefined) differ('code', code, reply.error?.split(':', 1)[0]);
  if (error !== undefined) differ('error', variables.get(error) ?? error, reply.error);
  if (error_without !== undefined && reply.text.includes(error_without))
    found.push(`the reply shows "${error_without}"`);
  if ('result' in expected && !matches(expected.result, reply.result, variables)) {
    found.push(`result is ${JSON.stringify(reply.result)}, not ${JSON.stringify(expected.result)}`);
  }
  return found;
}

/** Arrays and plain values must be equal; of objects, the members that are named must match. */
function matches(expected: unknown, actual: unknown, variables: Variables): boolean {
  if (typeof expected === 'string' && expected.startsWith('$')) {
    return TYPES[expected]?.(actual) ?? isDeepStrictEqual(variables.get(expected), actual);
  }
  if (Array.isArray(expected)) {
    if (!Array.isArray(actual) || actual.length !== expected.length) return false;
    return expected.every((item, index) => matches(item, actual[index], variables));
  }
  if (typeof expected !== 'object' || expected === null) return Object.is(expected, actual);
  if (typeof actual !== 'object' || actual === null) return false;
  return Object.entries(expected).every(([name, member]) =>
    matches(member, Reflect.get(actual, name), variables),
  );
}

/** A value inside a reply, like `result.job_id`. */
function at(reply: Reply, path: string): unknown {
  return path.split('.').reduce((value: unknown, name) => Reflect.get(Object(value), name), reply);
}
