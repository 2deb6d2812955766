import { ProtocolError } from '../errors/index.ts';
import { MESSAGE_LIMITS } from '../limits.ts';
import { canonicalize, type MemberCount } from '../wire/canonical-json.ts';
import { DEFAULT_CODEC, withSignature } from '../wire/codec.ts';
import type { RequestMessage, Unsigned } from '../wire/envelope.ts';
import { parseJson } from '../wire/parse-json.ts';
import type { Signer } from './signer.ts';

/** The members that stay the same in every transmission of a call. */
export type Call = Omit<RequestMessage, 'ts_ms' | 'nonce' | 'signature'>;

/** What stands in for the members that are not known yet while the others are checked. */
const SAMPLE: RequestMessage = {
  v: DEFAULT_CODEC.v,
  request_id: '-',
  ts_ms: 0,
  client_id: 'x',
  server_id: 'x',
  tool: '-',
  args: {},
  nonce: '-'.repeat(8),
  signature: '0'.repeat(64),
};

const utf8 = new TextEncoder();

/** What breaks the rules of the wire (docs/protocol.md §1), as `name: must be …`; null: nothing. */
export function problemOf(members: Readonly<Record<string, unknown>>): string | null {
  try {
    DEFAULT_CODEC.checkRequest({ ...SAMPLE, ...members });
    return null;
  } catch (error) {
    if (error instanceof ProtocolError) return error.message;
    throw error;
  }
}

/**
 * The unchanging part of a call.
 *
 * @throws TypeError for what no message can say
 */
export function prepare(call: Omit<Call, 'v' | 'args'> & { readonly args: object }): Call {
  // A copy, because a retry must say what was said first, whatever the caller does to `args` meanwhile.
  // That `args` is an object is checked with the other members.
  const copy = parseJson(canonicalize({ args: call.args })) as Pick<Call, 'args'>;
  const prepared = { ...call, ...copy, v: DEFAULT_CODEC.v };
  const problem = problemOf(prepared);
  if (problem !== null) throw new TypeError(problem);
  return prepared;
}

/**
 * The bytes of a signed request.
 *
 * @throws RangeError when they are more than a message may have
 */
export async function encode(
  message: Unsigned<RequestMessage>,
  signer: Signer,
): Promise<Uint8Array<ArrayBuffer>> {
  const { maxMembers, maxMessageBytes } = MESSAGE_LIMITS;
  const count: MemberCount = { members: 0 };
  const text = DEFAULT_CODEC.requestText(message, count);
  if (count.members > maxMembers) throw new RangeError(`args: make over ${maxMembers} object members`);
  const bytes = utf8.encode(withSignature(text, await signer.sign(text)));
  if (bytes.byteLength > maxMessageBytes) throw new RangeError(`args: make over ${maxMessageBytes} bytes`);
  return bytes;
}
