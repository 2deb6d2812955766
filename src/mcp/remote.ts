import { SYSTEM_CLOCK } from '../client/clock.ts';
import type { Credential } from '../wire/credential.ts';
import { createExchange } from '../client/exchange.ts';
import { errorOf } from '../client/reply.ts';
import { fetchTransport, type Transport } from '../client/transport.ts';
import { ClientError, ProtocolError } from '../errors/index.ts';
import { CLIENT_LIMITS, SERVER_LIMITS } from '../limits.ts';
import { isTerminal } from '../store/record-store.ts';
import type { ResponseMessage } from '../wire/envelope.ts';
import type { Backend, Called, JobView, ToolCall, Watch } from './backend.ts';
import type { Ask } from './connect/ask.ts';
import { hostError } from './connect/host-error.ts';
import { createKnownJobs, type Seen } from './connect/known-jobs.ts';
import { acceptedIdOf, readJob } from './connect/read-job.ts';
import { readTools } from './connect/read-tools.ts';

export interface RemoteOptions {
  /** Default: HTTP POST to the credential's `url`. */
  readonly transport?: Transport;
  /** One request and its retries, in milliseconds. Default 60 000. */
  readonly timeoutMs?: number | undefined;
  /** Is told why there is no answer, in words that the host must not see. */
  readonly onFailure?: (error: ClientError) => void;
}

/**
 * The tools and jobs of a remote server, for the client of a credential. Every reply is verified before
 * anything of it is given on (docs/protocol.md §8, last line); its methods throw ProtocolError for what the
 * server refused, and ClientError, with words that hold nothing of the reply, when there is no answer to trust.
 *
 * @throws TypeError for a credential without a `url` when there is no transport
 */
export function createRemoteBackend(
  credential: Credential & { readonly url: string },
  { transport, timeoutMs = CLIENT_LIMITS.timeoutMs, onFailure = () => {} }: RemoteOptions = {},
): Backend {
  const carry = transport ?? fetchTransport(credential.url);
  const exchange = createExchange(credential, carry, SYSTEM_CLOCK, timeoutMs);
  const ask: Ask = async (tool, args, options) => {
    try {
      return await exchange(tool, args, options);
    } catch (error) {
      if (!(error instanceof ClientError)) throw error;
      onFailure(error);
      throw hostError(error);
    }
  };
  const known = createKnownJobs(ask);
  let jobTools: ReadonlySet<string> = new Set();

  /** Looks once, and remembers what was seen. */
  async function look(id: string, waitMs: number, signal?: AbortSignal): Promise<Seen> {
    const args = waitMs === 0 ? { job_id: id } : { job_id: id, wait_ms: waitMs };
    // Whoever holds a wait has time, and a job is worth it: a restart of the server is ridden out.
    const reply = await ask('poll_job', args, { signal, persistent: signal !== undefined });
    return known.see(id, readJob(reply), reply.ts_ms);
  }

  /**
   * What has changed since the last look is told at once, for a held poll waits for the next change. A server
   * that does not hold it is not asked faster than it says.
   */
  async function wait(id: string, ms: number, signal: AbortSignal): Promise<JobView> {
    const askedMs = performance.now();
    const now = await look(id, 0, signal);
    if (now.news || isTerminal(now.view.state)) return now.view;
    const { view, news } = await look(id, Math.min(Math.floor(ms), SERVER_LIMITS.maxWaitMs), signal);
    const pauseMs = Math.min(view.pollAfterMs, ms) - (performance.now() - askedMs);
    if (!news && pauseMs > 0) await SYSTEM_CLOCK.sleep(pauseMs, signal);
    return view;
  }

  return {
    name: credential.server_id,

    async tools() {
      const tools = await readTools(ask);
      jobTools = new Set(tools.filter(({ job }) => job).map(({ name }) => name));
      return tools;
    },

    call: (call, watch) => start(ask, call, jobTools.has(call.tool) ? {} : watch, known.started),

    async job(id, held) {
      if (held === undefined || held.signal.aborted) return (await look(id, 0)).view;
      try {
        return await wait(id, held.ms, held.signal);
      } catch (error) {
        // Who waited has gone: the job is as it is.
        if (held.signal.aborted) return (await look(id, 0)).view;
        throw error instanceof ClientError ? stillThere(error, id) : error;
      }
    },

    async cancel(id) {
      await ask('cancel_job', { job_id: id });
    },

    async answer(id, answers) {
      await ask('answer_job', { job_id: id, answers });
    },
  };
}

/**
 * A tool known as a job is not interrupted: its acceptance takes milliseconds, and an id that nobody was
 * told could not be cancelled either.
 */
async function start(
  ask: Ask,
  { requestId, tool, args }: ToolCall,
  { signal }: Watch,
  onJob: (id: string, tool: string, nowMs: number) => JobView,
): Promise<Called> {
  let reply: ResponseMessage;
  try {
    reply = await ask(tool, args, { requestId, signal });
  } catch (error) {
    // What no message can carry, such as a lone surrogate or a megabyte.
    if (error instanceof TypeError || error instanceof RangeError)
      throw new ProtocolError('invalid_args', error.message);
    throw error;
  }
  const id = acceptedIdOf(reply);
  if (id !== null) return { kind: 'job', job: onJob(id, tool, reply.ts_ms) };
  if (reply.error !== null) throw errorOf(reply);
  return { kind: 'result', result: reply.result ?? {} };
}

function stillThere(error: ClientError, id: string): ClientError {
  return new ClientError(error.kind, `${error.message}; job ${id} may still run`, { cause: error });
}
