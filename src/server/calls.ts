import type { MessageLimits } from '../limits.ts';
import type { JobRecord, Outcome } from '../store/index.ts';
import { type Answers, type Logger, NONE } from '../tools/index.ts';
import { checkCarried, type JsonObject } from '../wire/index.ts';
import { authorize, type Policy } from './authorize.ts';
import type { Call } from './call.ts';
import { type DispatchContext, dispatch, type Watch } from './dispatch.ts';
import { type FlightLimits, refuseWhenBusy } from './flights.ts';
import { knownError } from './known-error.ts';
import type { KeyRing } from './key-ring.ts';
import { ownJob, ownJobChanged } from './own-job.ts';
import type { Registry } from './registry.ts';

declare const known: unique symbol;

/** A client that has shown who it is. */
export interface KnownClient {
  readonly [known]: true;
  readonly clientId: string;
}

export interface PlainCall {
  readonly requestId: string;
  readonly tool: string;
  readonly args: JsonObject;
  readonly answers?: Answers;
}

/** What another wire than mcp/0.1 needs of a server: its tools and jobs, from `authorize` on. */
export interface Calls {
  readonly registry: Registry;
  /** Aborts when the server starts to drain. */
  readonly draining: AbortSignal;
  readonly log: Logger;
  /** What a message of another wire should keep to as well. */
  readonly messageLimits: MessageLimits;
  /** The client that a bearer token belongs to; takes the same time for every token that is wrong. */
  clientOf(token: string): KnownClient | null;
  /** A client that the operator vouches for. */
  clientNamed(id: string): KnownClient | null;
  /** What the policy says of `list_tools`. @throws ProtocolError */
  mayList(client: KnownClient): Promise<void>;
  /** Steps 4 and 5 of the pipeline. @throws ProtocolError, whatever goes wrong */
  call(client: KnownClient, call: PlainCall, watch?: Watch): Promise<Outcome>;
  /**
   * The record of a client's own job; with `wait` held until it changes (since the revision `after`, if that is
   * given) or ends, at most that long.
   *
   * @throws ProtocolError `not_found`, and what the policy says of `poll_job`
   */
  job(
    client: KnownClient,
    id: string,
    wait?: { readonly ms: number; readonly signal: AbortSignal; readonly after?: number | undefined },
  ): Promise<JobRecord>;
}

export interface CallsContext extends DispatchContext, FlightLimits {
  readonly keyRing: KeyRing;
  readonly policy: Policy | null;
  readonly registry: Registry;
}

export function createCalls(context: CallsContext): Calls {
  const { keyRing, policy, registry, flights, log, store, draining } = context;

  function clientNamed(id: string): KnownClient | null {
    // The other place that makes a KnownClient is below, from a token.
    return keyRing.find(id).known ? ({ clientId: id } as KnownClient) : null;
  }

  /** Counts a call and turns what goes wrong into a known error, as `handle` does. */
  async function guarded<T>(requestId: string, work: () => Promise<T>): Promise<T> {
    flights.open++;
    try {
      refuseWhenBusy(context);
      return await work();
    } catch (error) {
      throw knownError(error, log, requestId);
    } finally {
      flights.open--;
    }
  }

  /** Written out: to spread what is left of a call costs 2 µs. */
  function admitted({ clientId }: KnownClient, { requestId, tool, args, answers = NONE }: PlainCall): Call {
    const { keys } = keyRing.find(clientId);
    // One of the two places that make a Call: its client is known, and this wire cannot repeat a request.
    return { clientId, requestId, tool, args, answers, mayRepeat: false, keys } as Call;
  }

  return {
    registry,
    draining,
    log,
    messageLimits: context.messageLimits,
    clientNamed,
    clientOf(token) {
      const id = keyRing.findByToken(token);
      return id === null ? null : clientNamed(id);
    },
    mayList: (client) =>
      guarded('', async () => {
        const list = { requestId: '', tool: 'list_tools', args: {} };
        await authorize(admitted(client, list), policy, registry);
      }),
    call: (client, call, watch) =>
      guarded(call.requestId, async () => {
        const outcome = await dispatch(
          await authorize(admitted(client, call), policy, registry),
          context,
          watch,
        );
        // Signing would do it: what the tool of one wire may not return, that of another may not either.
        checkCarried(outcome.result);
        return outcome;
      }),
    job: (client, id, wait) =>
      guarded('', async () => {
        const poll = { requestId: '', tool: 'poll_job', args: { job_id: id } };
        await authorize(admitted(client, poll), policy, registry);
        if (wait === undefined) return ownJob(store.jobs, id, client.clientId);
        const { ms, signal, after } = wait;
        return ownJobChanged(store.jobs, id, client.clientId, ms, [signal, draining], after);
      }),
  };
}
