import { createSecretKey } from 'node:crypto';
import fc from 'fast-check';
import { type ChainSource, writeBundle } from '../../src/audit/bundle.ts';
import { type Chain, newChainId, openChain } from '../../src/audit/chain.ts';
import { type AuditKeys, auditKeys } from '../../src/audit/keys.ts';
import {
  type CallRecord,
  digestOf,
  type EventRecord,
  type JobStateRecord,
  type Link,
  type ParsedRecord,
  parseLine,
  type RefusalsRecord,
} from '../../src/audit/record.ts';
import { type Verdict, type VerifyOptions, verifyBundle } from '../../src/audit/verify.ts';
import type { Finding } from '../../src/audit/finding.ts';

export const KEYS: AuditKeys = auditKeys(createSecretKey(Buffer.alloc(32, 7)));
export const SERVER_ID = 'acme';
export const START_MS = 1_795_219_200_000;

/** What is done with a chain. */
export type Step = EventRecord | 'head' | 'close';

export const CALL: CallRecord = {
  type: 'call',
  client: 'alice',
  wire: 'mcp/0.1',
  key: '0123456789abcdef0123456789abcdef',
  requestId: '019a9d3e-2c51-7d3b-9a51-3f6c9c1d2e4f',
  tool: 'batch_sum',
  request: digestOf('request'),
  reply: digestOf('reply'),
  outcome: 'ok',
};

const digest = fc.string().map(digestOf);
/** What a request_id can hold, quotes and backslashes included. */
const visible = fc
  .string({
    unit: fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code)),
    maxLength: 128,
  })
  .filter((text) => text !== '');
const id = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._:@/-]{0,20}$/);

const callMembers = {
  type: fc.constant('call' as const),
  client: id,
  wire: fc.constantFrom('mcp/0.1' as const, 'mcp' as const),
  key: fc.stringMatching(/^[0-9a-f]{32}$/),
  requestId: visible,
  tool: id,
  request: digest,
  reply: digest,
  outcome: fc.constantFrom('ok', 'accepted', 'done', 'stale', 'internal'),
};

export const anyCall: fc.Arbitrary<CallRecord> = fc.oneof(
  fc.record(callMembers),
  fc.record({ ...callMembers, job: id }),
);

const jobMembers = {
  type: fc.constant('job' as const),
  job: id,
  client: id,
  tool: id,
  state: fc.constantFrom('queued' as const, 'running' as const, 'succeeded' as const, 'cancelled' as const),
};

export const anyJob: fc.Arbitrary<JobStateRecord> = fc.oneof(
  fc.record(jobMembers),
  fc.record({ ...jobMembers, attempt: fc.integer({ min: 1, max: 100 }) }),
);

const anyRefusals: fc.Arbitrary<RefusalsRecord> = fc.record({
  type: fc.constant('refusals' as const),
  client: id,
  count: fc.integer({ min: 1 }),
  fromMs: fc.nat(),
});

const anyStep: fc.Arbitrary<Step> = fc.oneof(anyCall, anyJob, anyRefusals, fc.constant('head' as const));
const steps = fc.array(anyStep, { maxLength: 8 });

export const anySteps: fc.Arbitrary<Step[]> = fc
  .tuple(steps, fc.boolean())
  .map(([before, ends]): Step[] => (ends ? before.concat('close') : before));

/** Chains as a store has them: their lines by id. */
export type Chains = Map<string, string>;

/** Writes chains as replicas would that started one after the other, each with links to those before. */
export function makeChains(all: readonly (readonly Step[])[], keys: AuditKeys = KEYS): Chains {
  const chains: Chains = new Map();
  let ms = START_MS;
  const now = () => ms++;
  for (const each of all) {
    ms += 1_000;
    const chainId = newChainId(ms);
    const chain = openChain({ id: chainId, serverId: SERVER_ID, key: keys, links: lastsOf(chains), now });
    for (const step of each) doStep(chain, step);
    chains.set(chainId, chain.take()?.lines ?? '');
  }
  return chains;
}

export function doStep(chain: Chain, step: Step): void {
  if (step === 'head') chain.head();
  else if (step === 'close') chain.close();
  else chain.add(step);
}

/** The last record of each chain. */
export function lastsOf(chains: Chains): Link[] {
  return [...chains].map(([chain, lines]) => {
    const { seq, hash } = recordOf(lines.split('\n').at(-2) ?? '');
    return { chain, seq, hash };
  });
}

/** @throws for a line that is no record */
export function recordOf(line: string): ParsedRecord {
  const record = parseLine(line);
  if (typeof record === 'string') throw new Error(`${record}: ${line}`);
  return record;
}

export function sourceOf(chains: Chains): ChainSource {
  return {
    chains: async () => [...chains.keys()].toSorted(),
    async *read(chain) {
      // More than one piece, of whole lines.
      for (const piece of (chains.get(chain) ?? '').match(/(?:.*\n){1,3}/g) ?? []) yield piece;
    },
  };
}

export async function bundleOf(chains: Chains, keys: AuditKeys = KEYS): Promise<string> {
  let text = '';
  const write = (piece: string) => {
    text += piece;
  };
  await writeBundle({
    source: sourceOf(chains),
    write,
    keys,
    serverId: SERVER_ID,
    nowMs: START_MS + 900_000,
  });
  return text;
}

/** Verifies what is given, in pieces that end anywhere. */
export function verifyText(
  text: string | Buffer,
  options: VerifyOptions = {},
  pieceBytes = 1_000,
): Promise<Verdict> {
  return verifyBundle(() => pieces(text, pieceBytes), options);
}

export async function* pieces(text: string | Buffer, pieceBytes: number): AsyncGenerator<Buffer> {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes);
}

/** @throws if nothing was found */
export async function findingIn(text: string | Buffer, options: VerifyOptions = {}): Promise<Finding> {
  const verdict = await verifyText(text, options);
  if (verdict.ok) throw new Error('the bundle was taken for whole');
  return verdict.finding;
}

/** A line of a bundle, and where it belongs; `chain` is `null` for the first and the last one. */
export interface BundleLine {
  readonly text: string;
  readonly chain: string | null;
  readonly seq: number | null;
}

export function linesOf(bundle: string): BundleLine[] {
  let chain: string | null = null;
  return bundle
    .slice(0, -1)
    .split('\n')
    .map((text) => {
      if (text.startsWith('{"type"')) return { text, chain: null, seq: null };
      const { type, seq, members } = recordOf(text);
      if (type === 'open') chain = String(members['chain']);
      return { text, chain, seq };
    });
}

export function textOf(lines: readonly (BundleLine | string)[]): string {
  return lines.map((line) => `${typeof line === 'string' ? line : line.text}\n`).join('');
}

/** The line again with something else in it and a hash that fits, as a forger without the audit key can do. */
export function rehashed(line: string, from: string, to: string): string {
  const start = line.replace(from, () => to).slice(0, -54);
  return `${start},"hash":"${digestOf(`${start}}`)}"}`;
}
