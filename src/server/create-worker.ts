import { resolveWorker, type WorkerOptions } from './options.ts';
import { openRuntime } from './runtime.ts';

/** Runs the jobs that servers accept, in a process without a server. */
export interface Worker {
  readonly serverId: string;
  /** Can it take jobs and record how they end? Answers within two seconds. */
  ready(): Promise<boolean>;
  /** Lets jobs end, gives the rest back to the queue, and closes the store. */
  close(): Promise<void>;
}

/**
 * Opens store and queue and takes jobs; its tools are those of the servers, by name.
 *
 * @throws TypeError, RangeError for wrong options; SetupError when store or queue cannot be used
 */
export async function createWorker(options: WorkerOptions): Promise<Worker> {
  const runtime = await openRuntime({ ...resolveWorker(options), worker: true });
  runtime.start();
  let closed: Promise<void> | null = null;
  return {
    serverId: runtime.store.serverId,
    ready: async () => closed === null && runtime.ready(),
    close() {
      closed ??= runtime.stopJobs().then(runtime.close);
      return closed;
    },
  };
}
