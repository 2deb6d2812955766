/** Names of the tools every server has (docs/protocol.md §7); no other tool may take one of them. */
export const BUILT_IN_NAMES: ReadonlySet<string> = new Set([
  'answer_job',
  'cancel_job',
  'explain_call',
  'list_jobs',
  'list_tools',
  'poll_job',
  'server_identity',
]);
