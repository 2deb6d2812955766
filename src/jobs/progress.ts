import { JOB_LIMITS } from '../limits.ts';
import type { Fence, RecordStore } from '../store/index.ts';
import type { Progress } from '../tools/index.ts';
import { canonicalize, type JsonObject } from '../wire/index.ts';

/** Writes the progress of one attempt, at most once an interval; the newest value is never lost. */
export interface ProgressWriter {
  /** @throws TypeError, RangeError for progress that cannot be sent: a fault of the tool */
  readonly report: (progress: Progress) => void;
  stop(): void;
}

export function createProgressWriter(
  store: RecordStore,
  fence: Fence,
  now: () => number,
  onFenceLost: () => void,
): ProgressWriter {
  let latest: JsonObject | null = null;
  let timer: NodeJS.Timeout | null = null;
  let writtenMs = 0;
  let stopped = false;

  function write(): void {
    timer = null;
    if (latest === null) return;
    writtenMs = now();
    const value = latest;
    latest = null;
    store.jobs.progress(fence, value, writtenMs).then(
      (held) => held || stopped || onFenceLost(),
      // A store that fails now fails the attempt's end too, where it is handled.
      () => {},
    );
  }

  return {
    report(progress) {
      latest = checkProgress(progress);
      if (timer !== null || stopped) return;
      const waitMs = writtenMs + JOB_LIMITS.progressIntervalMs - now();
      if (waitMs <= 0) write();
      else timer = setTimeout(write, waitMs);
    },
    stop() {
      stopped = true;
      if (timer !== null) clearTimeout(timer);
    },
  };
}

function checkProgress({ completed, total, message, partial }: Progress): JsonObject {
  if (!isAmount(completed)) throw new RangeError('progress: completed must be a number from 0 up');
  if (total !== undefined && !isAmount(total))
    throw new RangeError('progress: total must be a number from 0 up');
  const value = {
    completed,
    ...(total === undefined ? {} : { total }),
    ...(message === undefined ? {} : { message }),
    ...(partial === undefined ? {} : { partial }),
  };
  // Throws for what JSON cannot say, and takes a copy that the tool cannot change afterwards.
  return JSON.parse(canonicalize(value)) as JsonObject;
}

function isAmount(value: number): boolean {
  return Number.isFinite(value) && value >= 0;
}
