import type { Cluster } from './cluster.ts';
import { type Journal, stamped, type Violation } from './journal.ts';
import type { ChaosOptions } from './run.ts';

export interface Report {
  /** What must never happen and did, in words for whoever has to find out why. Empty when all went well. */
  readonly violations: readonly string[];
  /** When which faults struck, and how long the phases took. */
  readonly timeline: string;
  /** What was done and how it went, in figures. */
  readonly summary: string;
  readonly counts: ReadonlyMap<string, number>;
}

/** Stories that are told in full. */
const MAX_TOLD = 5;
/** Further ones have one line each, up to this many in all. */
const MAX_LISTED = 50;

export function reportOf(options: ChaosOptions, journal: Journal, cluster: Cluster): Report {
  const { counts, violations } = journal;
  const told = violations.slice(0, MAX_TOLD).map((violation) => storyOf(violation, cluster));
  const rest = violations
    .slice(MAX_TOLD, MAX_LISTED)
    .map(({ what, story }) => `${what}: ${story?.requestId ?? ''}`);
  if (violations.length > MAX_LISTED) rest.push(`and ${violations.length - MAX_LISTED} more`);
  return {
    violations: violations.length === 0 ? [] : [`TEST_SEED=${options.seed}`, ...told, ...rest],
    timeline: ['the faults:', ...journal.timeline].join('\n'),
    summary: summaryOf(options, counts, violations.length),
    counts,
  };
}

/** The violation, what its client saw, and what the logs say of it. */
function storyOf({ what, atMs, story }: Violation, cluster: Cluster): string {
  const lines = [stamped(atMs, `VIOLATION: ${what}`)];
  if (story === null) return lines.join('\n');
  lines.push(`  request ${story.requestId}, job ${story.jobId ?? 'none'}`);
  lines.push(...story.lines.map((line) => `  ${line}`));
  const members = new Set([...cluster.replicas, ...cluster.workers].map(({ name }) => name));
  for (const name of members) {
    const about = story.jobId ?? (members.has(story.requestId) ? '' : story.requestId);
    if (about === '' && name !== story.requestId) continue;
    lines.push(...cluster.log(name, about).map((line) => `  ${name}: ${line}`));
  }
  return lines.join('\n');
}

function summaryOf(
  { seed, replicas, workers, redis }: ChaosOptions,
  counts: ReadonlyMap<string, number>,
  violations: number,
): string {
  const setting = `${replicas} replicas, ${workers} workers, PostgreSQL${redis ? ' and Redis' : ' alone'}`;
  const sorted = [...counts].sort(([a], [b]) => (a < b ? -1 : 1));
  const figures = sorted.map(([name, count]) => `  ${name}: ${Math.round(count * 10) / 10}`);
  return [`chaos: ${setting}; TEST_SEED=${seed}; ${violations} violations`, ...figures].join('\n');
}
