import { ClientError } from '../errors/index.ts';
import { MESSAGE_LIMITS } from '../limits.ts';

/**
 * Carries one request message to the server and brings back the bytes of the reply. It need not be
 * trusted or reliable: replies are verified and lost ones asked for again. Whatever it throws counts
 * as a failure of the connection.
 */
export type Transport = (
  bytes: Uint8Array<ArrayBuffer>,
  options: { readonly signal: AbortSignal },
) => Promise<Uint8Array>;

/** HTTP POST with the platform's `fetch` (docs/protocol.md §9). */
export function fetchTransport(url: string): Transport {
  return async (bytes, { signal }) => {
    try {
      const response = await fetch(url, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: bytes,
        // A redirect would carry the signed message to somebody else. (Workers have no 'error'.)
        redirect: 'manual',
        signal,
      });
      await refuseForeign(response, url);
      return await readBody(response);
    } catch (error) {
      if (error instanceof ClientError) throw error;
      throw new ClientError('connection', `cannot reach ${url}: ${reasonOf(error)}`, { cause: error });
    }
  };
}

/** Every status of the code table comes with a message that says more; an answer of something else does not. */
async function refuseForeign(response: Response, url: string): Promise<void> {
  const type = response.headers.get('content-type')?.split(';')[0] ?? 'no content type';
  if (response.ok || type === 'application/json') return;
  await response.body?.cancel();
  const what = response.type === 'opaqueredirect' ? 'a redirect' : `HTTP ${response.status} (${type})`;
  throw new ClientError(
    'connection',
    `${url} answered with ${what}, not with a message: is the address right?`,
  );
}

/** At most as many bytes as a message may have, whatever the length header claims. */
async function readBody(response: Response): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  const reader = response.body?.getReader();
  while (reader !== undefined) {
    const { done, value } = await reader.read();
    if (done) break;
    chunks.push(value);
    length += value.byteLength;
    if (length <= MESSAGE_LIMITS.maxMessageBytes) continue;
    await reader.cancel();
    throw new ClientError('reply_unverified', `the reply has over ${MESSAGE_LIMITS.maxMessageBytes} bytes`);
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.byteLength;
  }
  return bytes;
}

/** What went wrong below `fetch`, which itself only says "fetch failed" on Node. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { cause } = error;
  if (!(cause instanceof Error)) return error.message;
  return 'code' in cause && typeof cause.code === 'string' ? cause.code : cause.message;
}
