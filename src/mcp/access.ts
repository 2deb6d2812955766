import type { Calls, KnownClient } from '../server/calls.ts';
import type { RouteAnswer, RouteRequest } from '../transports/route.ts';
import type { ResolvedMcp } from './options.ts';

/** Who may speak at all, and who it is; looked at before anything of the body is believed. */
export interface Access {
  /** The answer to a request that comes from elsewhere than it should, or null. */
  refusalOf(request: RouteRequest): RouteAnswer | null;
  /** The client that a request's token belongs to, or the answer to a request without one. */
  clientOf(request: RouteRequest): KnownClient | RouteAnswer;
}

export function createAccess(
  calls: Calls,
  { anonymous, hosts }: Pick<ResolvedMcp, 'anonymous' | 'hosts'>,
): Access {
  return {
    /** A page of a stranger must not reach a server of this machine by a name of its own (DNS rebinding). */
    refusalOf({ header }) {
      const host = header('host');
      if (host !== undefined && !hosts.has(nameOf(host)))
        return refusal(
          403,
          `the host ${shown(host)} is not served here: allow it with --mcp-host, in a program with hosts`,
        );
      const origin = header('origin');
      if (origin !== undefined && !isOrigin(origin, hosts))
        return refusal(
          403,
          `pages of ${shown(origin)} may not call: allow their host with --mcp-host, in a program with hosts`,
        );
      return null;
    },
    clientOf({ header }) {
      const authorization = header('authorization');
      if (authorization === undefined) {
        const client = anonymous === null ? null : calls.clientNamed(anonymous);
        return client ?? unauthorized(SEND_TOKEN);
      }
      const token = /^bearer +(\S+)$/i.exec(authorization)?.[1];
      if (token === undefined) return unauthorized(SEND_TOKEN);
      return calls.clientOf(token) ?? unauthorized('the token is not valid', 'invalid_token');
    },
  };
}

const SEND_TOKEN = 'send "Authorization: Bearer" with a token of "waybill clients token"';

/** The name in a `Host` header, without its port. */
function nameOf(host: string): string {
  return host.toLowerCase().replace(/:\d*$/, '');
}

function isOrigin(origin: string, hosts: ReadonlySet<string>): boolean {
  const match = /^https?:\/\/([^/?#@]+)$/i.exec(origin);
  return match?.[1] !== undefined && hosts.has(nameOf(match[1]));
}

function shown(text: string): string {
  return JSON.stringify(text.slice(0, 100));
}

function unauthorized(message: string, error?: string): RouteAnswer {
  const challenge =
    error === undefined ? 'Bearer realm="waybill"' : `Bearer realm="waybill", error="${error}"`;
  return refusal(401, message, { 'www-authenticate': challenge });
}

/** Refused before it is a message: the number of the status stands for itself, as in rpc.ts. */
export function refusal(
  status: number,
  message: string,
  headers: Readonly<Record<string, string>> = {},
): RouteAnswer {
  return {
    status,
    headers: { 'content-type': 'application/json', 'cache-control': 'no-store', ...headers },
    body: JSON.stringify({ jsonrpc: '2.0', error: { code: status, message } }),
  };
}
