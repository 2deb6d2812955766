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
  /** Two items of one key never share a batch: the second comes after the first, in the order they were asked for. */
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
  { maxItems, keyOf, charsOf = () => 0 }: BatchOptions<In>,
): Batcher<In, Out> {
  let waiting: Waiting<In, Out>[] = [];
  let busy = false;
  const whenIdle: (() => void)[] = [];

  /** The first that fit and are of different keys; those left over wait in their order. */
  function take(): Waiting<In, Out>[] {
    const batch: Waiting<In, Out>[] = [];
    const left: Waiting<In, Out>[] = [];
    const keys = new Set<string>();
    let chars = 0;
    for (const each of waiting) {
      const key = keyOf?.(each.item);
      const isTaken = key !== undefined && keys.has(key);
      if (key !== undefined) keys.add(key);
      const isFull = batch.length === maxItems || (chars > 0 && chars + charsOf(each.item) > MAX_CHARS);
      if (isTaken || isFull) left.push(each);
      else {
        chars += charsOf(each.item);
        batch.push(each);
      }
    }
    waiting = left;
    return batch;
  }

  async function flush(): Promise<void> {
    while (waiting.length > 0) {
      const batch = take();
      try {
        const values = await runAll(batch.map(({ item }) => item));
        batch.forEach(({ resolve }, n) => {
          // One value for each item, as runAll promises.
          resolve(values[n] as Out);
        });
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    busy = false;
    for (const done of whenIdle.splice(0)) done();
  }

  return {
    run(item) {
      return new Promise((resolve, reject) => {
        waiting.push({ item, resolve, reject });
        if (busy) return;
        busy = true;
        setImmediate(() => void flush());
      });
    },
    idle: () => (busy ? new Promise((resolve) => whenIdle.push(resolve)) : Promise.resolve()),
  };
}
