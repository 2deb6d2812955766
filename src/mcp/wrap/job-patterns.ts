import { SetupError } from '../../errors/index.ts';
import { matcherOf } from '../../tools/index.ts';

/**
 * Which of the names become jobs: those that one of the patterns matches as a whole; `*` is any run of characters.
 *
 * @throws SetupError with all names when a pattern matches none of them
 */
export function matchJobs(patterns: readonly string[], names: readonly string[]): ReadonlySet<string> {
  return new Set(
    patterns.flatMap((pattern) => {
      const matched = names.filter(matcherOf(pattern));
      if (matched.length > 0) return matched;
      throw new SetupError(`--job '${pattern}' matches no tool: there are ${names.join(', ')}`);
    }),
  );
}
