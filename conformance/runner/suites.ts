import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { canonical, withSignature } from './canonical.ts';
import { exchange, Failure } from './endpoint.ts';
import { type Credential, hmac, keysOf } from './keys.ts';
import { bytesOf, type Part } from './parts.ts';
import { runSteps, type StepCase } from './steps.ts';

/** One thing to try at the endpoint. */
export interface Case {
  readonly suite: string;
  readonly name: string;
  /** Why it cannot be tried here, or null. */
  readonly skip: string | null;
  /** @throws Failure */
  run(): Promise<void>;
}

interface CanonicalCase {
  readonly name: string;
  readonly input: string;
  readonly canonical: string;
}

interface RefusedCase {
  readonly name: string;
  readonly code: string;
  readonly body: readonly Part[];
}

interface Ed25519 {
  readonly cases: readonly {
    readonly name: string;
    readonly private_key: string;
    readonly public_key: string;
    readonly signed_text: string;
    readonly signature: string;
  }[];
}

interface Signatures {
  readonly cases: readonly { readonly name: string; readonly secret: string; readonly wire: string }[];
}

const ECHO = 'conformance/echo';
const NO_TOOL = 'conformance/no-such-tool';
const HTTP_STATUS: Readonly<Record<string, number>> = {
  bad_envelope: 400,
  too_large: 413,
  bad_signature: 401,
};

/** Every case, in the order in which an implementer meets them. */
export function allCases(credential: Credential, tools: ReadonlySet<string>): Case[] {
  const canonicalCases = load<{ cases: readonly CanonicalCase[] }>('canonical.json').cases;
  const refusedCases = load<{ cases: readonly RefusedCase[] }>('refused.json').cases;
  return [
    ...stepCases('calls', credential, tools),
    ...canonicalCases.flatMap((vector) => canonicalPair(vector, credential, tools)),
    ...refusedCases.map(({ name, code, body }) => {
      const run = () => runRefused(code, body, credential);
      return { suite: 'refused', name, skip: null, run };
    }),
    ...stepCases('errors', credential, tools),
  ];
}

function stepCases(suite: string, credential: Credential, tools: ReadonlySet<string>): Case[] {
  return load<{ cases: readonly StepCase[] }>(`${suite}.json`).cases.map((one) => {
    const missing = one.needs?.find((tool) => !tools.has(tool));
    const skip = missing === undefined ? null : `the server has no tool ${missing}`;
    return { suite, name: one.name, skip, run: () => runSteps(one, credential) };
  });
}

/** A value in args as the vector spells it, and, where the server can echo it, in result. */
function canonicalPair(vector: CanonicalCase, credential: Credential, tools: ReadonlySet<string>): Case[] {
  const skip = tools.has(ECHO) ? null : `the server has no tool ${ECHO}`;
  return [
    { suite: 'canonical', name: `read: ${vector.name}`, skip: null, run: () => runRead(vector, credential) },
    { suite: 'canonical', name: `write: ${vector.name}`, skip, run: () => runWrite(vector, credential) },
  ];
}

/**
 * A request whose `value` is spelled as in `input` and signed over the text in `canonical`, put together
 * from texts: no code of the runner decides what the canonical form is.
 */
function requestWith(vector: CanonicalCase, tool: string, credential: Credential): Buffer {
  const { client_id, server_id } = credential;
  const rest = canonical({
    client_id,
    nonce: randomUUID(),
    request_id: randomUUID(),
    server_id,
    tool,
    ts_ms: Date.now(),
    v: 'mcp/0.1',
  });
  const withArgs = (value: string): string => `{"args":{"value":${value}},${rest.slice(1)}`;
  const signature = keysOf(credential).sign(withArgs(vector.canonical));
  return Buffer.from(withSignature(withArgs(vector.input), signature), 'utf8');
}

async function runRead(vector: CanonicalCase, credential: Credential): Promise<void> {
  const { error, signed } = await exchange(credential, requestWith(vector, NO_TOOL, credential));
  if (signed && error?.startsWith('unknown_tool:') === true) return;
  throw new Failure(`the signature over the canonical form was not taken: ${error ?? 'no error'}`);
}

async function runWrite(vector: CanonicalCase, credential: Credential): Promise<void> {
  const { text, status, error } = await exchange(credential, requestWith(vector, ECHO, credential));
  if (status !== 'ok') throw new Failure(`${ECHO} did not echo: ${error}`);
  const result = `"result":{"value":${vector.canonical}},"server_id":`;
  if (!text.includes(result)) throw new Failure(`the reply does not hold ${result}: ${text.slice(0, 300)}`);
}

async function runRefused(code: string, body: readonly Part[], credential: Credential): Promise<void> {
  const { http, signed, error } = await exchange(credential, bytesOf(body));
  const got = error?.split(':', 1)[0];
  if (got !== code) throw new Failure(`expected ${code}, got HTTP ${http} ${error ?? 'without error'}`);
  if (signed) throw new Failure('the reply is signed, although no signature has held');
  if (http !== HTTP_STATUS[code]) throw new Failure(`${code} came with HTTP ${http}`);
}

/** What is wrong with the runner itself: a referee that cannot sign must judge nobody. */
export function selfCheck(): string | null {
  for (const { name, input, canonical: text } of load<{ cases: readonly CanonicalCase[] }>('canonical.json')
    .cases) {
    if (canonical(JSON.parse(input)) !== text) return `canonical.json: ${name}`;
  }
  for (const { name, secret, wire } of load<Signatures>('signatures.json').cases) {
    const { signature, ...unsigned } = JSON.parse(wire);
    const text = canonical(unsigned);
    if (withSignature(text, hmac(secret, text)) !== wire || typeof signature !== 'string')
      return `signatures.json: ${name}`;
  }
  for (const { name, private_key, public_key, signed_text, signature } of load<Ed25519>('ed25519.json')
    .cases) {
    const keys = keysOf({ algorithm: 'ed25519', request_key: private_key, response_key: public_key });
    if (keys.sign(signed_text) !== signature || !keys.holds(signed_text, signature))
      return `ed25519.json: ${name}`;
  }
  return null;
}

function load<T>(file: string): T {
  // The vectors beside this runner; test/conformance holds them to their form.
  return JSON.parse(readFileSync(new URL(`../${file}`, import.meta.url), 'utf8')) as T;
}
