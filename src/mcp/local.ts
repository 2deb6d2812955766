import { randomUUID } from 'node:crypto';
import { ProtocolError } from '../errors/index.ts';
import { SERVER_LIMITS, TERMS_LIMITS } from '../limits.ts';
import type { Calls, KnownClient } from '../server/calls.ts';
import { isBuiltIn } from '../server/registry.ts';
import { createdMsOf } from '../store/job-id.ts';
import { isTerminal, type JobRecord } from '../store/record-store.ts';
import type { Progress, Tool } from '../tools/index.ts';
import type { Backend, JobView, ToolInfo } from './backend.ts';
import { checkedRules, narrowed } from './catalog.ts';

/**
 * The tools and jobs of this very server, for the client who calls.
 *
 * @throws TypeError for a tool that the protocol cannot carry
 * @returns the one backend of each client and key, for the audit names both; all share one list of tools
 */
export function localBackends(calls: Calls, serverId: string): (client: KnownClient) => Backend {
  const own = [...calls.registry.values()].filter((tool) => !isBuiltIn(tool)) as Tool[];
  const tools = own.map(infoOf).sort((a, b) => (a.name < b.name ? -1 : 1));
  const byName = new Map(own.map((tool) => [tool.name, tool]));
  // A tool that cannot be listed is told of before anything is served.
  for (const tool of tools) checkedRules(tool);

  const viewOf = (job: JobRecord) => toView(job, byName.get(job.tool));

  /** The same list for as long as the client's scopes are the same: its catalog is made of it once. */
  function listsFor(client: KnownClient): Backend['tools'] {
    let key = '*';
    let listed: readonly ToolInfo[] = tools;
    return async () => {
      const scope = calls.scopeOf(client);
      if (scope.key !== key) {
        listed = narrowed(tools, ({ name }) => scope.includes(name));
        key = scope.key;
      }
      return listed;
    };
  }

  const backendOf = (client: KnownClient, caller: object): Backend => ({
    name: serverId,
    caller,
    tools: listsFor(client),
    mayList: () => calls.mayCall(client, 'list_tools'),
    async whyNot(name, args = {}) {
      // No tool has a longer name, and the audit need not keep one.
      const tool = name.slice(0, TERMS_LIMITS.maxScopeChars);
      const error = await calls.refusalOf(client, { requestId: `mcp_${randomUUID()}`, tool, args });
      // That it does not exist, the faces say in words of their own.
      return error.code === 'unknown_tool' ? null : error;
    },
    async call(call, watch) {
      const { ok, status, result, error } = await calls.call(client, call, watch);
      if (status === 'accepted') {
        // `accepted` is made in one place, and its result names the job.
        const { job_id: id } = result as { readonly job_id: string };
        return { kind: 'job', job: startedView(id, call.tool, byName.get(call.tool)) };
      }
      // A refusal is thrown: what comes back in words is a failure that the tool stated.
      if (!ok || result === null) throw new ProtocolError('job_failed', wordsOf(error));
      return { kind: 'result', result };
    },
    job: async (id, wait) => viewOf(await calls.job(client, id, wait)),
    async cancel(id) {
      await calls.call(client, { requestId: '', tool: 'cancel_job', args: { job_id: id } });
    },
    async answer(id, answers) {
      await calls.call(client, { requestId: '', tool: 'answer_job', args: { job_id: id, answers } });
    },
  });

  return oneEach(backendOf);
}

/** The same backend for the same client and key, and the same caller for all of a client. */
function oneEach(make: (client: KnownClient, caller: object) => Backend): (client: KnownClient) => Backend {
  const clients = new Map<string, Map<string, Backend>>();
  return (client) => {
    const backends = clients.get(client.clientId) ?? new Map<string, Backend>();
    clients.set(client.clientId, backends);
    const known = backends.get(client.keyId);
    if (known !== undefined) return known;
    const backend = make(client, backends);
    backends.set(client.keyId, backend);
    return backend;
  };
}

function wordsOf(error: string | null): string {
  return (error ?? 'no reason was given').replace(/^job_failed: /, '');
}

function infoOf(tool: Tool): ToolInfo {
  const { name, description, annotations, inputSchema, outputSchema, job, taskSupport, asks } = tool;
  return { name, description, annotations, inputSchema, outputSchema, job: job !== null, taskSupport, asks };
}

function toView(job: JobRecord, tool: Tool | undefined): JobView {
  const { id, state, revision, questions, result, error, createdMs, updatedMs } = job;
  return {
    id,
    tool: job.tool,
    state,
    revision,
    // What a worker wrote, from a Progress.
    progress: job.progress as Progress | null,
    questions,
    result,
    error,
    createdMs,
    updatedMs,
    ttlMs: ttlOf(job, tool),
    pollAfterMs: SERVER_LIMITS.pollAfterMs,
  };
}

/** Of a job that was accepted a moment ago. It is not read: a look that failed would lose the host its id. */
function startedView(id: string, name: string, tool: Tool | undefined): JobView {
  const createdMs = createdMsOf(id);
  const started = { state: 'queued', createdMs, updatedMs: createdMs } as const;
  return {
    id,
    tool: name,
    ...started,
    // Whatever is read is news.
    revision: 0,
    progress: null,
    questions: {},
    result: null,
    error: null,
    ttlMs: ttlOf(started, tool),
    pollAfterMs: SERVER_LIMITS.pollAfterMs,
  };
}

/** An open job is kept until its deadline and then as long as one that ended. */
function ttlOf(
  { state, createdMs, updatedMs }: Pick<JobRecord, 'state' | 'createdMs' | 'updatedMs'>,
  tool: Tool | undefined,
): number | null {
  if (tool === undefined || tool.job === null) return null;
  const { deadlineMs, retentionMs } = tool.job;
  return (isTerminal(state) ? updatedMs - createdMs : deadlineMs) + retentionMs;
}
