import { SetupError } from '../../errors/index.ts';

/**
 * Which of the names become jobs: those that one of the patterns matches as a whole; `*` is any run of characters.
 *
 * @throws SetupError with all names when a pattern matches none of them
 */
export function matchJobs(patterns: readonly string[], names: readonly string[]): ReadonlySet<string> {
  return new Set(
    patterns.flatMap((pattern) => {
      const expression = expressionOf(pattern);
      const matched = names.filter((name) => expression.test(name));
      if (matched.length > 0) return matched;
      throw new SetupError(`--job '${pattern}' matches no tool: there are ${names.join(', ')}`);
    }),
  );
}

function expressionOf(pattern: string): RegExp {
  const parts = pattern.split(/\*+/).map((part) => part.replace(/[\\^$.|?+()[\]{}]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`, 's');
}
