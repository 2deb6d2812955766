import { randomUUID } from 'node:crypto';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import {
  createTaskSessionFromClient,
  type ApplicationInputHandler,
  DispatchError,
  type RawClientDispatch,
  type TaskEnabledSession,
} from '@modelcontextprotocol/ext-tasks/client';
import { atEnd } from '../system/clean-up.ts';

/** The official client and the official driver of Tasks, as a host would use them. */

export const TASKS = 'io.modelcontextprotocol/tasks';
const INFO = { name: 'referee', version: '1.0.0' };

/** `modern`: 2026-07-28. `legacy`: what begins with `initialize`. */
export type Era = 'modern' | 'legacy';

export interface HostOptions {
  /** Sent with every request; without it the caller is anonymous. */
  readonly token?: string;
  /** What the person answers; without it the host cannot ask. */
  readonly person?: Readonly<Record<string, string | boolean>>;
}

/** A client that has found out what the server speaks. */
export async function connect(url: string, era: Era, { token, person }: HostOptions = {}): Promise<Client> {
  const client = new Client(INFO, {
    capabilities: person === undefined ? {} : { elicitation: {} },
    versionNegotiation: { mode: era === 'modern' ? 'auto' : 'legacy' },
  });
  if (person !== undefined)
    client.setRequestHandler('elicitation/create', () => ({ action: 'accept', content: { ...person } }));
  const requestInit = { headers: authorization(token) };
  await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit }));
  atEnd(() => client.close());
  return client;
}

/** Drives Tasks over a connected client. */
export function openTasks(
  client: Client,
  url: string,
  { token, person }: HostOptions = {},
): TaskEnabledSession {
  const answer: ApplicationInputHandler['handle'] = async () =>
    // The one kind of request that our tools make.
    ({ action: 'accept', content: { ...person } }) as never;
  const session = createTaskSessionFromClient(client, {
    endpointId: 'referee',
    rawDispatch: dispatchTo(url, token),
    v2RequestFraming: {
      protocolVersion: '2026-07-28',
      clientInfo: INFO,
      clientCapabilities: person === undefined ? {} : { elicitation: {} },
    },
    ...(person !== undefined && { onInputRequest: answer }),
  });
  atEnd(() => session.close());
  return session;
}

/** The client's own requests know no tasks: these go over HTTP by themselves. */
function dispatchTo(url: string, token: string | undefined): RawClientDispatch {
  return async (request, options) => {
    // What ext-tasks sends: a method, and params with the name of a tool or the id of a task.
    const { method, params } = request as { method: string; params: { name?: string; taskId?: string } };
    const headers = new Headers({
      ...authorization(token),
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': method,
      'mcp-name': params.taskId ?? params.name ?? '',
    });
    // Some of them come with the request, spelled in its own way.
    for (const [name, value] of Object.entries(options?.context?.headers ?? {})) headers.set(name, value);
    const response = await fetch(url, {
      method: 'POST',
      headers,
      body: JSON.stringify({ jsonrpc: '2.0', id: randomUUID(), method, params }),
      ...(options?.signal !== undefined && { signal: options.signal }),
    });
    const { result, error } = await response.json();
    if (result === undefined && error === undefined)
      throw new DispatchError(`no JSON-RPC answer, HTTP ${response.status}`);
    return error === undefined ? { kind: 'result', result } : { kind: 'error', error };
  };
}

function authorization(token: string | undefined): Record<string, string> {
  return token === undefined ? {} : { authorization: `Bearer ${token}` };
}
