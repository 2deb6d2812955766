import type { RouteAnswer, RouteRequest } from '../../src/transports/route.ts';
import type { Input, Target } from './target.ts';
import { fill } from './template.ts';
import type { World } from './world.ts';

/** How long a stream of events is read before its client goes. */
const READ_MS = 40;

/** Statuses that RFC 9110 has, of those that the route uses. */
const STATUSES: ReadonlySet<number> = new Set([200, 202, 400, 401, 403, 404, 405, 413, 415, 429, 503]);

interface Heard {
  readonly status: number;
  readonly texts: readonly string[];
}

/**
 * `POST /mcp` without HTTP. A template is lines `name: value`, an empty line, the body; `method` is that of HTTP,
 * and a line `fit: yes` adds the headers that repeat what the body says.
 */
export function mcpTarget({ route, filling, secrets }: World): Target {
  return {
    folder: 'mcp',
    forget() {},
    prepare(template): Input {
      const given = filling();
      const bytes = fill(template, given);
      const { headers, body } = readTemplate(bytes);
      const { token } = given;
      const isKnown = new RegExp(`^bearer +${token}$`, 'i').test(headers.get('authorization') ?? '');
      // Refusals name what a header said, such as a host.
      const said = [...headers].filter(([name]) => name !== 'authorization').map(([, value]) => value);
      const sentSecret = secrets.some((secret) => body.includes(secret) || said.join().includes(secret));
      let heard: Heard | null = null;
      return {
        bytes,
        isDeep: isKnown,
        async run() {
          const gone = new AbortController();
          const request: RouteRequest = {
            method: headers.get('method') ?? 'POST',
            header: (name) => headers.get(name),
            body: body.length > route.maxBodyBytes ? null : body,
            signal: gone.signal,
          };
          heard = await hear(await route.handle(request), gone);
        },
        problem() {
          if (heard === null) return 'no answer';
          if (!sentSecret && secrets.some((secret) => heard?.texts.some((text) => text.includes(secret))))
            return 'a secret is in the answer';
          if (!isKnown && ![401, 403, 405, 415].includes(heard.status))
            return `${heard.status} for a caller without a token`;
          return problemOf(heard, body);
        },
        outcome: () => `http ${heard?.status ?? 0}`,
        shown: () => heard?.texts.join('\n') ?? '',
      };
    },
  };
}

function readTemplate(bytes: Buffer): { headers: Map<string, string>; body: Buffer } {
  const end = bytes.indexOf('\n\n');
  const [head, body] = end === -1 ? ['', bytes] : [bytes.toString('latin1', 0, end), bytes.subarray(end + 2)];
  const headers = new Map<string, string>();
  for (const line of head.split('\n')) {
    const colon = line.indexOf(':');
    const name = line.slice(0, Math.max(0, colon)).toLowerCase();
    const value = line.slice(colon + 1).trim();
    const before = headers.get(name);
    headers.set(name, before === undefined ? value : `${before}, ${value}`);
  }
  if (headers.get('fit') === 'yes') fit(headers, body);
  return { headers, body };
}

/** As an honest client would. */
function fit(headers: Map<string, string>, body: Buffer): void {
  try {
    const { method, params } = JSON.parse(body.toString('utf8'));
    headers.set('mcp-method', String(method));
    const version: unknown = params?.['_meta']?.['io.modelcontextprotocol/protocolVersion'];
    if (typeof version === 'string') headers.set('mcp-protocol-version', version);
    const name: unknown = String(method).startsWith('tasks/') ? params?.taskId : params?.name;
    if (typeof name === 'string') headers.set('mcp-name', headerText(name));
  } catch {
    // Of no message nothing can be repeated.
  }
}

function headerText(text: string): string {
  return /^[\x20-\x7e]*$/.test(text) ? text : `=?base64?${Buffer.from(text).toString('base64')}?=`;
}

async function hear(answer: RouteAnswer, gone: AbortController): Promise<Heard> {
  const { status } = answer;
  if ('body' in answer) return { status, texts: answer.body === '' ? [] : [answer.body] };
  const timer = setTimeout(() => gone.abort(), READ_MS);
  const texts: string[] = [];
  // What is told ends when its client has gone.
  for await (const text of answer.events) texts.push(text);
  clearTimeout(timer);
  return { status, texts };
}

function problemOf({ status, texts }: Heard, body: Buffer): string | null {
  if (!STATUSES.has(status)) return `status ${status}`;
  if (status === 202) return texts.length === 0 ? null : 'an answer to a notification';
  if (texts.length === 0) return 'nothing was said';
  const asked = idOf(body);
  for (const text of texts) {
    const message = JSON.parse(text);
    if (message.jsonrpc !== '2.0') return 'no JSON-RPC message';
    if (typeof message.method === 'string') continue;
    if (message.id !== undefined && message.id !== asked) return 'answers another request';
    if ('result' in message === 'error' in message) return 'neither a result nor an error';
    const { error } = message;
    if (error === undefined) continue;
    if (!Number.isSafeInteger(error.code) || typeof error.message !== 'string') return 'no well-formed error';
    if (/\bat .*:\d+:\d+/.test(error.message)) return 'a stack trace is in the answer';
  }
  return null;
}

function idOf(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'))?.id;
  } catch {
    return undefined;
  }
}
