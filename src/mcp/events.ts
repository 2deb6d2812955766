/** Waiting notifications of one answer that tell of one thing; more are of no use to a client that does not read. */
const MAX_PENDING = 64;

interface Pending {
  readonly text: string;
  readonly about: string | null;
}

/** A queue of texts that one side writes and the other reads as they come. */
export interface Events extends AsyncIterable<string> {
  /** @param about what it tells of; takes the place of what waits and tells of the same */
  push(text: string, about?: string | null): void;
  /** The last text; nothing is taken after it. */
  end(last: string): void;
  /** Resolves at the first text. */
  readonly begun: Promise<void>;
}

/**
 * Notifications and then the answer of one request. A reader that is slow misses older notifications: each
 * tells how things stand, so the newer one is worth more. The last text is never dropped, nor is the newest
 * about each thing.
 */
export function createEvents(): Events {
  const pending: Pending[] = [];
  let ended = false;
  let wake = () => {};
  let begin = () => {};
  const begun = new Promise<void>((resolve) => {
    begin = resolve;
  });

  function add(text: string, about: string | null): void {
    pending.push({ text, about });
    begin();
    wake();
  }

  async function* read(): AsyncGenerator<string> {
    for (;;) {
      const next = pending.shift();
      if (next !== undefined) yield next.text;
      else if (ended) return;
      else {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  }

  return {
    begun,
    push(text, about = null) {
      if (ended) return;
      const older = about === null ? -1 : pending.findIndex((each) => each.about === about);
      if (older !== -1) pending.splice(older, 1);
      else if (about === null && pending.length >= MAX_PENDING) pending.shift();
      add(text, about);
    },
    end(last) {
      if (ended) return;
      ended = true;
      add(last, null);
    },
    [Symbol.asyncIterator]: read,
  };
}
