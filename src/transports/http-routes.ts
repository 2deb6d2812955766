import type { Endpoint } from '../server/index.ts';

/** What every HTTP transport answers beside `POST /call`. */
export interface PlainAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export const CALL_PATH = '/call';
export const JSON_TYPE = 'application/json';

/** Is this the declared type of a message? Parameters such as charset are allowed. */
export function isJson(contentType: string | null | undefined): boolean {
  return contentType === JSON_TYPE || /^application\/json\s*(;|$)/i.test(contentType ?? '');
}

/** Answers whatever is not a call: liveness, readiness, wrong methods and unknown paths. */
export async function answerPlain(server: Endpoint, method: string, path: string): Promise<PlainAnswer> {
  if (path === CALL_PATH) return plain(405, 'use POST', { allow: 'POST' });
  if (path !== '/livez' && path !== '/readyz') return plain(404, 'not found: messages go to POST /call');
  if (method !== 'GET' && method !== 'HEAD') return plain(405, 'use GET', { allow: 'GET, HEAD' });
  if (path === '/livez') return plain(200, 'ok');
  return (await server.ready()) ? plain(200, 'ok') : plain(503, 'not ready');
}

function plain(status: number, body: string, headers: Record<string, string> = {}): PlainAnswer {
  return {
    status,
    headers: { 'content-type': 'text/plain; charset=utf-8', ...headers },
    body: `${body}\n`,
  };
}
