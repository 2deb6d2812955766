import { Ajv2020 } from 'ajv/dist/2020.js';
import { MESSAGE_LIMITS } from '../../src/limits.ts';
import type { Credential } from '../../src/transports/index.ts';
import type { RequestMessage } from '../../src/wire/index.ts';
import { REQUEST_SCHEMA, RESPONSE_SCHEMA } from '../../src/wire/envelope-schema.ts';
import { canonicalText, macOf } from '../support/signing.ts';

/**
 * What a server must make of bytes, found out without its code: JSON.parse and a walk over the tokens, the
 * published schema, another library's canonical form, node:crypto for the MAC.
 */
export type Verdict =
  | { readonly kind: 'refused'; readonly code: 'too_large' | 'bad_envelope' | 'bad_signature' }
  | { readonly kind: 'verified'; readonly message: RequestMessage };

const ajv = new Ajv2020();
const isRequest = ajv.compile<RequestMessage>(REQUEST_SCHEMA);
export const isResponse = ajv.compile(RESPONSE_SCHEMA);

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export function judge(bytes: Uint8Array, credentials: ReadonlyMap<string, Credential>): Verdict {
  if (bytes.length > MESSAGE_LIMITS.maxMessageBytes) return { kind: 'refused', code: 'too_large' };
  const message = read(bytes);
  if (message === null) return { kind: 'refused', code: 'bad_envelope' };
  const credential = credentials.get(message.client_id);
  const { signature, ...unsigned } = message;
  if (credential === undefined || macOf(unsigned, credential.request_key) !== signature)
    return { kind: 'refused', code: 'bad_signature' };
  return { kind: 'verified', message };
}

/** A well-formed request, or null. */
function read(bytes: Uint8Array): RequestMessage | null {
  try {
    const text = utf8.decode(bytes);
    // Both are looked at first: the parser and the library below would go as deep as they are led.
    if (!isStrict(text)) return null;
    const value: unknown = JSON.parse(text);
    if (!isRequest(value)) return null;
    // It throws for lone surrogates and for what is no finite number.
    canonicalText(value);
    return value;
  } catch {
    return null;
  }
}

const TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\]:]/gs;

/** No name twice in one object, none that is `__proto__`, no more depth and members than a message may have. */
function isStrict(text: string): boolean {
  const objects: (Set<string> | null)[] = [];
  let members = 0;
  let last = '';
  for (const [token] of text.matchAll(TOKEN)) {
    if (token === '{' || token === '[') {
      if (objects.push(token === '{' ? new Set() : null) > MESSAGE_LIMITS.maxDepth) return false;
    } else if (token === '}' || token === ']') objects.pop();
    else if (token === ':') {
      const names = objects.at(-1);
      const name = String(JSON.parse(last));
      if (names?.has(name) !== false || name === '__proto__') return false;
      names.add(name);
      if (++members > MESSAGE_LIMITS.maxMembers) return false;
    }
    last = token;
  }
  return true;
}
