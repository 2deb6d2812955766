import { EXCEPTIONS, type Exception, type Revision } from './exceptions.ts';
import { type Check, type Results, scenariosOf } from './official-runner.ts';

/** `listed`: does not hold, as the exceptions say. `stale`: the exceptions say so, and it holds. */
export type Verdict = 'passed' | 'failed' | 'listed' | 'stale';

export interface Judged {
  readonly revision: Revision;
  readonly scenario: string;
  readonly verdict: Verdict;
  /** Checks that hold. */
  readonly held: number;
  /** The exception's reason if `listed`, else what is wrong; one line each. */
  readonly notes: readonly string[];
}

/** In every scenario that sends a message, whatever the scenario is about. */
const IN_ALL = 'wire-schema-valid';

/** Each scenario of the runner's list against the exceptions; one that did not run has failed. */
export function judgeAll(revision: Revision, results: Results): readonly Judged[] {
  const exceptions = EXCEPTIONS[revision];
  const known = scenariosOf(revision);
  const name = (scenario: string, judgement: Judgement): Judged => ({ revision, scenario, ...judgement });
  const unknown = exceptions.filter(({ scenario }) => !known.includes(scenario));
  return [
    ...known.map((scenario) => {
      const exception = exceptions.find((one) => one.scenario === scenario);
      return name(scenario, judge(results.get(scenario), exception));
    }),
    ...unknown.map(({ scenario }) => name(scenario, stale(0, 'the runner has no such scenario'))),
  ];
}

type Judgement = Pick<Judged, 'verdict' | 'held' | 'notes'>;

/** @param checks `undefined`: the scenario gave no results */
export function judge(checks: readonly Check[] | undefined, exception: Exception | undefined): Judgement {
  if (checks === undefined) return { verdict: 'failed', held: 0, notes: ['it did not run to its end'] };
  const held = checks.filter(({ status }) => status === 'SUCCESS').length;
  // A warning is a SHOULD that does not hold: it wants a reason as much.
  const broken = checks.filter(({ status }) => status === 'FAILURE' || status === 'WARNING');
  const lookedAtNothing = !checks.some(({ id, status }) => status === 'SUCCESS' && id !== IN_ALL);
  const excused = exception?.checks;
  if (exception !== undefined && excused === undefined) {
    if (broken.length > 0 || lookedAtNothing) return { verdict: 'listed', held, notes: [exception.reason] };
    return stale(held, 'it is listed as an exception, and passes');
  }
  const unexcused = broken.filter(({ id }) => excused?.includes(id) !== true);
  if (unexcused.length > 0) return { verdict: 'failed', held, notes: unexcused.map(describe) };
  const holds = excused?.filter((id) => !broken.some((check) => check.id === id)) ?? [];
  if (holds.length > 0) return stale(held, `listed as an exception, and hold: ${holds.join(', ')}`);
  if (exception !== undefined) return { verdict: 'listed', held, notes: [exception.reason] };
  if (lookedAtNothing) return { verdict: 'failed', held, notes: ['the runner looked at nothing'] };
  return { verdict: 'passed', held, notes: [] };
}

function stale(held: number, note: string): Judgement {
  return { verdict: 'stale', held, notes: [note] };
}

function describe({ id, status, description, errorMessage }: Check): string {
  return `${id}${status === 'WARNING' ? ' (should)' : ''}: ${errorMessage ?? description}`;
}
