/** What the official runner asks of a server and ours does not offer, scenario by scenario. */
export interface Exception {
  readonly scenario: string;
  /** Only these checks of the scenario; all others of it must hold. Without it, the scenario as a whole. */
  readonly checks?: readonly string[];
  readonly reason: string;
}

export type Revision = '2026-07-28' | '2025-11-25';

const NO_RESOURCES = 'a tool server has no resources';
const NO_PROMPTS = 'a tool server has no prompts';
const NO_SAMPLING =
  'no sampling: tools ask people, never the model of their caller, and the specification deprecates it';
const NO_STATE = 'no requestState: all questions of a call are asked at once, so there is nothing to carry';
const NO_SESSIONS = 'no sessions: every request stands alone, in the older revision too';
const NO_ASKING =
  'no elicitation in this revision: it needs a session over which the server calls the client; tools that ask say so instead';

function each(reason: string, ...scenarios: readonly string[]): Exception[] {
  return scenarios.map((scenario) => ({ scenario, reason }));
}

/** Those of both revisions. */
const SHARED: readonly Exception[] = [
  ...each(
    'completion completes arguments of prompts and resources, of which there are none',
    'completion-complete',
  ),
  ...each(
    NO_RESOURCES,
    'resources-list',
    'resources-read-text',
    'resources-read-binary',
    'resources-templates-read',
  ),
  ...each(
    NO_PROMPTS,
    'prompts-list',
    'prompts-get-simple',
    'prompts-get-with-args',
    'prompts-get-embedded-resource',
    'prompts-get-with-image',
  ),
];

export const EXCEPTIONS: Readonly<Record<Revision, readonly Exception[]>> = {
  '2026-07-28': [
    ...SHARED,
    ...each(NO_RESOURCES, 'sep-2164-resource-not-found'),
    ...each(NO_PROMPTS, 'input-required-result-non-tool-request'),
    ...each(
      NO_SAMPLING,
      'input-required-result-basic-sampling',
      'input-required-result-multiple-input-requests',
      'input-required-result-capability-check',
    ),
    ...each(
      'no roots: tools know nothing of folders of their caller, and the specification deprecates it',
      'input-required-result-basic-list-roots',
    ),
    ...each(
      NO_STATE,
      'input-required-result-request-state',
      'input-required-result-multi-round',
      'input-required-result-tampered-state',
    ),
    {
      scenario: 'server-stateless',
      checks: ['sep-2575-server-rejects-undeclared-capability'],
      reason: `${NO_SAMPLING}; a tool that needs elicitation is refused with -32021, but this check wants sampling named`,
    },
    {
      scenario: 'caching',
      checks: [
        'sep-2549-prompts-list-caching-hints',
        'sep-2549-resources-list-caching-hints',
        'sep-2549-resources-templates-list-caching-hints',
      ],
      reason: `${NO_RESOURCES} and no prompts`,
    },
    ...each('the runner looks at nothing: its scenario waits to be written', 'tasks-status-notifications'),
  ],
  '2025-11-25': [
    ...SHARED,
    ...each(NO_RESOURCES, 'resources-subscribe', 'resources-unsubscribe'),
    ...each(
      'no log messages to callers: what a tool logs is for who runs the server',
      'logging-set-level',
      'tools-call-with-logging',
    ),
    ...each(NO_SAMPLING, 'tools-call-sampling'),
    ...each(NO_ASKING, 'tools-call-elicitation', 'elicitation-sep1034-defaults', 'elicitation-sep1330-enums'),
    ...each(NO_SESSIONS, 'server-session-lifecycle', 'server-sse-multiple-streams', 'server-sse-polling'),
  ],
};
