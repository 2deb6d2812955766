import { z } from 'zod';
import { type Code, issuesOf, ProtocolError } from '../../errors/index.ts';
import type { TimeWindow } from '../../limits.ts';
import type { RecordStore } from '../../store/index.ts';
import { leftOfWindow, MINUTE_MS } from '../../store/windows.ts';
import { matcherOf, NONE, parseArgs, type Tool } from '../../tools/index.ts';
import type { Policy } from '../authorize.ts';
import { refuseUnanswered } from '../dispatch.ts';
import type { Client } from '../clients/key-ring.ts';
import { completed } from '../outcome.ts';
import { type BuiltIn, type Caller, isBuiltIn } from '../registry.ts';
import { maxOpenJobsOf, mayCall, usedBy } from '../clients/terms.ts';
import { defineBuiltIn } from './define.ts';
import { EXPLANATION, type Explanation } from './explanation.ts';

interface Step {
  readonly step: Explanation['steps'][number]['step'];
  /** `null`: not looked at, or not told. */
  readonly ok: boolean | null;
  /** What a call is refused with. */
  readonly code: Code | null;
  readonly detail: string;
}

export interface ExplainContext {
  readonly store: Pick<RecordStore, 'counters' | 'jobs'>;
  readonly find: (tool: string) => Tool | BuiltIn | undefined;
  readonly policy: Policy | null;
  readonly window: TimeWindow;
  readonly maxOpenJobs: number;
  readonly now: () => number;
}

/** `explain_call` (docs/protocol.md §7): what would become of a call. Runs nothing, and takes nothing of a limit. */
export function explainCall(context: ExplainContext): BuiltIn {
  return defineBuiltIn({
    name: 'explain_call',
    description: 'A dry run: what would become of a call, step by step, and what you may do. Runs nothing.',
    annotations: { title: 'Explain a call', readOnlyHint: true },
    input: z.strictObject({
      tool: z.string().min(1).max(128).optional().describe('Without it, what holds for every call'),
      args: z.looseObject({}).default({}).describe('Of the call that is explained'),
    }),
    output: EXPLANATION,
    async answer({ tool, args }, caller) {
      const standing = await standingOf(caller.client, context);
      const steps =
        tool === undefined
          ? [rateStep(standing, context.now())]
          : await stepsOf({ tool, args, client: caller.client, standing }, context);
      return completed({
        key: keyOf(caller),
        expires_ms: caller.client.terms.expiresMs,
        scopes: caller.client.terms.scopes,
        window: { max_past_ms: context.window.maxPastMs, max_future_ms: context.window.maxFutureMs },
        limits: standing,
        refused_by: steps.find(({ ok }) => ok === false)?.step ?? null,
        steps,
      });
    },
  });
}

function keyOf({ client, generation }: Caller): Explanation['key'] {
  return generation === client.generations[0] ? 'current' : 'previous';
}

/** What a client has used of its limits. */
type Standing = Explanation['limits'];

async function standingOf(client: Client, { store, now, maxOpenJobs }: ExplainContext): Promise<Standing> {
  const most = maxOpenJobsOf(client, maxOpenJobs);
  const [used, open] = await Promise.all([
    usedBy(client, store.counters, now()),
    store.jobs.countOpen(client.id, most),
  ]);
  const { callsPerMinute, jobsPerDay } = client.terms;
  return {
    calls_per_minute: callsPerMinute === null ? null : { used: used.calls, limit: callsPerMinute },
    jobs_per_day: jobsPerDay === null ? null : { used: used.jobs, limit: jobsPerDay },
    open_jobs: { used: open, limit: most },
  };
}

interface Explained {
  readonly tool: string;
  readonly args: Readonly<Record<string, unknown>>;
  readonly client: Client;
  readonly standing: Standing;
}

/** Each step is looked at, also behind one that refuses; of a tool outside the scopes nothing is told. */
async function stepsOf(call: Explained, context: ExplainContext): Promise<readonly Step[]> {
  const { client, standing } = call;
  const rate = rateStep(standing, context.now());
  const policy = policyStep(context.policy);
  if (!mayCall(client, call.tool)) {
    const none = `none of your scopes includes ${call.tool}: ${client.terms.scopes.join(', ')}`;
    const scope = refusing('scope', 'forbidden', none);
    const untold = (step: Step['step']) => unknown(step, 'not told of a tool outside your scopes');
    return [rate, untold('quota'), scope, policy, untold('tool'), untold('args'), untold('run')];
  }
  const scope = passing('scope', scopeDetail(client, call.tool));
  const tool = context.find(call.tool);
  const quota = quotaStep(tool, standing);
  if (tool === undefined) {
    const missing = refusing('tool', 'unknown_tool', `there is no tool ${call.tool}`);
    const idle = (step: Step['step']) => unknown(step, 'there is no such tool');
    return [rate, quota, scope, policy, missing, idle('args'), idle('run')];
  }
  const found = passing('tool', tool.job === null ? 'a direct tool' : 'a job');
  return [rate, quota, scope, policy, found, await argsStep(tool, call.args), runStep(tool, standing)];
}

function rateStep({ calls_per_minute: calls }: Standing, nowMs: number): Step {
  if (calls === null) return passing('rate', 'no limit');
  const { used, limit } = calls;
  const detail = `${used} of ${limit} calls of this minute are used, this one included`;
  if (used < limit) return passing('rate', detail);
  const nextMs = leftOfWindow(MINUTE_MS, nowMs);
  return refusing(
    'rate',
    'rate_limited',
    `${detail}: the next minute begins in ${Math.ceil(nextMs / 1_000)} s`,
  );
}

function quotaStep(tool: Tool | BuiltIn | undefined, { jobs_per_day: jobs }: Standing): Step {
  if (tool === undefined || tool.job === null) return passing('quota', 'counts jobs only');
  if (jobs === null) return passing('quota', 'no limit');
  const detail = `${jobs.used} of ${jobs.limit} jobs of this day (UTC) are used`;
  return jobs.used < jobs.limit ? passing('quota', detail) : refusing('quota', 'rate_limited', detail);
}

function scopeDetail({ terms: { scopes } }: Client, tool: string): string {
  const pattern = scopes.find((each) => matcherOf(each)(tool));
  return pattern === undefined ? 'every client may call it' : `${pattern} includes it`;
}

/** A policy may count what it is asked, and a dry run takes nothing of a limit. */
function policyStep(policy: Policy | null): Step {
  return policy === null
    ? passing('policy', 'this server has none of its own')
    : unknown('policy', 'not asked: it may count what it is asked');
}

async function argsStep(tool: Tool | BuiltIn, args: Explained['args']): Promise<Step> {
  try {
    await parseArgs(tool, args);
    // This wire cannot answer what a tool asks first.
    if (!isBuiltIn(tool)) refuseUnanswered(tool, { answers: NONE });
    return passing('args', 'they fit the input schema');
  } catch (error) {
    if (error instanceof ProtocolError && error.code === 'invalid_args')
      return refusing('args', error.code, issuesText(error));
    throw error;
  }
}

/** All that is wrong, where the message of the refusal names the first. */
function issuesText(error: ProtocolError): string {
  const issues = issuesOf(error);
  return issues.length < 2 ? error.message : issues.join('; ');
}

function runStep(tool: Tool | BuiltIn, { open_jobs: { used, limit } }: Standing): Step {
  if (tool.job === null) return passing('run', 'runs at once');
  const open = `${used} of ${limit} jobs are queued or running`;
  return used < limit ? passing('run', `becomes a job; ${open}`) : refusing('run', 'busy', open);
}

const passing = (step: Step['step'], detail: string): Step => ({ step, ok: true, code: null, detail });
const unknown = (step: Step['step'], detail: string): Step => ({ step, ok: null, code: null, detail });
const refusing = (step: Step['step'], code: Code, detail: string): Step => ({
  step,
  ok: false,
  code,
  detail,
});
