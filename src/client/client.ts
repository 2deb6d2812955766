import { ProtocolError } from '../errors/index.ts';
import { CLIENT_LIMITS } from '../limits.ts';
import type { ResponseMessage } from '../wire/envelope.ts';
import type { JsonObject } from '../wire/json.ts';
import { type Clock, SYSTEM_CLOCK } from './clock.ts';
import { checkCredential } from './credential.ts';
import type { Credential } from '../wire/credential.ts';
import { checkTimeout, createExchange, type Exchange, type ExchangeOptions } from './exchange.ts';
import { createJobHandle, type JobHandle, type JobProgress, type WaitOptions } from './job-handle.ts';
import type { JobState } from './job-state.ts';
import { errorOf } from './reply.ts';
import { fetchTransport, type Transport } from './transport.ts';

export interface ClientOptions {
  /** Default: HTTP POST to the credential's `url`. */
  readonly transport?: Transport;
  /** For calls that name none: one request and its retries, in milliseconds. Default 60 000. */
  readonly timeoutMs?: number;
  /** For tests and for hosts with a clock of their own. */
  readonly clock?: Clock;
}

export interface StartOptions extends ExchangeOptions {
  /** Names the call: the same id with the same tool and args never runs twice. Default: a new UUID. */
  readonly requestId?: string | undefined;
}

export interface CallOptions extends StartOptions, WaitOptions {}

export interface JobsOptions extends ExchangeOptions {
  readonly status?: JobState;
}

/** A tool as `list_tools` describes it (docs/protocol.md §7). */
export interface ToolInfo {
  readonly name: string;
  readonly description: string;
  /** true: the tool answers with a job. */
  readonly job: boolean;
  readonly annotations: JsonObject;
  /** JSON Schema 2020-12. */
  readonly input_schema: JsonObject;
  readonly output_schema: JsonObject;
}

/** A job as `list_jobs` describes it (docs/protocol.md §7). */
export interface JobInfo {
  readonly job_id: string;
  readonly tool: string;
  readonly status: JobState;
  readonly progress: JobProgress | null;
  /** `code: message` of a job that did not succeed. */
  readonly error: string | null;
  /** Milliseconds since 1970. */
  readonly created_ms: number;
  readonly updated_ms: number;
}

/** What `server_identity` says (docs/protocol.md §7). */
export interface ServerIdentity {
  readonly server_id: string;
  /** Names the response key without telling it (§3). */
  readonly fingerprint: string;
  /** Public key of the signatures in its audit; `null` if it keeps none. Other servers may not say. */
  readonly audit_key?: string | null;
  readonly capabilities: JsonObject;
}

/**
 * Calls tools of one server. Every reply is verified; lost and busy ones are asked for again under the
 * same `request_id`, so nothing runs twice. Each method throws `ProtocolError` (its `code` is of the
 * table of codes) for what the server said no to, and `ClientError` when no reply could be trusted.
 */
export interface Client {
  /**
   * Runs a tool and returns its result; for a job, its result once it has ended. `timeoutMs` bounds
   * each request, not the job: that ends with its own deadline. `signal` ends the waiting, not the job.
   */
  call<Result = JsonObject>(tool: string, args?: object, options?: CallOptions): Promise<Result>;
  /**
   * Starts a job and returns once the server has made it durable.
   *
   * @throws TypeError when the tool is no job: it has run, and its result is the error's `cause`
   */
  start(tool: string, args?: object, options?: StartOptions): Promise<JobHandle>;
  /** A job that was started before, perhaps by another process. Asks nothing yet. */
  job(id: string): JobHandle;
  /** This client's jobs, newest first, fetched page by page. */
  jobs(options?: JobsOptions): AsyncGenerator<JobInfo, void, undefined>;
  /** What the server can do, with the JSON Schema of each input and output. */
  tools(options?: ExchangeOptions): Promise<readonly ToolInfo[]>;
  /** Who the server is and what it speaks. */
  identity(options?: ExchangeOptions): Promise<ServerIdentity>;
}

const OPTIONS: ReadonlySet<string> = new Set(['transport', 'timeoutMs', 'clock']);

/**
 * A client for one server.
 *
 * @throws TypeError, RangeError for a credential or an option that cannot be used
 */
export function createClient(credential: Credential, options: ClientOptions = {}): Client {
  const checked = checkCredential(credential);
  const unknown = Object.keys(options).find((name) => !OPTIONS.has(name));
  if (unknown !== undefined) throw new TypeError(`createClient: unknown option ${JSON.stringify(unknown)}`);
  const timeoutMs = checkTimeout(options.timeoutMs ?? CLIENT_LIMITS.timeoutMs);
  const clock = options.clock ?? SYSTEM_CLOCK;
  const exchange = createExchange(checked, options.transport ?? transportOf(checked), clock, timeoutMs);

  const handle = (id: string, accepted: boolean): JobHandle =>
    createJobHandle(id, { exchange, clock, timeoutMs, accepted });

  return Object.freeze({
    async call<Result>(tool: string, args: object = {}, more: CallOptions = {}): Promise<Result> {
      const { onProgress, requestId, ...rest } = more;
      const reply = await exchange(tool, args, { ...rest, requestId });
      const id = jobIdOf(reply);
      return id === null ? resultOf<Result>(reply) : handle(id, true).result<Result>({ ...rest, onProgress });
    },

    async start(tool: string, args: object = {}, more: StartOptions = {}): Promise<JobHandle> {
      const reply = await exchange(tool, args, more);
      const id = jobIdOf(reply);
      if (id !== null) return handle(id, true);
      throw new TypeError(`${tool} is no job: it has run, use call()`, { cause: resultOf(reply) });
    },

    job(id: string): JobHandle {
      if (typeof id !== 'string' || id === '') throw new TypeError('job: id must be a non-empty string');
      return handle(id, false);
    },

    jobs({ status, ...more }: JobsOptions = {}): AsyncGenerator<JobInfo, void, undefined> {
      return list(exchange, 'list_jobs', 'jobs', status === undefined ? {} : { status }, more);
    },

    async tools(more?: ExchangeOptions): Promise<readonly ToolInfo[]> {
      const tools: ToolInfo[] = [];
      for await (const tool of list<ToolInfo>(exchange, 'list_tools', 'tools', {}, more)) tools.push(tool);
      return tools;
    },

    async identity(more?: ExchangeOptions): Promise<ServerIdentity> {
      return resultOf(await exchange('server_identity', {}, more));
    },
  });
}

function transportOf(credential: Credential): Transport {
  if (credential.url !== undefined) return fetchTransport(credential.url);
  throw new TypeError('createClient: the credential has no url and the options have no transport');
}

/** The job that a tool became, or null for a direct answer. */
function jobIdOf({ status, result }: ResponseMessage): string | null {
  if (status !== 'accepted' && status !== 'running') return null;
  const id = result?.['job_id'];
  if (typeof id === 'string') return id;
  throw new ProtocolError('internal', 'the server accepted a job without saying its job_id');
}

/** @throws ProtocolError of a tool that failed */
function resultOf<Result>(reply: ResponseMessage): Result {
  if (reply.error !== null) throw errorOf(reply);
  // The type is the caller's claim about the tool; the server holds its tools to their schemas.
  return (reply.result ?? {}) as Result;
}

/** The items of every page of a list. */
async function* list<Item>(
  exchange: Exchange,
  tool: string,
  name: string,
  args: object,
  options?: ExchangeOptions,
): AsyncGenerator<Item, void, undefined> {
  let cursor: unknown = null;
  do {
    const page: JsonObject = resultOf(
      await exchange(tool, cursor === null ? args : { ...args, cursor }, options),
    );
    const items = page[name];
    if (!Array.isArray(items)) throw new ProtocolError('internal', `${tool} was answered without ${name}`);
    yield* items;
    cursor = page['next_cursor'] ?? null;
  } while (cursor !== null);
}
