/** What happens in one run: counts, a time line of the faults, and what was found wrong. */
export interface Journal {
  /** Milliseconds since the run began. */
  now(): number;
  /** One line of the time line. */
  note(text: string): void;
  count(what: string, by?: number): void;
  /** Something that must never happen. The story tells what is known of the job or call. */
  violate(what: string, story?: Story): void;
  readonly counts: ReadonlyMap<string, number>;
  readonly timeline: readonly string[];
  readonly violations: readonly Violation[];
}

export interface Violation {
  readonly what: string;
  readonly atMs: number;
  readonly story: Story | null;
}

/** One job or call, as its client saw it. */
export interface Story {
  readonly requestId: string;
  readonly jobId: string | null;
  readonly lines: readonly string[];
}

export function createJournal(): Journal {
  const startMs = performance.now();
  const counts = new Map<string, number>();
  const timeline: string[] = [];
  const violations: Violation[] = [];
  const now = () => performance.now() - startMs;
  return {
    now,
    note: (text) => void timeline.push(stamped(now(), text)),
    count: (what, by = 1) => void counts.set(what, (counts.get(what) ?? 0) + by),
    violate: (what, story) => void violations.push({ what, atMs: now(), story: story ?? null }),
    counts,
    timeline,
    violations,
  };
}

export function stamped(atMs: number, text: string): string {
  return `${(atMs / 1000).toFixed(3).padStart(8)} s  ${text}`;
}
