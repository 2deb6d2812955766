import { describe, expect, onTestFinished, test } from 'vitest';
import type { Consumer, Dispatcher, RunJob, ToolLimits, Verdict } from '../../src/jobs/dispatcher.ts';
import type { Dispatch } from '../../src/store/index.ts';
import { gate } from '../support/gate.ts';

/** An empty queue. What it opened is closed when the test ends. */
export interface OpenQueue {
  readonly dispatcher: Dispatcher;
  /** Brings a new job to the queue as the server does, its record too where the queue needs one. */
  submit(job: Dispatch, runAtMs: number): Promise<void>;
  /** The same queue for another process, where there can be one. */
  readonly another?: () => Promise<Dispatcher>;
}

export interface QueueOptions {
  readonly limits?: ToolLimits;
}

export interface DispatcherTraits {
  /** Of each consumer: a job whose run failed comes back at the latest when it has run out, and somebody looks. */
  readonly leaseMs?: number;
  /** By how much a job may start before its time. */
  readonly slackMs?: number;
}

type Open = (options?: QueueOptions) => Promise<OpenQueue>;

/** What every Dispatcher does. `open` gives an empty queue. */
export function describeDispatcher(name: string, open: Open, traits: DispatcherTraits = {}): void {
  describe(`${name}: a dispatcher`, () => {
    describeHandingOut(open, traits);
    describeTimes(open, traits);
    describeStop(open, traits);
  });
  describe(`${name}: limits of tools`, () => {
    describeLimits(open, traits);
  });
}

function describeHandingOut(open: Open, traits: DispatcherTraits): void {
  const { slackMs = 0 } = traits;

  test('hands out every job that was pushed, once', async () => {
    const queue = await open();
    const before = someJobs(50);
    for (const job of before) await queue.submit(job, Date.now());
    const floor = startFloor(queue.dispatcher, traits);
    const meanwhile = someJobs(50);
    await Promise.all(meanwhile.map((job) => queue.submit(job, Date.now())));
    await floor.ran(100);
    await floor.stop();
    expect(floor.started.toSorted()).toEqual(idsOf([...before, ...meanwhile]).toSorted());
  });

  test('hands out no more at once than the consumer takes', async () => {
    const queue = await open();
    const stay = gate();
    const floor = startFloor(queue.dispatcher, { ...traits, concurrency: 3, run: () => stay.opened });
    for (const job of someJobs(10)) await queue.submit(job, Date.now());
    await floor.begun(3);
    stay.open();
    await floor.ran(10);
    expect(floor.most()).toBe(3);
  });

  /** @returns false when its next time came too early: before all had been pushed */
  async function carriesOnce(retryAfterMs: number): Promise<boolean> {
    const queue = await open();
    const [first, waiting] = someJobs(2);
    const stay = gate();
    const verdicts: Verdict[] = [{ retryAfterMs }];
    const push = async (job: Dispatch) => {
      for (let i = 0; i < 3; i++) await queue.dispatcher.push(job, Date.now());
    };
    const floor = startFloor(queue.dispatcher, {
      ...traits,
      concurrency: 1,
      run: async (id) => {
        await stay.opened;
        return id === first.id ? verdicts.shift() : 'done';
      },
    });
    await queue.submit(first, Date.now());
    await floor.begun(1);
    await queue.submit(waiting, Date.now());
    await push(waiting);
    await push(first);
    stay.open();
    await floor.ran(2);
    const askedMs = floor.endMs(first);
    await push(first);
    if (Date.now() >= askedMs + retryAfterMs - slackMs) return false;
    await floor.ran(3);
    expect(floor.startMs(first)).toBeGreaterThanOrEqual(askedMs + retryAfterMs - slackMs);
    await assertNothingElse(queue, floor);
    expect(floor.started.slice(0, 3)).toEqual([first.id, waiting.id, first.id]);
    return true;
  }

  test('carries a job once, however often it is pushed while it waits, runs, or waits for its next time', async () => {
    // On a busy machine a push takes its time.
    let retryAfterMs = 400;
    while (!(await carriesOnce(retryAfterMs))) retryAfterMs *= 4;
    expect(retryAfterMs).toBeLessThan(60_000);
  });

  test('hands out lower priorities first, and what came first among equals', async () => {
    const queue = await open();
    const stay = gate();
    const floor = startFloor(queue.dispatcher, { ...traits, concurrency: 1, run: () => stay.opened });
    const blocker = aJob();
    await queue.submit(blocker, Date.now());
    await floor.begun(1);
    const waiting: Dispatch[] = [];
    for (const priority of [2, 1, 0, 3, 1, 0, 2, 0]) {
      const each = aJob({ priority });
      await queue.submit(each, Date.now());
      waiting.push(each);
    }
    stay.open();
    await floor.ran(1 + waiting.length);
    const expected = waiting.toSorted((a, b) => a.priority - b.priority);
    expect(floor.started).toEqual(idsOf([blocker, ...expected]));
  });

  test('takes a job off that waits, and carries it again when it is pushed again', async () => {
    const queue = await open();
    const stay = gate();
    const floor = startFloor(queue.dispatcher, { ...traits, concurrency: 1, run: () => stay.opened });
    const [blocker, removed, later, next] = someJobs(4);
    await queue.submit(blocker, Date.now());
    await floor.begun(1);
    await queue.submit(removed, Date.now());
    await queue.submit(later, Date.now() + 60_000);
    await queue.submit(next, Date.now());
    for (const each of [removed, later]) await queue.dispatcher.remove(each);
    stay.open();
    await floor.ran(2);
    await assertNothingElse(queue, floor);
    expect(floor.started.slice(0, 2)).toEqual([blocker.id, next.id]);
    for (const each of [removed, later]) await queue.dispatcher.push(each, Date.now());
    await floor.ranAll([removed, later]);
  });

  test('removes nothing that it does not carry', async () => {
    const queue = await open();
    await queue.dispatcher.remove(aJob());
    await queue.dispatcher.ping();
    const floor = startFloor(queue.dispatcher, traits);
    await assertNothingElse(queue, floor);
  });

  test('shares its jobs among its consumers, each of them once', async () => {
    const queue = await open();
    const both = gate();
    const floors = [queue.dispatcher, await another(queue)].map((dispatcher) =>
      startFloor(dispatcher, { ...traits, concurrency: 2, run: () => both.opened }),
    );
    const all = someJobs(20);
    for (const each of all) await queue.submit(each, Date.now());
    // Each has taken what it can hold: neither is left out.
    await Promise.all(floors.map((floor) => floor.begun(2)));
    both.open();
    await Promise.all(all.map((each) => Promise.any(floors.map((floor) => floor.ranAll([each])))));
    await Promise.all(floors.map((floor) => floor.stop()));
    expect(floors.flatMap((floor) => floor.started).toSorted()).toEqual(idsOf(all).toSorted());
  });
}

function describeTimes(open: Open, traits: DispatcherTraits): void {
  const { leaseMs = SHORT_LEASE_MS, slackMs = 0 } = traits;

  test('hands out a job that was pushed for later when its time has come, not before', async () => {
    const queue = await open();
    const floor = startFloor(queue.dispatcher, { ...traits, concurrency: 1 });
    const [first, later, now] = someJobs(3);
    // The consumer is at rest and would take what comes at once.
    await queue.submit(first, Date.now());
    await floor.ran(1);
    const runAtMs = Date.now() + 400;
    await queue.submit(later, runAtMs);
    await queue.submit(now, Date.now());
    await floor.ran(3);
    expect(floor.started.toSorted()).toEqual(idsOf([first, now, later]).toSorted());
    expect(floor.startMs(later)).toBeGreaterThanOrEqual(runAtMs - slackMs);
  });

  test('brings a job back that asks for another run, not before the time that it asks for', async () => {
    const queue = await open();
    const verdicts: Verdict[] = [{ retryAfterMs: 300 }, { retryAfterMs: 0 }];
    const floor = startFloor(queue.dispatcher, {
      ...traits,
      run: async (id) => (id === retried.id ? verdicts.shift() : 'done'),
    });
    const [retried, other] = someJobs(2);
    await queue.submit(retried, Date.now());
    await floor.ran(1);
    const askedMs = floor.endMs(retried);
    await queue.submit(other, Date.now());
    await floor.ran(3);
    expect(floor.startMs(retried)).toBeGreaterThanOrEqual(askedMs + 300 - slackMs);
    // And at once where it asks for that.
    await floor.ran(4);
    await assertNothingElse(queue, floor);
    expect(floor.started.slice(0, 4).toSorted()).toEqual(
      [retried.id, retried.id, retried.id, other.id].toSorted(),
    );
  });

  test('brings a job back whose run was rejected', async () => {
    const queue = await open();
    let fails = true;
    const floor = startFloor(queue.dispatcher, {
      ...traits,
      leaseMs,
      errors: 'expected',
      run: async (id) => {
        if (id !== broken.id || !fails) return;
        fails = false;
        throw new Error('the records are not there');
      },
    });
    const [broken, other] = someJobs(2);
    await queue.submit(broken, Date.now());
    await floor.ran(1);
    await queue.submit(other, Date.now());
    await floor.ran(3);
    expect(floor.started.toSorted()).toEqual([broken.id, broken.id, other.id].toSorted());
    await assertNothingElse(queue, floor);
  });

  /** How often a job began that runs longer than the lease of its consumer, and how often that lost it. */
  async function holdLonger(heldMs: number): Promise<{ readonly began: number; readonly lost: number }> {
    const queue = await open();
    const stay = gate();
    const lost: string[] = [];
    const held = aJob();
    const floors = [queue.dispatcher, await another(queue)].map((dispatcher) =>
      startFloor(dispatcher, {
        ...traits,
        leaseMs: heldMs,
        run: async (id, lease) => {
          lease.onLost = () => lost.push(id);
          if (id === held.id) await stay.opened;
        },
      }),
    );
    await queue.submit(held, Date.now());
    await Promise.any(floors.map((floor) => floor.begun(1)));
    // In which somebody else would have it, if it was not renewed.
    await new Promise((resolve) => setTimeout(resolve, 2.5 * heldMs));
    stay.open();
    await Promise.any(floors.map((floor) => floor.ranAll([held])));
    await Promise.all(floors.map((floor) => floor.stop()));
    return { began: floors.flatMap((floor) => floor.started).length, lost: lost.length };
  }

  test('keeps a job to who runs it, longer than a lease too', async () => {
    let held = await holdLonger(leaseMs);
    // A busy machine may miss to renew a short one.
    if (held.began > 1 || held.lost > 0) held = await holdLonger(6 * leaseMs);
    expect(held).toEqual({ began: 1, lost: 0 });
  });
}

function describeStop(open: Open, traits: DispatcherTraits): void {
  test('lets what runs end when it is stopped, takes nothing more, and leaves the rest to the next', async () => {
    const queue = await open();
    const stay = gate();
    const first = startFloor(queue.dispatcher, { ...traits, concurrency: 2, run: () => stay.opened });
    const all = someJobs(6);
    for (const each of all) await queue.submit(each, Date.now());
    await first.begun(2);
    let hasStopped = false;
    const stopped = first.stop().then(() => (hasStopped = true));
    for (let i = 0; i < 5; i++) await queue.dispatcher.ping();
    expect(hasStopped).toBe(false);
    stay.open();
    await stopped;
    expect(first.ended).toHaveLength(2);
    expect(first.started).toHaveLength(2);

    const second = startFloor(queue.dispatcher, traits);
    await second.ran(4);
    await assertNothingElse(queue, second);
    expect(first.started).toHaveLength(2);
    expect([...first.started, ...second.started.slice(0, 4)].toSorted()).toEqual(idsOf(all).toSorted());
  });

  test('stops at once when nothing runs, and when it has hardly begun', async () => {
    const queue = await open();
    for (let i = 0; i < 3; i++) await startFloor(queue.dispatcher, traits).stop();
    const floor = startFloor(queue.dispatcher, traits);
    await assertNothingElse(queue, floor);
    await floor.stop();
  });

  test('is told to close when its consumers have stopped', async () => {
    const { dispatcher, submit } = await open();
    const floor = startFloor(dispatcher, traits);
    await submit(aJob(), Date.now());
    await floor.ran(1);
    await floor.stop();
    await expect(dispatcher.close()).resolves.toBeUndefined();
  });
}

function describeLimits(open: Open, traits: DispatcherTraits): void {
  const limits = new Map([
    ['narrow', 2],
    ['single', 1],
  ]);

  /** Limited tools at once, counted over all consumers. */
  function createCounter() {
    const now = new Map<string, number>();
    const most = new Map<string, number>();
    return {
      most,
      async during<T>(tool: string, work: () => Promise<T>): Promise<T> {
        now.set(tool, (now.get(tool) ?? 0) + 1);
        most.set(tool, Math.max(most.get(tool) ?? 0, now.get(tool) ?? 0));
        try {
          return await work();
        } finally {
          now.set(tool, (now.get(tool) ?? 0) - 1);
        }
      },
    };
  }

  test.each([
    ['one consumer', 1],
    ['two consumers', 2],
  ])('hold in %s: others run meanwhile, and all run in the end', async (_who, consumers) => {
    const queue = await open({ limits });
    const stay = gate();
    const counter = createCounter();
    const all = [...someJobs(12, 'narrow'), ...someJobs(6, 'single'), ...someJobs(30, 'wide')];
    const toolOf = new Map(all.map(({ id, tool }) => [id, tool]));
    const run = (id: string) => {
      const tool = toolOf.get(id) ?? '';
      return counter.during(tool, async () => {
        if (tool !== 'wide') await stay.opened;
        // Long enough for another one to be let in if it could.
        await new Promise((resolve) => setTimeout(resolve, 3));
      });
    };
    const dispatchers = consumers === 1 ? [queue.dispatcher] : [queue.dispatcher, await another(queue)];
    const floors = dispatchers.map((dispatcher) =>
      startFloor(dispatcher, { ...traits, concurrency: 8, run }),
    );
    const allRan = (which: readonly Dispatch[]) =>
      Promise.all(which.map((each) => Promise.any(floors.map((floor) => floor.ranAll([each])))));

    // Those with a limit stand before the others.
    for (const each of all) await queue.submit(each, Date.now());
    await allRan(all.filter(({ tool }) => tool === 'wide'));
    stay.open();
    await allRan(all);
    await Promise.all(floors.map((floor) => floor.stop()));
    expect(Object.fromEntries(counter.most)).toMatchObject({ narrow: 2, single: 1 });
    expect(floors.flatMap((floor) => floor.started).toSorted()).toEqual(idsOf(all).toSorted());
  });

  test('count a job that is to run again only while it runs', async () => {
    const queue = await open({ limits });
    const [retried, next] = someJobs(2, 'single');
    const floor = startFloor(queue.dispatcher, {
      ...traits,
      run: async (id) => (id === retried.id ? { retryAfterMs: 60_000 } : 'done'),
    });
    await queue.submit(retried, Date.now());
    await floor.ran(1);
    await queue.submit(next, Date.now());
    await floor.ran(2);
    expect(floor.started).toEqual(idsOf([retried, next]));
  });

  test('count no job whose run was rejected, or that was taken off', async () => {
    const queue = await open({ limits });
    const [broken, removed, last] = someJobs(3, 'single');
    const stay = gate();
    let fails = true;
    const floor = startFloor(queue.dispatcher, {
      ...traits,
      leaseMs: traits.leaseMs ?? SHORT_LEASE_MS,
      errors: 'expected',
      run: async (id) => {
        if (id !== broken.id || !fails) return;
        await stay.opened;
        fails = false;
        throw new Error('the records are not there');
      },
    });
    await queue.submit(broken, Date.now());
    await floor.begun(1);
    await queue.submit(removed, Date.now());
    await queue.submit(last, Date.now());
    await queue.dispatcher.remove(removed);
    stay.open();
    await floor.ranAll([last]);
    await floor.ran(3);
    expect(floor.started.toSorted()).toEqual(idsOf([broken, broken, last]).toSorted());
  });

  test('let lower priorities of the same tool go first', async () => {
    const queue = await open({ limits });
    const stay = gate();
    const floor = startFloor(queue.dispatcher, { ...traits, run: () => stay.opened });
    const blocker = aJob({ tool: 'single' });
    await queue.submit(blocker, Date.now());
    await floor.begun(1);
    const waiting = [2, 1, 0].map((priority) => aJob({ tool: 'single', priority }));
    for (const each of waiting) await queue.submit(each, Date.now());
    stay.open();
    await floor.ran(4);
    expect(floor.started).toEqual(idsOf([blocker, ...waiting.toReversed()]));
  });
}

/** Above what a busy machine needs to renew. */
const LEASE_MS = 5_000;
/** So that what waits for one to run out does not wait long. */
const SHORT_LEASE_MS = 1_000;

export interface FloorOptions extends DispatcherTraits {
  readonly concurrency?: number;
  readonly run?: (id: string, lease: Parameters<RunJob>[1]) => Promise<Verdict | void>;
  /** Does the test make runs fail? */
  readonly errors?: 'expected';
}

/** A consumer that notes what it is handed. */
export interface Floor {
  /** Ids of the runs, in the order in which they began. */
  readonly started: readonly string[];
  readonly ended: readonly string[];
  /** Of the newest run of the job. */
  startMs(job: Dispatch): number;
  endMs(job: Dispatch): number;
  /** Most runs at once so far. */
  most(): number;
  begun(count: number): Promise<void>;
  ran(count: number): Promise<void>;
  ranAll(jobs: readonly Dispatch[]): Promise<void>;
  stop(): Promise<void>;
}

/** Stopped when the test ends. */
export function startFloor(dispatcher: Dispatcher, options: FloorOptions = {}): Floor {
  const { concurrency = 4, leaseMs = LEASE_MS, run } = options;
  const [started, ended, errors]: [string[], string[], unknown[]] = [[], [], []];
  const [startMs, endMs] = [new Map<string, number>(), new Map<string, number>()];
  const watchers = new Set<() => void>();
  /** The test is: whatever still runs ends. */
  const over = gate();
  let most = 0;

  function note(list: string[], times: Map<string, number>, id: string): void {
    list.push(id);
    times.set(id, Date.now());
    most = Math.max(most, started.length - ended.length);
    for (const look of watchers) look();
  }

  function until(condition: () => boolean): Promise<void> {
    const { opened, open } = gate();
    const look = () => {
      if (!condition()) return;
      watchers.delete(look);
      open();
    };
    watchers.add(look);
    look();
    return opened;
  }

  const consumer: Consumer = dispatcher.consume(
    async (id, lease) => {
      note(started, startMs, id);
      try {
        return (await Promise.race([run?.(id, lease), over.opened])) ?? 'done';
      } finally {
        note(ended, endMs, id);
      }
    },
    { concurrency, leaseMs, onError: (error) => errors.push(error) },
  );
  let stopping: Promise<void> | null = null;
  const stop = () => (stopping ??= consumer.stop());
  onTestFinished(async () => {
    over.open();
    await stop();
    expect(options.errors === 'expected' ? [] : errors).toEqual([]);
  });
  return {
    started,
    ended,
    startMs: ({ id }) => startMs.get(id) ?? Number.NaN,
    endMs: ({ id }) => endMs.get(id) ?? Number.NaN,
    most: () => most,
    begun: (count) => until(() => started.length >= count),
    ran: (count) => until(() => ended.length >= count),
    ranAll: (which) => until(() => which.every(({ id }) => ended.includes(id))),
    stop,
  };
}

/** A job that comes last is the next that runs: nothing else is there. */
async function assertNothingElse(queue: OpenQueue, floor: Floor): Promise<void> {
  const before = floor.started.length;
  const last = aJob();
  await queue.submit(last, Date.now());
  await floor.ranAll([last]);
  expect(floor.started.slice(before)).toEqual([last.id]);
}

function another({ dispatcher, another: open }: OpenQueue): Promise<Dispatcher> {
  return open === undefined ? Promise.resolve(dispatcher) : open();
}

function aJob(members: Partial<Dispatch> = {}): Dispatch {
  return { id: `job_${crypto.randomUUID()}`, tool: 'work', priority: 0, ...members };
}

export function someJobs<const Count extends number>(count: Count, tool = 'work'): Jobs<Count> {
  // As many as were asked for.
  return Array.from({ length: count }, () => aJob({ tool })) as unknown as Jobs<Count>;
}

/** So that few can be taken apart by name. */
type Jobs<Count extends number> = Count extends 2
  ? readonly [Dispatch, Dispatch]
  : Count extends 3
    ? readonly [Dispatch, Dispatch, Dispatch]
    : Count extends 4
      ? readonly [Dispatch, Dispatch, Dispatch, Dispatch]
      : readonly Dispatch[];

export function idsOf(which: readonly Dispatch[]): string[] {
  return which.map(({ id }) => id);
}
