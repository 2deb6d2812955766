import { SetupError } from '../../errors/index.ts';
import type { Logger } from '../../tools/index.ts';
import { type ForeignTool, sortTools } from './foreign-tool.ts';

/** The tools that are served, which never change, beside what the foreign server lists now. */
export interface Catalog {
  readonly tools: readonly ForeignTool[];
  readonly leftOut: number;
  /** Compares what is listed later, and tells the log. */
  compare(listed: readonly unknown[]): void;
  /** Why a tool cannot be called any more, `null` if it can. */
  problemOf(name: string): string | null;
}

/** @throws SetupError when none of the tools can be served */
export function createCatalog(listed: readonly unknown[], log: Logger): Catalog {
  const { served, leftOut } = sortTools(listed);
  for (const { name, why } of leftOut)
    log.warn({ tool: name, why }, 'a tool of the wrapped server is left out');
  if (served.size === 0) throw new SetupError(whyNone(leftOut));
  let problems: ReadonlyMap<string, string> = new Map();
  let known: ReadonlySet<string> = new Set([...served.keys(), ...leftOut.map(({ name }) => name)]);
  return {
    tools: [...served.values()],
    leftOut: leftOut.length,
    problemOf: (name) => problems.get(name) ?? null,
    compare(relisted) {
      const now = sortTools(relisted).served;
      const before = problems;
      problems = problemsOf(served, now);
      for (const [tool, why] of problems) {
        if (before.get(tool) !== why) log.warn({ tool, why }, 'calls of a tool are refused');
      }
      const added = [...now.keys()].filter((name) => !known.has(name));
      known = new Set([...known, ...added]);
      if (added.length > 0)
        log.warn({ tools: added }, 'the wrapped server has new tools: restart waybill wrap to serve them');
    },
  };
}

function whyNone(leftOut: readonly { readonly name: string; readonly why: string }[]): string {
  const [first] = leftOut;
  if (first === undefined) return 'the wrapped server has no tools';
  const name = first.name === '' ? 'the first' : first.name;
  return `none of the ${leftOut.length} tools of the wrapped server can be served; ${name}: ${first.why}`;
}

function problemsOf(
  served: ReadonlyMap<string, ForeignTool>,
  now: ReadonlyMap<string, ForeignTool>,
): ReadonlyMap<string, string> {
  const problems = new Map<string, string>();
  for (const { name, fingerprint } of served.values()) {
    const other = now.get(name);
    if (other === undefined) problems.set(name, 'the wrapped server has this tool no longer');
    else if (other.fingerprint !== fingerprint)
      problems.set(name, 'the wrapped server has changed what this tool takes or gives');
  }
  return problems;
}
