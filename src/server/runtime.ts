import { type AuditLog, auditJobs, auditKeys, openAudit } from '../audit/index.ts';
import {
  type Engine,
  openEngine,
  type Sweeper,
  startSweeper,
  startWorker,
  type Worker,
} from '../jobs/index.ts';
import { JOB_LIMITS, SERVER_LIMITS, type TimeWindow } from '../limits.ts';
import { type Master, openMaster } from './clients/master-key.ts';
import type { ResolvedWorker } from './options.ts';
import { within } from './within.ts';

export interface RuntimeOptions extends ResolvedWorker {
  /** `false`: jobs are left to other processes. */
  readonly worker: boolean;
  readonly window?: TimeWindow;
  readonly maxNonces?: number;
}

/** What a server and a worker have in common: the engine, and who runs jobs and looks after their records. */
export interface Runtime extends Engine {
  /** `null`: nothing is recorded. */
  readonly audit: AuditLog | null;
  /** The master key of the store. @throws SetupError, see `openMaster` */
  master(): Promise<Master>;
  /** Starts the worker, if there is one, and the sweeper. */
  start(): void;
  /** Do store and queue work? Answers within `SERVER_LIMITS.readyMs`, even if a service hangs. */
  ready(): Promise<boolean>;
  /** Lets jobs end for `drainMs`, gives the rest back to the queue, and stops the sweeper. */
  stopJobs(): Promise<void>;
  /** Lets go of queue and store. */
  close(): Promise<void>;
}

/** The store whose jobs are in the audit, if there is one. */
async function openRecorded(
  { store }: Engine,
  { audit: isAudited, masterKey, masterFolder, log, now }: RuntimeOptions,
): Promise<Pick<Runtime, 'store' | 'audit' | 'master'>> {
  let opened: Promise<Master> | null = null;
  const master = () => (opened ??= openMaster(store.clients, masterKey, masterFolder, log));
  if (!isAudited) return { store, audit: null, master };
  const keys = auditKeys((await master()).key);
  const audit = await openAudit({ records: store.audit, serverId: store.serverId, keys, log, now });
  return { store: { ...store, jobs: auditJobs(store.jobs, audit) }, audit, master };
}

/** Everything that ends here ends in bounded time, whatever has become of the services: what failed is logged. */
export async function openRuntime(options: RuntimeOptions): Promise<Runtime> {
  const { tools, log, now, drainMs } = options;
  const limits = tools.flatMap(({ name, job }) =>
    job?.concurrency === undefined ? [] : [[name, job.concurrency] as const],
  );
  const engine = await openEngine({ ...options, limits: new Map(limits), defaultServerId: 'waybill' });
  const { dispatcher } = engine;
  const { audit, store, master } = await openRecorded(engine, options).catch(async (error: unknown) => {
    await dispatcher.close();
    await engine.store.close();
    throw error;
  });
  let worker: Worker | null = null;
  let sweeper: Sweeper | null = null;
  let pinging: Promise<true> | null = null;

  async function end(what: string, work: Promise<void> | undefined, moreMs = 0): Promise<void> {
    const ms = SERVER_LIMITS.closeMs + moreMs;
    const ended = within(ms, work?.then(() => true) ?? Promise.resolve(true));
    const isEnded = await ended.catch((error: unknown) => {
      log.error({ err: error }, `${what}: failed to end`);
      return true;
    });
    if (isEnded !== true) log.warn({ after_ms: ms }, `${what}: does not end and is left`);
  }

  return {
    ...engine,
    store,
    audit,
    master,
    start() {
      const byName = new Map(tools.map((tool) => [tool.name, tool]));
      if (options.worker) worker = startWorker({ ...options, store, dispatcher, tools: byName });
      sweeper = startSweeper(store, dispatcher, log, now);
    },
    async ready() {
      // Whoever asks while a service hangs waits for the same answer: nothing piles up.
      pinging ??= Promise.all([store.ping(), dispatcher.ping()]).then(() => true);
      const asked = pinging;
      try {
        return (await within(SERVER_LIMITS.readyMs, asked)) ?? false;
      } catch {
        return false;
      } finally {
        if (pinging === asked) pinging = null;
      }
    },
    async stopJobs() {
      await end('worker', worker?.stop(drainMs), drainMs + JOB_LIMITS.abortGraceMs);
      await end('sweeper', sweeper?.stop());
    },
    async close() {
      await end('queue', dispatcher.close());
      await end('audit', audit?.close());
      await end('store', store.close());
    },
  };
}
