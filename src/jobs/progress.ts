import { JOB_LIMITS, type MessageLimits, TOOL_LIMITS } from '../limits.ts';
import type { Fence, RecordStore } from '../store/index.ts';
import type { Progress } from '../tools/index.ts';
import { asResult, type JsonObject } from '../wire/index.ts';

/** Writes the progress of one attempt, at most once an interval; the newest value is never lost. */
export interface ProgressWriter {
  /** @throws TypeError, RangeError for progress that cannot be sent: a fault of the tool */
  readonly report: (progress: Progress) => void;
  /** Writes what waits, and ignores what comes later. */
  stop(): void;
}

export function createProgressWriter(
  store: RecordStore,
  fence: Fence,
  now: () => number,
  limits: MessageLimits,
  onFenceLost: () => void,
): ProgressWriter {
  let latest: JsonObject | null = null;
  let timer: NodeJS.Timeout | null = null;
  let writtenAt = Number.NEGATIVE_INFINITY;
  let stopped = false;

  function write(): void {
    timer = null;
    if (latest === null) return;
    writtenAt = performance.now();
    const value = latest;
    latest = null;
    store.jobs.progress(fence, value, now()).then(
      (held) => held || stopped || onFenceLost(),
      // A store that fails now fails the attempt's end too, where it is handled.
      () => {},
    );
  }

  return {
    report(progress) {
      latest = checkProgress(progress, limits);
      if (timer !== null || stopped) return;
      const waitMs = writtenAt + JOB_LIMITS.progressIntervalMs - performance.now();
      if (waitMs <= 0) write();
      else timer = setTimeout(write, waitMs);
    },
    stop() {
      stopped = true;
      if (timer === null) return;
      clearTimeout(timer);
      write();
    },
  };
}

function checkProgress({ completed, total, message, partial }: Progress, limits: MessageLimits): JsonObject {
  if (!isAmount(completed)) throw new RangeError('progress: completed must be a number from 0 up');
  if (total !== undefined && !isAmount(total))
    throw new RangeError('progress: total must be a number from 0 up');
  const value = {
    completed,
    ...(total === undefined ? {} : { total }),
    ...(message === undefined
      ? {}
      : { message: message.slice(0, TOOL_LIMITS.maxMessageChars).toWellFormed() }),
    ...(partial === undefined ? {} : { partial }),
  };
  // Throws for what no reply of poll_job can carry, and takes a copy that the tool cannot change afterwards.
  const { progress } = asResult({ job_id: '', poll_after_ms: 0, progress: value }, limits);
  // It is a copy of the object above.
  return progress as JsonObject;
}

function isAmount(value: number): boolean {
  return Number.isFinite(value) && value >= 0;
}
