import { ProtocolError } from '../errors/index.ts';
import { MESSAGE_LIMITS } from '../limits.ts';
import { decodeRequest, decodeResponse } from '../wire/index.ts';
import type { Finding } from './finding.ts';
import { digestOf, readMembers, type SeenRecord } from './record.ts';
import { type BundleSource, type VerifyOptions, verifyBundle } from './verify.ts';
import type { SignedHead } from './walk.ts';

/** The record of a call, as it stands in a chain. */
export interface FoundCall {
  readonly chain: string;
  readonly seq: number;
  readonly ms: number;
  readonly client: string;
  readonly requestId: string;
  readonly tool: string;
  readonly outcome: string;
  readonly job: string | null;
  /** Of the request's signed text. */
  readonly request: string;
  /** The first signed head after it; `null`: only the signature of the whole bundle covers it. */
  readonly head: SignedHead | null;
}

export type Proof =
  /** The call is in the bundle, and the bundle holds. */
  | { readonly result: 'proven'; readonly call: FoundCall; readonly key: string }
  /** The reply is in it, as one to another request. */
  | { readonly result: 'other_request'; readonly call: FoundCall; readonly key: string }
  | { readonly result: 'not_found'; readonly key: string; readonly records: number }
  | { readonly result: 'broken'; readonly finding: Finding }
  /** One of the texts is not a message of mcp/0.1. */
  | { readonly result: 'not_a_message'; readonly which: 'reply' | 'request'; readonly reason: string };

export interface ProveOptions extends Pick<VerifyOptions, 'key'> {
  readonly bundle: BundleSource;
  /** The reply as JSON, in whatever order and spelling. */
  readonly reply: string;
  /** The request that it answers, likewise. */
  readonly request?: string | undefined;
}

/**
 * Is the call that a client has the messages of in a bundle? The whole bundle is verified for it.
 *
 * @throws what the source throws
 */
export async function prove({ bundle, reply, request, key }: ProveOptions): Promise<Proof> {
  const replyDigest = messageDigest('reply', reply);
  const requestDigest = request === undefined ? null : messageDigest('request', request);
  if (typeof replyDigest !== 'string') return replyDigest;
  if (requestDigest !== null && typeof requestDigest !== 'string') return requestDigest;
  const { found, look } = createSearch(replyDigest);
  const verdict = await verifyBundle(bundle, { key, onRecord: look });
  if (!verdict.ok) return { result: 'broken', finding: verdict.finding };
  const { report } = verdict;
  // Of a bundle there always is one.
  const bundleKey = report.key ?? '';
  const [first] = found;
  if (first === undefined) return { result: 'not_found', key: bundleKey, records: report.records };
  const call = requestDigest === null ? first : found.find((each) => each.request === requestDigest);
  if (call === undefined) return { result: 'other_request', call: first, key: bundleKey };
  return { result: 'proven', call, key: bundleKey };
}

type NotAMessage = Extract<Proof, { result: 'not_a_message' }>;

function messageDigest(which: 'reply' | 'request', text: string): string | NotAMessage {
  const decode = which === 'reply' ? decodeResponse : decodeRequest;
  try {
    return digestOf(decode(Buffer.from(text), MESSAGE_LIMITS).signedText);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return { result: 'not_a_message', which, reason: error.message };
  }
}

type Draft = { -readonly [Name in keyof FoundCall]: FoundCall[Name] };

/** Looks for the calls that were answered with one reply; two retries in one millisecond can have the same. */
function createSearch(replyDigest: string) {
  const found: Draft[] = [];
  /** Those that no head has covered yet. */
  let open: Draft[] = [];
  const mark = `"reply":"${replyDigest}"`;

  function look(record: SeenRecord, chain: string): void {
    if (record.seq === 0) open = [];
    if (record.type === 'call' && record.text.includes(mark)) {
      const call = callOf(record, chain);
      found.push(call);
      open.push(call);
    }
    if (open.length === 0 || (record.type !== 'head' && record.type !== 'close')) return;
    const head = headOf(record, chain);
    for (const call of open) call.head = head;
    open = [];
  }

  return { found, look };
}

function callOf(record: SeenRecord, chain: string): Draft {
  const { seq, ms } = record;
  const members = readMembers(record);
  const text = (name: string) => stringOf(members[name]) ?? '';
  return {
    chain,
    seq,
    ms,
    client: text('client'),
    requestId: text('request_id'),
    tool: text('tool'),
    outcome: text('outcome'),
    job: stringOf(members['job']),
    request: text('request'),
    head: null,
  };
}

function headOf(record: SeenRecord, chain: string): SignedHead {
  const { seq, ms, hash } = record;
  const { signature } = readMembers(record);
  return { chain, seq, ms, hash, signature: stringOf(signature) ?? '' };
}

function stringOf(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}
