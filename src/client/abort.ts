import { ClientError } from '../errors/index.ts';

interface Watch {
  readonly callbacks: Set<() => void>;
  readonly listener: () => void;
}

const watches = new WeakMap<AbortSignal, Watch>();

/**
 * Calls back once when the signal aborts; returns how to stop. One listener a signal, however many
 * calls share it: Node warns of a leak at the eleventh, and `AbortSignal.any` leaks on Node 20.
 */
export function onAbort(signal: AbortSignal, callback: () => void): () => void {
  const watch = watches.get(signal) ?? startWatch(signal);
  watch.callbacks.add(callback);
  return () => {
    if (!watch.callbacks.delete(callback) || watch.callbacks.size > 0) return;
    watches.delete(signal);
    signal.removeEventListener('abort', watch.listener);
  };
}

function startWatch(signal: AbortSignal): Watch {
  const callbacks = new Set<() => void>();
  const listener = () => {
    watches.delete(signal);
    for (const callback of callbacks) callback();
  };
  const watch = { callbacks, listener };
  watches.set(signal, watch);
  signal.addEventListener('abort', listener, { once: true });
  return watch;
}

/** The promise, or the signal's reason as soon as it aborts: also when what it waits for ignores the signal. */
export function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = onAbort(signal, () => reject(signal.reason));
    promise.then(resolve, reject).finally(stop);
    if (signal.aborted) reject(signal.reason);
  });
}

/** A time limit under a signal of the caller. */
export interface TimeLimit {
  /** Aborts with the caller's reason, or with a `ClientError` `timeout` when the time is over. */
  readonly signal: AbortSignal;
  leftMs(): number;
  /** Frees timer and listener; without it a process would stay alive for the rest of the time. */
  end(): void;
}

export function timeLimit(ms: number, parent: AbortSignal | undefined): TimeLimit {
  const controller = new AbortController();
  const endsAt = performance.now() + ms;
  const timer = setTimeout(() => {
    controller.abort(new ClientError('timeout', `no answer within ${ms} ms`));
  }, ms);
  let stop = (): void => {};
  if (parent?.aborted) controller.abort(parent.reason);
  else if (parent !== undefined) stop = onAbort(parent, () => controller.abort(parent.reason));
  return {
    signal: controller.signal,
    leftMs: () => endsAt - performance.now(),
    end() {
      clearTimeout(timer);
      stop();
    },
  };
}
