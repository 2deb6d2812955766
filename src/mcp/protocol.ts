/** Names that the Model Context Protocol fixes. */

/** The revision without sessions, which we serve ourselves. */
export const MODERN = '2026-07-28';

/** Revisions that begin with `initialize`; the official SDK serves them. The newest first. */
export const LEGACY = ['2025-11-25', '2025-06-18', '2025-03-26'] as const;

export const TASKS = 'io.modelcontextprotocol/tasks';

/** Members of `_meta` that every request of the modern revision carries, or every answer. */
export const META = {
  protocolVersion: 'io.modelcontextprotocol/protocolVersion',
  clientCapabilities: 'io.modelcontextprotocol/clientCapabilities',
  serverInfo: 'io.modelcontextprotocol/serverInfo',
  subscriptionId: 'io.modelcontextprotocol/subscriptionId',
} as const;

/** How a server names itself; for display only. */
export interface Implementation {
  readonly name: string;
  readonly version: string;
}

/** Told to the model that uses the tools. */
export const INSTRUCTIONS =
  'Some tools take long. With the Tasks extension their calls answer with a task; without it with their result, ' +
  'or with a job_id for the tool poll_job.';
