import type { AuditLog } from '../audit/index.ts';
import { ProtocolError } from '../errors/index.ts';
import type { MessageLimits } from '../limits.ts';
import type { JobRecord, Outcome } from '../store/index.ts';
import { type Answers, type Logger, NONE } from '../tools/index.ts';
import { isLarge, nextTurn } from '../turns.ts';
import { checkCarried, type JsonObject } from '../wire/index.ts';
import { recordedRun, textOf } from './audit-calls.ts';
import { authorize, type Policy } from './authorize.ts';
import { outcomeOfJob } from './built-in/jobs.ts';
import { type Call, provenCall } from './call.ts';
import { type DispatchContext, dispatch, type Watch } from './dispatch.ts';
import { type FlightLimits, isFlood, refuseWhenBusy } from './flights.ts';
import { knownError } from './known-error.ts';
import type { Client, KeyRing } from './clients/key-ring.ts';
import { ownJob, ownJobChanged } from './own-job.ts';
import type { Registry } from './registry.ts';
import { refuseEnded, type Scope, scopeOf } from './clients/terms.ts';

declare const isKnown: unique symbol;

/** A client that has shown who it is. */
export interface KnownClient {
  readonly [isKnown]: true;
  readonly clientId: string;
  /** What it has shown it with; names a token or a key in the audit. */
  readonly keyId: string;
  /** `null`: it has shown none. */
  readonly tokenHash: string | null;
}

/** A call as another wire brings it. */
export interface PlainCall {
  readonly requestId: string;
  readonly tool: string;
  readonly args: JsonObject;
  readonly answers?: Answers;
}

/** A call with the canonical text of its `args`, which is written once for all who need it. */
export interface WrittenCall extends Required<PlainCall> {
  readonly argsText: string;
}

function written({ requestId, tool, args, answers = NONE }: PlainCall): WrittenCall {
  return { requestId, tool, args, answers, argsText: textOf(args) };
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
  /** The tools that a client may call. @throws ProtocolError `forbidden` for one that is gone since it was known */
  scopeOf(client: KnownClient): Scope;
  /** Step 4 of the pipeline for a call that is not made, such as a list that is shown. @throws ProtocolError */
  mayCall(client: KnownClient, tool: string): Promise<void>;
  /** Why a call is refused that names no tool which its client may call; nothing of it is run. */
  refusalOf(client: KnownClient, call: PlainCall): Promise<ProtocolError>;
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
  /** `null`: nothing is recorded. */
  readonly audit: AuditLog | null;
}

export function createCalls(context: CallsContext): Calls {
  const { registry, log, store, draining } = context;
  const guarded = createGuard(context);
  const { admitted, clientNamed, clientOf, present } = createPresence(context);

  return {
    registry,
    draining,
    log,
    messageLimits: context.messageLimits,
    clientNamed,
    clientOf,
    scopeOf: (client) => scopeOf(present(client)),
    mayCall(client, tool) {
      const call = written({ requestId: '', tool, args: {} });
      const ask = async () => void (await authorize(admitted(client, call), context));
      return guarded(client, call, ask, null);
    },
    refusalOf(client, plain) {
      const call = written(plain);
      const refuse = async (): Promise<never> => {
        await authorize(admitted(client, call), context);
        throw new ProtocolError('unknown_tool', `there is no tool ${call.tool}`);
      };
      // `guarded` throws nothing else.
      return guarded(client, call, refuse, (never) => never).catch(
        (error: unknown) => error as ProtocolError,
      );
    },
    call(client, plain, watch) {
      const call = written(plain);
      const isLong = isLarge(call.argsText.length);
      const run = async () => {
        const outcome = await dispatch(await authorize(admitted(client, call), context), context, watch);
        if (isLong) await nextTurn();
        // Signing would do it: what the tool of one wire may not return, that of another may not either.
        checkCarried(outcome.result);
        return outcome;
      };
      const start = () => guarded(client, call, run, (outcome) => outcome);
      // Before the guard lets it in: a server that closes waits for those who are in, and may not see one that waits.
      return isLong ? nextTurn().then(start) : start();
    },
    job(client, id, wait) {
      const poll = written({ requestId: '', tool: 'poll_job', args: { job_id: id } });
      // A wait that goes on is part of a call that was counted.
      const counted = wait?.after === undefined;
      const look = async () => {
        await authorize(admitted(client, poll), context, { counted });
        if (wait === undefined) return ownJob(store.jobs, id, client.clientId);
        const { ms, signal, after } = wait;
        const job = await ownJobChanged(store.jobs, id, client.clientId, ms, [signal, draining], after);
        // It may have been revoked meanwhile.
        present(client);
        return job;
      };
      return guarded(client, poll, look, counted ? outcomeOfJob : null);
    },
  };
}

/** Who may come at all, is still there, and so may call. */
function createPresence({ keyRing, now }: Pick<CallsContext, 'keyRing' | 'now'>) {
  function clientNamed(id: string): KnownClient | null {
    const client = keyRing.find(id);
    return client === null ? null : known(client, client.generations[0].keyId, null);
  }

  /** The only place that makes a KnownClient: of a client that may come at all. */
  function known(client: Client, keyId: string, tokenHash: string | null): KnownClient | null {
    try {
      refuseEnded(client, now());
    } catch {
      return null;
    }
    return { clientId: client.id, keyId, tokenHash } as KnownClient;
  }

  /** @throws ProtocolError `forbidden` for a client that is gone since it was known, or whose token is */
  function present({ clientId, tokenHash }: KnownClient): Client {
    const client = keyRing.find(clientId);
    if (client === null) throw new ProtocolError('forbidden', 'this client is not known any more');
    refuseEnded(client, now());
    if (tokenHash !== null && !keyRing.isGood(tokenHash))
      throw new ProtocolError('forbidden', 'this token was taken back');
    return client;
  }

  /** Written out: to spread what is left of a call costs 2 µs. This wire cannot repeat a request. */
  function admitted(caller: KnownClient, { requestId, tool, args, argsText, answers }: WrittenCall): Call {
    const client = present(caller);
    const generation = client.generations[0];
    return provenCall({ client, requestId, tool, args, argsText, answers, mayRepeat: false, generation });
  }

  return {
    admitted,
    clientNamed,
    present,
    clientOf(token: string): KnownClient | null {
      const holder = keyRing.findByToken(token);
      return holder === null ? null : known(holder.client, holder.keyId, holder.tokenHash);
    },
  };
}

/**
 * Counts a call and turns what goes wrong into a known error, as `handle` does.
 *
 * @param outcomeOf what the audit holds of it; `null`: it is not a call of its own
 */
function createGuard(context: CallsContext) {
  const { flights, log, audit } = context;
  return async function guarded<T>(
    client: KnownClient,
    call: WrittenCall,
    work: () => Promise<T>,
    outcomeOf: ((value: T) => Outcome) | null,
  ): Promise<T> {
    const run = async (): Promise<T> => {
      try {
        refuseWhenBusy(context);
        return await work();
      } catch (error) {
        throw knownError(error, log, call.requestId);
      }
    };
    flights.open++;
    try {
      if (audit === null || outcomeOf === null || isFlood(context)) return await run();
      return await recordedRun(audit, client, call, run, outcomeOf);
    } finally {
      flights.open--;
    }
  };
}
