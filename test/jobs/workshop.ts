import { onTestFinished } from 'vitest';
import { z } from 'zod';
import { parseEngineUrls } from '../../src/jobs/engine-urls.ts';
import {
  createSqliteDispatcher,
  type Dispatcher,
  openEngine,
  startWorker,
  type Worker,
} from '../../src/jobs/index.ts';
import type { TestClock } from '../support/clock.ts';
import { MESSAGE_LIMITS, type MessageLimits } from '../../src/limits.ts';
import {
  isTerminal,
  type JobRecord,
  type NewJob,
  type RecordStore,
  type SqliteStore,
} from '../../src/store/index.ts';
import { defineTool, type Tool, type ToolContext } from '../../src/tools/index.ts';
import type { JsonObject } from '../../src/wire/index.ts';
import { createTestLog, type TestLog } from '../support/log.ts';
import { newJob, newRequest } from '../store/new-records.ts';
import { openStore } from '../store/open.ts';

/** Records and a queue: what a worker needs. */
export interface Engine<Store extends RecordStore = RecordStore> {
  readonly store: Store;
  readonly dispatcher: Dispatcher;
}

/** An engine with a worker. */
export interface Workshop<Store extends RecordStore = RecordStore> extends Engine<Store> {
  readonly worker: Worker;
  readonly log: TestLog;
  /** Creates a job as the server does; its id. */
  submit(name: string, members?: Partial<NewJob>): Promise<string>;
  job(id: string): Promise<JobRecord>;
  /** The job when it first is as wanted. */
  until(id: string, isWanted: (job: JobRecord) => boolean): Promise<JobRecord>;
  ended(id: string): Promise<JobRecord>;
  /** Stops the worker, and closes the queue and the store. */
  stop(drainMs?: number): Promise<void>;
}

export interface WorkerSettings {
  readonly now?: () => number;
  readonly concurrency?: number;
  readonly leaseMs?: number;
  readonly messageLimits?: MessageLimits;
}

/** On a real file. */
export interface SqliteWorkshop extends Workshop<SqliteStore> {
  readonly dir: string;
}

export function openWorkshop(
  tools: readonly Tool[],
  { dir, ...settings }: WorkerSettings & { readonly dir?: string } = {},
): SqliteWorkshop {
  const { now = Date.now } = settings;
  const store = openStore({ now, ...(dir !== undefined && { dir }) });
  const dispatcher = createSqliteDispatcher(store, { now });
  return { ...startWorkshop({ store, dispatcher }, tools, settings), dir: store.dir };
}

/** A worker on any engine. Both are stopped when the test ends. */
export function startWorkshop<Store extends RecordStore>(
  { store, dispatcher }: Engine<Store>,
  tools: readonly Tool[],
  settings: WorkerSettings = {},
): Workshop<Store> {
  const { now = Date.now, concurrency = 4, leaseMs = 10_000, messageLimits = MESSAGE_LIMITS } = settings;
  const log = createTestLog();
  const byName = new Map(tools.map((each) => [each.name, each]));
  const worker = startWorker({
    store,
    dispatcher,
    tools: byName,
    log,
    now,
    concurrency,
    leaseMs,
    messageLimits,
  });
  let stopped: Promise<void> | null = null;

  async function until(id: string, isWanted: (job: JobRecord) => boolean): Promise<JobRecord> {
    for (;;) {
      const record = await job(id);
      if (isWanted(record)) return record;
      if (isTerminal(record.state)) throw new Error(`it has ended as ${record.state}: ${record.error}`);
      await store.jobs.changed(id, record.revision, new AbortController().signal);
    }
  }

  async function job(id: string): Promise<JobRecord> {
    const record = await store.jobs.get(id);
    if (record === null) throw new Error(`there is no job ${id}`);
    return record;
  }

  async function stopAll(drainMs: number): Promise<void> {
    await worker.stop(drainMs);
    await dispatcher.close();
    await store.close();
  }

  const stop = (drainMs = 0) => (stopped ??= stopAll(drainMs));
  onTestFinished(() => stop());

  return {
    store,
    dispatcher,
    worker,
    log,
    job,
    until,
    ended: (id) => until(id, ({ state }) => isTerminal(state)),
    stop,
    async submit(name, members = {}) {
      const request = newRequest({ requestId: crypto.randomUUID() });
      const created = newJob({ request, tool: name, args: {}, createdMs: now(), ...members });
      const creation = await store.jobs.create(created);
      if (creation.outcome !== 'created') throw new Error(`it is ${creation.outcome}`);
      const { id, createdMs } = created;
      await dispatcher.push({ id, tool: name, priority: creation.priority }, createdMs);
      return id;
    },
  };
}

/** A tool that takes and gives any object. */
export function tool(
  name: string,
  run: (args: JsonObject, context: ToolContext) => object | Promise<object>,
): Tool {
  return defineTool({
    name,
    description: 'For tests.',
    input: z.record(z.string(), z.unknown()),
    output: z.record(z.string(), z.unknown()),
    job: true,
    // The schema has let an object pass, which JSON was parsed to.
    run: async (args, context) => ({ ...(await run(args as JsonObject, context)) }),
  });
}

interface Urls {
  readonly store: string;
  readonly queue?: string;
}

/** As one process opens it; closed when the test ends unless a workshop has closed it. */
export async function openEngineAt({ store, queue }: Urls, clock?: TestClock): Promise<Engine> {
  const engine = await openEngine({
    urls: parseEngineUrls(store, queue),
    serverId: 'srv-1',
    defaultServerId: 'srv-1',
    limits: new Map(),
    allowVolatileQueue: false,
    now: clock?.now ?? Date.now,
    log: createTestLog(),
  });
  const once = (close: () => Promise<void>) => {
    let closing: Promise<void> | null = null;
    return () => (closing ??= close());
  };
  const closeDispatcher = once(engine.dispatcher.close);
  const closeStore = once(engine.store.close);
  onTestFinished(async () => {
    await closeDispatcher();
    await closeStore();
  });
  return {
    store: { ...engine.store, close: closeStore },
    dispatcher: { ...engine.dispatcher, close: closeDispatcher },
  };
}
