import { CommanderError } from 'commander';
import { ClientError, type Code, issuesOf, ProtocolError, SetupError, StoreError } from '../errors/index.ts';

/** The one table of exit codes; docs/reference/cli.md is checked against it in both directions. */
export const EXITS = {
  ok: { exitCode: 0, meaning: 'Done.' },
  refused: {
    exitCode: 1,
    meaning:
      'The server refused the call, the job did not succeed, a step of the demo did not come out, or the audit is broken or does not have the call.',
  },
  wrongUse: {
    exitCode: 2,
    meaning: 'Wrong use or set-up; the message says what to do, and nothing was changed.',
  },
  noAnswer: {
    exitCode: 3,
    meaning:
      'No answer that can be trusted: no connection, a time-out, a reply that does not verify, a fault in waybill.',
  },
  interrupted: {
    exitCode: 130,
    meaning:
      'Ended by Ctrl-C; for `serve`, `worker`, `mcp` and `wrap`, by a second one that did not wait for the drain.',
  },
  terminated: {
    exitCode: 143,
    meaning:
      '`serve`, `worker`, `mcp` or `wrap` was ended by a second SIGTERM that did not wait for the drain.',
  },
} as const;

export type Exit = keyof typeof EXITS;

/** The codes of failures that no server sent; docs/reference/cli.md is checked against them. */
export const OWN_CODES = [
  'usage',
  'setup',
  'connection',
  'timeout',
  'reply_unverified',
  'unexpected',
  'audit_broken',
  'not_in_audit',
  'interrupted',
] as const;

type FailureCode = Code | (typeof OWN_CODES)[number];

type Result = Readonly<Record<string, unknown>> | null;

/** How a command ended if not well: what a person and what a program is told. */
export class Failure extends Error {
  override readonly name = 'Failure';
  readonly exit: Exit;
  readonly code: FailureCode;
  readonly result: Result;

  constructor(
    exit: Exit,
    code: FailureCode,
    message: string,
    options: ErrorOptions & { result?: Result } = {},
  ) {
    super(message, options);
    this.exit = exit;
    this.code = code;
    this.result = options.result ?? null;
  }

  /** For a person: a refusal begins with its code, as it does on the wire. */
  get text(): string {
    return this.exit === 'refused' || this.exit === 'interrupted'
      ? `${this.code}: ${this.message}`
      : this.message;
  }
}

/** What to do about it, where the message itself does not say. */
const HINTS: Readonly<Partial<Record<Code | ClientError['kind'], string>>> = {
  unknown_tool: '"waybill tools" lists what there is',
  not_found: '"waybill jobs list" lists your jobs',
  request_id_conflict: 'choose another --request-id',
  in_progress: 'ask again later with the same --request-id',
  rate_limited: 'try again later',
  busy: 'try again later',
  connection: 'is the server running there? --url names another address',
  timeout: '--timeout-ms gives it more time',
  reply_unverified: 'is this the credential that the server knows?',
};

/** Any error as a failure: the only place where the command line sorts errors. */
export function failureOf(error: unknown): Failure {
  if (error instanceof Failure) return error;
  if (error instanceof SetupError) return new Failure('wrongUse', 'setup', error.message, { cause: error });
  if (error instanceof StoreError) {
    const why = error.cause instanceof Error ? `: ${error.cause.message}` : '';
    return new Failure('wrongUse', 'setup', `${error.message}${why}`, { cause: error });
  }
  if (error instanceof CommanderError)
    return new Failure('wrongUse', 'usage', error.message, { cause: error });
  if (error instanceof ProtocolError) {
    const { code, result } = error;
    return new Failure('refused', code, withHint(detailOf(error), code), { cause: error, result });
  }
  if (error instanceof ClientError) {
    return new Failure('noAnswer', error.kind, withHint(error.message, error.kind), { cause: error });
  }
  const what = error instanceof Error ? error.message : String(error);
  const message = `unexpected: ${what}; this is a fault in waybill or in your module: WAYBILL_DEBUG=1 shows where`;
  return new Failure('noAnswer', 'unexpected', message, { cause: error });
}

function withHint(message: string, code: Code | ClientError['kind']): string {
  const hint = HINTS[code];
  // One question is enough.
  return hint === undefined || message.endsWith('?') ? message : `${message}; ${hint}`;
}

/** The message, with every issue of `invalid_args` where there are several. */
function detailOf(error: ProtocolError): string {
  const issues = issuesOf(error);
  return issues.length < 2 ? error.message : issues.join('; ');
}

/** TypeError and RangeError, by which the parts below refuse wrong input, as failures of use. */
export function wrongUse(error: unknown): unknown {
  if (!(error instanceof TypeError || error instanceof RangeError)) return error;
  return new Failure('wrongUse', 'usage', error.message, { cause: error });
}
