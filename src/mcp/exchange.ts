import type { Logger } from '../tools/index.ts';
import type { JsonObject } from '../wire/json.ts';
import type { Backend, Watch } from './backend.ts';
import type { HeaderRule } from './param-headers.ts';
import type { Report } from './progress.ts';
import type { Implementation } from './protocol.ts';

/** One request on its way: whom it asks, and how its transport carries more than the answer. */
export interface Exchange extends Watch {
  readonly backend: Backend;
  readonly serverInfo: Implementation;
  readonly log: Logger;
  /** How long a call to a job waits for a client without Tasks, in milliseconds. */
  readonly waitMs: number;
  /** Aborts when the client cancels. */
  readonly signal: AbortSignal;
  /** Tells the client how far its call is, if it asked to be told. */
  readonly progress: Report;
  /** Resolves when the client cancels or the server shuts down: the end of a subscription. */
  readonly ended: Promise<void>;
  /** Sends a notification that belongs to this request; does nothing once it is answered. */
  notify(method: string, params: JsonObject): void;
  /** Compares arguments with their headers, on transports that have some. @throws RpcError `headerMismatch` */
  checkArguments(rules: readonly HeaderRule[], args: JsonObject): void;
}

/** @returns a promise that resolves when one of the signals aborts */
export function whenAborted(...signals: readonly AbortSignal[]): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      // One of them outlives the others: what listens must not stay on it.
      for (const signal of signals) signal.removeEventListener('abort', done);
      resolve();
    };
    for (const signal of signals) signal.addEventListener('abort', done);
    if (signals.some(({ aborted }) => aborted)) done();
  });
}
