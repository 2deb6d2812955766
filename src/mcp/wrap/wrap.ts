import { SetupError, ToolError } from '../../errors/index.ts';
import { type JobPolicy } from '../../limits.ts';
import { WRAP_LIMITS } from './limits.ts';
import {
  type Content,
  defineTool,
  type Logger,
  type Progress,
  type Tool,
  type ToolContext,
} from '../../tools/index.ts';
import { contentOf } from './call-result.ts';
import { type Catalog, createCatalog } from './catalog.ts';
import { NotTaken, unreachable } from './failure.ts';
import { type ForeignTool, inputOf, outputOf } from './foreign-tool.ts';
import { matchJobs } from './job-patterns.ts';
import { createPlaces, type Places } from './places.ts';
import { loadSdk } from './sdk.ts';
import { type CallResult, openSession } from './session.ts';
import { type Supervisor, supervise } from './supervisor.ts';
import { shorten } from './talk.ts';
import { nameOf, type Target } from './target.ts';
import type { Patience } from './wait.ts';

export interface WrapOptions {
  readonly target: Target;
  readonly log: Logger;
  /** Names of tools that become jobs; `*` is any run of characters. */
  readonly jobs?: readonly string[];
  readonly jobDeadlineMs?: number;
  /** Calls at once in the foreign server. */
  readonly maxCalls?: number;
  /** Ends the start. */
  readonly signal?: AbortSignal;
}

/** A foreign server whose tools can be served. */
export interface Wrapped {
  readonly tools: readonly Tool[];
  /** How many of its tools cannot be served; the log says which and why. */
  readonly leftOut: number;
  isUp(): boolean;
  /** After the server that serves the tools: calls under way fail. */
  close(): Promise<void>;
}

/**
 * Starts a foreign server of the Model Context Protocol, keeps it running, and gives its tools.
 *
 * @throws SetupError when it cannot be started, has no tool that can be served, or none that a pattern matches
 */
export async function wrapServer(options: WrapOptions): Promise<Wrapped> {
  const { target, log, jobs = [], maxCalls = WRAP_LIMITS.maxCalls } = options;
  const sdk = await loadSdk();
  const signal = options.signal ?? new AbortController().signal;
  // A list that changes while the first one is read is no news.
  let catalog: Catalog | null = null;
  const compare = (listed: readonly unknown[]) => catalog?.compare(listed);
  const open = (ending: AbortSignal) => openSession(sdk, target, log, ending, compare);
  const first = await open(signal).catch((error: unknown) => {
    signal.throwIfAborted();
    throw cannotStart(target, error);
  });
  try {
    catalog = createCatalog(first.listed, log);
    const names = catalog.tools.map(({ name }) => name);
    const isJob = matchJobs(jobs, names);
    const reopen = async (ending: AbortSignal) => {
      const session = await open(ending);
      compare(session.listed);
      return session;
    };
    const supervisor = supervise(first, reopen, log);
    const parts = { supervisor, catalog, places: createPlaces(maxCalls) };
    const { jobDeadlineMs } = options;
    return {
      tools: catalog.tools.map((tool) => {
        const policy = isJob.has(tool.name) ? jobPolicyOf(tool, jobDeadlineMs) : null;
        return toTool(tool, policy, parts);
      }),
      leftOut: catalog.leftOut,
      isUp: supervisor.isUp,
      close: supervisor.close,
    };
  } catch (error) {
    await first.close();
    throw error;
  }
}

function cannotStart(target: Target, error: unknown): SetupError {
  const what = unreachable(error) ?? (error instanceof Error ? error.message : String(error));
  const message = `the server ${nameOf(target)} cannot be wrapped: ${shorten(what, WRAP_LIMITS.maxLineChars)}`;
  return new SetupError(message, { cause: error });
}

/** Run twice, a tool may do harm unless it says that it does not. */
function jobPolicyOf({ annotations }: ForeignTool, deadlineMs: number | undefined): Partial<JobPolicy> {
  const repeatable = annotations.readOnlyHint === true || annotations.idempotentHint === true;
  return { ...(!repeatable && { attempts: 1 }), ...(deadlineMs !== undefined && { deadlineMs }) };
}

interface Parts {
  readonly supervisor: Supervisor;
  readonly catalog: Catalog;
  readonly places: Places;
}

function toTool(tool: ForeignTool, job: Partial<JobPolicy> | null, parts: Parts): Tool {
  const { name, description, annotations } = tool;
  return defineTool<object, Content>({
    name,
    description,
    annotations,
    input: inputOf(tool),
    output: outputOf(tool),
    ...(job !== null && { job }),
    async run(args, context) {
      // A job has its deadline, and nobody waits on a connection for it.
      const untilMs = job === null ? performance.now() + WRAP_LIMITS.waitMs : null;
      const patience = { signal: context.signal, untilMs };
      return parts.places.within(patience, async () => {
        const result = await callWhenThere(tool, args, context, patience, parts);
        return contentOf(result, tool);
      });
    },
  });
}

/** A call that was not taken, because the session was lost, goes to the next one. */
async function callWhenThere(
  tool: ForeignTool,
  args: object,
  { signal, progress }: ToolContext,
  patience: Patience,
  { supervisor, catalog }: Parts,
): Promise<CallResult> {
  for (let isFirst = true; ; isFirst = false) {
    const session = await supervisor.session(patience);
    const problem = catalog.problemOf(tool.name);
    if (problem !== null) throw new ToolError(`${problem}: waybill wrap must be restarted`);
    try {
      return await session.call(tool, args, { signal, onProgress: (value) => tell(progress, value) });
    } catch (error) {
      if (!(error instanceof NotTaken)) throw error;
      if (!isFirst)
        throw new ToolError(`the wrapped server did not take the call: ${error.message}`, {
          retryable: true,
        });
    }
  }
}

/** Progress as our jobs have it; what they refuse is left out, for the result still counts. */
function tell(progress: ToolContext['progress'], { completed, total, message }: Progress): void {
  if (!isAmount(completed)) return;
  progress({
    completed,
    ...(isAmount(total) && { total }),
    ...(message !== undefined && { message: shorten(message, WRAP_LIMITS.maxProgressChars) }),
  });
}

function isAmount(value: number | undefined): value is number {
  return value !== undefined && Number.isFinite(value) && value >= 0;
}
