import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { busy, ProtocolError } from '../../errors/index.ts';
import { MCP_LIMITS, SERVER_LIMITS } from '../../limits.ts';
import { isTerminal } from '../../store/record-store.ts';
import { isObject, type JsonObject } from '../../wire/json.ts';
import type { Backend, JobView } from '../backend.ts';
import type { Catalog } from '../catalog.ts';
import { META } from '../protocol.ts';
import { RpcError, rpcErrorOf } from '../rpc.ts';
import type { Exchange } from '../exchange.ts';
import { type ModernRequest, requireTasks } from './request.ts';
import { detailedTask } from './tasks.ts';

let open = 0;
/** Of each caller: nobody may take the places of all. */
const openOf = new WeakMap<object, number>();

/**
 * `subscriptions/listen`: tells of the tasks that were named until the client goes, is refused or the server ends
 * (2026-07-28, basic/patterns/subscriptions; Tasks, “Task Status Notifications”). Our tools never change, so
 * tasks are all there is to tell of.
 */
export async function listenTo(
  request: ModernRequest,
  catalog: Catalog,
  exchange: Exchange,
): Promise<JsonObject> {
  const wanted = taskIdsOf(request);
  const { backend } = exchange;
  const { caller = backend } = backend;
  const own = openOf.get(caller) ?? 0;
  if (open >= MCP_LIMITS.maxSubscriptions || own >= MCP_LIMITS.maxOwnSubscriptions)
    throw rpcErrorOf(busy('too many subscriptions are open', 1_000));
  open++;
  openOf.set(caller, own + 1);
  // One listener for each of its tasks; that is no leak.
  setMaxListeners(0, exchange.signal);
  try {
    const named = { _meta: { [META.subscriptionId]: request.id } };
    const tell = (method: string, params: JsonObject) => exchange.notify(method, { ...params, ...named });
    const found = await Promise.all(wanted.map((id) => backend.job(id).catch(() => null)));
    const jobs = found.filter((job) => job !== null);
    const notifications = wanted.length === 0 ? {} : { taskIds: jobs.map(({ id }) => id) };
    tell('notifications/subscriptions/acknowledged', { notifications });
    let over = false;
    const ended = exchange.ended.then(() => {
      over = true;
    });
    const followed = {
      taskOf: (job: JobView) => detailedTask(job, catalog.find(job.tool)),
      tell: (task: JsonObject) => tell('notifications/tasks', task),
      isOver: () => over,
    };
    const all = Promise.all(jobs.map((job) => follow(job, exchange, followed)));
    await Promise.race([ended, all.then(() => ended)]).catch((error: unknown) => {
      // Whoever is refused now will be: no more is told, and the client learns why when it asks again.
      over = true;
      if (!isRefusal(error)) throw error;
    });
    return { resultType: 'complete', ...named };
  } finally {
    open--;
    openOf.set(caller, (openOf.get(caller) ?? 1) - 1);
  }
}

/** @throws RpcError `invalidParams`, `missingCapability` */
function taskIdsOf(request: ModernRequest): readonly string[] {
  const { notifications = {} } = request.params;
  if (!isObject(notifications)) throw new RpcError('invalidParams', 'notifications must be an object');
  const { taskIds } = notifications;
  if (taskIds === undefined) return [];
  requireTasks(request);
  if (!Array.isArray(taskIds) || !taskIds.every((id) => typeof id === 'string'))
    throw new RpcError('invalidParams', 'notifications.taskIds must be a list of strings');
  const ids = [...new Set(taskIds)];
  if (ids.length > MCP_LIMITS.maxSubscribedTasks)
    throw new RpcError(
      'invalidParams',
      `at most ${MCP_LIMITS.maxSubscribedTasks} tasks for one subscription`,
    );
  return ids;
}

interface Followed {
  readonly taskOf: (job: JobView) => JsonObject;
  readonly tell: (task: JsonObject) => void;
  readonly isOver: () => boolean;
}

/** Tells how a task stands now and after each change, until it has ended. @throws ProtocolError `forbidden` */
async function follow(
  started: JobView,
  { backend, signal }: Exchange,
  { taskOf, tell, isOver }: Followed,
): Promise<void> {
  let job: JobView | null = started;
  let told = '';
  while (job !== null && !isOver()) {
    const task = taskOf(job);
    const text = JSON.stringify(task);
    if (text !== told) tell(task);
    told = text;
    if (isTerminal(job.state)) return;
    job = await patiently(isOver, signal, next(backend, job, signal));
  }
}

function next(
  backend: Backend,
  { id, revision: after }: JobView,
  signal: AbortSignal,
): () => Promise<JobView | null> {
  return async () => {
    try {
      return await backend.job(id, { ms: SERVER_LIMITS.maxWaitMs, signal, after });
    } catch (error) {
      // It was forgotten.
      if (error instanceof ProtocolError && error.code === 'not_found') return null;
      throw error;
    }
  };
}

/** Its key was taken back, or it was revoked or has expired: asking again would be in vain. */
function isRefusal(error: unknown): boolean {
  return error instanceof ProtocolError && error.code === 'forbidden';
}

/**
 * A server that cannot tell at the moment is asked again, less and less often: the client relies on being told.
 *
 * @throws ProtocolError `forbidden`
 */
async function patiently<T>(
  isOver: () => boolean,
  signal: AbortSignal,
  work: () => Promise<T | null>,
): Promise<T | null> {
  for (let pauseMs: number = SERVER_LIMITS.pollAfterMs; !isOver(); pauseMs *= 2) {
    try {
      return await work();
    } catch (error) {
      if (isRefusal(error)) throw error;
      const ms = Math.min(pauseMs, MCP_LIMITS.heartbeatMs);
      await sleep(ms, undefined, { signal, ref: false }).catch(() => {});
    }
  }
  return null;
}
