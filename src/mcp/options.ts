import { MCP_LIMITS } from '../limits.ts';
import { isId } from '../wire/index.ts';

/** How the Model Context Protocol is served. */
export interface McpOptions {
  /** Callers without a token act as this client. Only for a server that nobody but this machine reaches. */
  readonly anonymous?: string;
  /** Names that `Host` and `Origin` may have beside those of this machine, such as `tools.example`. */
  readonly hosts?: readonly string[];
  /** How long a call to a job waits for hosts without Tasks before it answers with the job's id. */
  readonly waitMs?: number;
}

export interface ResolvedMcp {
  readonly anonymous: string | null;
  readonly hosts: ReadonlySet<string>;
  readonly waitMs: number;
}

const LOOPBACK = ['localhost', '127.0.0.1', '[::1]'];

/** Options checked, completed and frozen. @throws TypeError, RangeError */
export function resolveMcp(options: McpOptions): ResolvedMcp {
  const { anonymous = null, hosts = [], waitMs = MCP_LIMITS.waitMs, ...unknown } = options;
  const [name] = Object.keys(unknown);
  if (name !== undefined) throw new TypeError(`mcpRoute: there is no option ${JSON.stringify(name)}`);
  if (anonymous !== null && !isId(anonymous)) throw new TypeError('anonymous must be the id of a client');
  if (!Number.isInteger(waitMs) || waitMs < 0 || waitMs > MCP_LIMITS.maxWaitMs)
    throw new RangeError(`waitMs must be an integer from 0 to ${MCP_LIMITS.maxWaitMs}`);
  const wrong = hosts.find((host) => !/^[A-Za-z0-9.-]+$|^\[[0-9a-fA-F:]+\]$/.test(host));
  if (wrong !== undefined)
    throw new TypeError(`hosts: ${JSON.stringify(wrong)} must be a name without a port`);
  const names = new Set([...LOOPBACK, ...hosts.map((host) => host.toLowerCase())]);
  return Object.freeze({ anonymous, hosts: names, waitMs });
}
