/**
 * Micro-batches: what is asked for in one turn of the event loop, and while the batch before is under way,
 * goes to the database in one statement, one round trip and one commit. See docs/adr/0009-postgres-engine.md.
 */
export interface Batcher<In, Out> {
  run(item: In): Promise<Out>;
  /** Resolves when nothing waits and nothing is under way. */
  idle(): Promise<void>;
}

export interface BatchOptions<In> {
  readonly maxItems: number;
  /** Batches that may be under way at the same time. */
  readonly atOnce?: number;
  /** Of two items of one key the second waits until the first is done, in the order they were asked for. */
  readonly keyOf?: (item: In) => string;
  /** Length of the text that an item makes of a statement; a batch ends before it is too long. */
  readonly charsOf?: (item: In) => number;
}

/** A statement of more text would hold up the others, and the memory of the database. */
const MAX_CHARS = 4_194_304;

interface Waiting<In, Out> {
  readonly item: In;
  readonly resolve: (value: Out) => void;
  readonly reject: (error: unknown) => void;
}

/** @param runAll gives one value for each item, in their order; if it rejects, so do all of them */
export function createBatcher<In, Out>(
  runAll: (items: readonly In[]) => Promise<readonly Out[]>,
  { maxItems, atOnce = 1, keyOf, charsOf = () => 0 }: BatchOptions<In>,
): Batcher<In, Out> {
  let waiting: Waiting<In, Out>[] = [];
  let isScheduled = false;
  let underWay = 0;
  /** Of the items under way. */
  const keys = new Set<string>();
  const whenIdle: (() => void)[] = [];

  /** The first that fit and whose keys are free; those left over wait in their order. */
  function take(): Waiting<In, Out>[] {
    const batch: Waiting<In, Out>[] = [];
    const left: Waiting<In, Out>[] = [];
    const passed = new Set<string>();
    let chars = 0;
    for (const each of waiting) {
      const key = keyOf?.(each.item);
      const isFull = batch.length === maxItems || (chars > 0 && chars + charsOf(each.item) > MAX_CHARS);
      if (isFull || (key !== undefined && (keys.has(key) || passed.has(key)))) {
        left.push(each);
        if (key !== undefined) passed.add(key);
      } else {
        chars += charsOf(each.item);
        batch.push(each);
        if (key !== undefined) keys.add(key);
      }
    }
    waiting = left;
    return batch;
  }

  /** What waits, as far as it may go now. */
  function flush(): void {
    isScheduled = false;
    while (underWay < atOnce && waiting.length > 0) {
      const batch = take();
      if (batch.length === 0) break;
      underWay++;
      void runBatch(batch);
    }
    if (underWay === 0) for (const done of whenIdle.splice(0)) done();
  }

  async function runBatch(batch: readonly Waiting<In, Out>[]): Promise<void> {
    try {
      const values = await runAll(batch.map(({ item }) => item));
      batch.forEach(({ resolve }, n) => {
        // One value for each item, as runAll promises.
        resolve(values[n] as Out);
      });
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
    underWay--;
    if (keyOf !== undefined) for (const { item } of batch) keys.delete(keyOf(item));
    schedule();
  }

  /** At the end of the turn, when all who ask in it have asked. */
  function schedule(): void {
    if (isScheduled) return;
    isScheduled = true;
    setImmediate(flush);
  }

  return {
    run(item) {
      return new Promise((resolve, reject) => {
        waiting.push({ item, resolve, reject });
        if (underWay < atOnce) schedule();
      });
    },
    idle: () =>
      isScheduled || underWay > 0 ? new Promise((resolve) => whenIdle.push(resolve)) : Promise.resolve(),
  };
}
